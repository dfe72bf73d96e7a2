"""One frozen object with everything a server can be told, validated once at the start.

A flag wins over the environment (`PARAMSERVER_` and the setting's name, in capitals), which wins over the file of
settings (TOML, named by the setting `config`), which wins over the default.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from paramserver.tokens import checked_token

ENVIRONMENT_PREFIX: Final = "PARAMSERVER_"
KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

_HOST: Final = re.compile(r"\*|[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")

Durability = Literal["none", "everysec", "always"]
LogLevel = Literal["debug", "info", "warning", "error"]
# Settings that no flag may carry, because everybody can read flags in `ps`, and that no message may repeat.
SECRET: Final = frozenset({"token"})
Source = Literal["flag", "environment", "file", "default"]
Nbytes = Annotated[int, Field(ge=KIB)]


class Settings(BaseSettings):
    """What `paramserver serve` runs with. Raises pydantic's `ValidationError`, naming every field that does not fit.

    >>> Settings(port=9000).port
    9000
    """

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    config: Path | None = Field(None, description="File of settings, in TOML: `port = 9000` and so on, one a line.")
    host: str = Field("127.0.0.1", min_length=1, description="Address or name to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="TCP port to listen on; 0 takes a free one.")
    uds: Path | None = Field(
        None, description="Unix socket to listen on. It replaces TCP, unless a port was given as well."
    )
    insecure: bool = Field(
        False,
        description="Listen beyond this machine without a token: anybody who reaches the port may read and write.",
    )
    token_file: Path | None = Field(
        None,
        description="File with the tokens that open the server, one a line, read again at SIGHUP. It goes before "
        "PARAMSERVER_TOKEN.",
    )
    token: SecretStr | None = Field(
        None, description="The token itself. It has no flag, because everybody can read flags in `ps`."
    )
    allowed_hosts: str | None = Field(
        None,
        description="Names in Host that are answered, with commas between; * is any. Unless given: the names of the "
        "loopback when listening there, else any.",
    )
    wrong_tokens_limit: int = Field(
        20, ge=0, description="Most wrong tokens in a minute from one address, which then has to wait; 0: any number."
    )
    tls_cert: Path | None = Field(
        None,
        description="File with the server's certificate and its chain, in PEM: TLS, 1.2 or newer. Read again at SIGHUP.",
    )
    tls_key: Path | None = Field(
        None, description="File with its private key, in PEM, unless that is in the file of the certificate."
    )
    tls_client_ca: Path | None = Field(
        None,
        description="File with the authorities that clients need a certificate of, in PEM. Read again at SIGHUP.",
    )
    audit_log: Path | None = Field(
        None,
        description="File that gets a line of JSON for each act of an admin. Unless given, and where there are tokens: the log, at level info.",
    )
    data_dir: Path | None = Field(
        None, description="Directory of the checkpoints and the journal. Without one nothing survives the process."
    )
    durability: Durability | None = Field(
        None,
        description="What a crash may lose. none: everything since the newest full checkpoint; everysec: nothing when the "
        "process is killed, about a second at a power cut; always: nothing. Unless given: everysec with a data directory.",
    )
    recover: Literal["refuse", "truncate"] = Field(
        "refuse",
        description="What to do about a journal that is damaged where it had been acknowledged. refuse: do not start; "
        "truncate: go on from before the damage, and keep a copy.",
    )
    journal_limit_nbytes: Nbytes = Field(
        GIB,
        description="Most that the journal grows by before a checkpoint is saved; it is sooner, at eight times the size of "
        "the last one or 512 MiB, and never before it has grown by that size.",
    )
    journal_segment_nbytes: int = Field(
        256 * MIB,
        ge=64 * KIB,
        description="Size that the files of the journal grow to, in bytes, but for an eighth of what is free.",
    )
    min_free_disk_nbytes: int = Field(
        256 * MIB,
        ge=0,
        description="While less is free in the data directory, changes are refused with 507 and reads go on.",
    )
    checkpoint_every_s: float = Field(
        60.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds between automatic checkpoints, when anything changed; 0 turns them off.",
    )
    checkpoint_every_commits: int = Field(
        0, ge=0, description="Commits between automatic checkpoints; 0 turns them off."
    )
    max_to_keep: int = Field(5, ge=1, description="Newest checkpoints kept of each series.")
    keep_checkpoint_every_n_hours: float = Field(
        10_000.0,
        ge=0,
        allow_inf_nan=False,
        description="Of the older ones of a series one is kept for good for every so many hours; 0 keeps all.",
    )
    shard_nbytes: int = Field(
        5_000_000_000,
        ge=0,
        description="Most bytes of values in one file of a checkpoint, at least 1024; 0: all in one, whatever its size.",
    )
    body_limit_nbytes: Nbytes = Field(GIB, description="Largest request body, in bytes.")
    control_limit_nbytes: Nbytes = Field(
        MIB, description="Largest JSON body without tensors, and largest frame header, in bytes."
    )
    json_limit_nbytes: Nbytes = Field(16 * MIB, description="Largest JSON body with tensors, in bytes.")
    msgpack_limit_nbytes: Nbytes = Field(64 * MIB, description="Largest msgpack body, in bytes.")
    head_limit_nbytes: Nbytes = Field(
        16 * KIB, description="Largest head of a request, in bytes: its path, query and headers."
    )
    headers_limit: int = Field(100, ge=8, description="Most headers of a request.")
    variables_limit: int = Field(10_000, ge=1, description="Most variables one request may name.")
    connections_limit: int = Field(
        512,
        ge=0,
        description="Most connections at a time; 0: any number. When there are so many, the oldest that has shown nothing "
        "yet gives way to a new one, or else the new one is answered 429.",
    )
    connections_per_peer_limit: int = Field(
        256, ge=0, description="Most of them from one address, Unix sockets apart; 0: any number."
    )
    head_timeout_s: float = Field(
        5.0, ge=0, allow_inf_nan=False, description="Seconds that the head of a request may take to come; 0: for ever."
    )
    idle_timeout_s: float = Field(
        10.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds that a connection may say nothing before its first request; 0: for ever.",
    )
    keep_alive_s: float = Field(
        60.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds that one may say nothing once a request of it was let in; 0: for ever.",
    )
    slowest_nbytes_per_s: int = Field(
        16 * KIB,
        ge=0,
        description="What a body must come with, and an answer be taken with, after the grace; 0: any.",
    )
    slow_grace_s: float = Field(
        10.0, ge=0, allow_inf_nan=False, description="Seconds until a slow body or reader is cut off."
    )
    tensor_limit_nbytes: Nbytes = Field(4 * GIB, description="Largest variable, in bytes.")
    memory_limit_nbytes: Nbytes | None = Field(
        None,
        description="Most bytes of all values and of requests and answers under way; beyond it requests answer 507. Unless "
        "given: four fifths of what the machine has, or the container.",
    )
    log_level: LogLevel = Field("info", description="Least severe messages that are logged, to standard error.")

    @field_validator("token")
    @classmethod
    def _can_be_sent(cls, token: SecretStr | None) -> SecretStr | None:
        return None if token is None else SecretStr(checked_token(token.get_secret_value()))

    @field_validator("allowed_hosts")
    @classmethod
    def _names_hosts(cls, names: str | None) -> str | None:
        for name in [] if names is None else names.split(","):
            if _HOST.fullmatch(name.strip()) is None:
                raise ValueError(
                    f"wanted names such as localhost,10.0.0.7,[::1] without ports, got {name.strip()[:80]!r}"
                )
        return names

    @field_validator("shard_nbytes")
    @classmethod
    def _makes_no_dust(cls, nbytes: int) -> int:
        if 0 < nbytes < KIB:
            raise ValueError(f"is 0 or at least {KIB}, got {nbytes}")
        return nbytes

    @field_validator("uds")
    @classmethod
    def _fits_a_socket_address(cls, path: Path | None) -> Path | None:
        # sun_path has 108 bytes on Linux, 104 on macOS, the closing zero included.
        if path is not None and len(str(path).encode()) > 103:
            raise ValueError(f"a unix socket's path has at most 103 bytes, got {len(str(path).encode())}; shorten it")
        return path

    @field_validator("config")
    @classmethod
    def _is_a_file_of_settings(cls, path: Path | None) -> Path | None:
        if path is not None:
            try:
                fields = _read_toml(path)
            except OSError as error:
                raise ValueError(f"cannot be read: {error.strerror or error}; name a file that is there") from None
            except ValueError as error:
                raise ValueError(f"is not TOML: {error}; write settings as `port = 9000`, one a line") from None
            if "config" in fields:
                raise ValueError("names another file of settings; put all into one")
        return path

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The places that settings come from, the strongest first."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, in_file(config_file(init_settings())))


def config_file(flags: Mapping[str, Any]) -> Path | None:
    """The file of settings that the flags name, or else the environment."""
    path = flags.get("config") or EnvSettingsSource(Settings)().get("config")
    return None if path is None else Path(path)


def in_file(path: Path | None) -> dict[str, Any]:
    """The settings that a file gives; none without a file, or one that cannot be read, which `Settings` refuses."""
    if path is not None:
        with suppress(OSError, ValueError):
            return _read_toml(path)
    return {}


def source_of(name: str, flags: Collection[str], config: Path | None) -> Source:
    """Where the value of a setting comes from, given the names of the flags, and the file of settings.

    >>> source_of("port", {"port"}, None), source_of("max_to_keep", {"port"}, None)
    ('flag', 'default')
    """
    if name in flags:
        return "flag"
    if name in EnvSettingsSource(Settings)():
        return "environment"
    return "file" if name in in_file(config) else "default"


def _read_toml(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return tomllib.load(file)
