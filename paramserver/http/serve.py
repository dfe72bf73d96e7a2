"""Runs the server: sockets, engine, app and event loop, from the first line to the final checkpoint."""

from __future__ import annotations

import functools
import logging
import socket
import ssl
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from paramserver.checkpoint import is_data_directory
from paramserver.engine import Engine
from paramserver.engine.machine import default_memory_limit_nbytes
from paramserver.http.app import Gate, create_app
from paramserver.http.audit import AuditLog
from paramserver.http.guard import is_loopback, keyring_of
from paramserver.http.patience import Bounds, Patience
from paramserver.http.performing import Drain
from paramserver.http.server import Server, Stopped, config_of
from paramserver.journal import Progress
from paramserver.keyring import Keyring
from paramserver.settings import Settings
from paramserver.tokens import TokenError

_LOSSES: Final = {
    "none": "a crash loses what came after the newest full checkpoint",
    "everysec": "a process that is killed loses nothing, a power cut about a second",
    "always": "nothing that was acknowledged is lost",
}

logger = logging.getLogger("paramserver.http")


class CannotServe(Exception):
    """The server cannot start as it was asked to. `exit_code` is 2 when the request itself is refused, else 1."""

    def __init__(self, reason: str, exit_code: int = 1) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


def serve(settings: Settings, tell: Callable[[str], None], watch: Progress = lambda done, total: None) -> None:
    """Serve until SIGTERM or SIGINT; then drain, finish what runs, save a final checkpoint and return.

    `tell` gets each line for the terminal. While the data directory is brought back, which `watch` is told of, requests
    are answered `restoring`. Raises `CannotServe`, or a `CheckpointError` or `JournalError` for a data directory that cannot
    be used; nothing is left behind then.
    """
    keyring = _checked_keyring(settings)
    tls = tls_of(settings)
    _check_audit_log(settings)
    if settings.data_dir is None and settings.durability not in (None, "none"):
        raise CannotServe(
            f"--durability {settings.durability} needs a data directory for its journal; give --data-dir DIR",
            exit_code=2,
        )
    sockets = [_bind_tcp(settings, keyring)] if settings.uds is None or "port" in settings.model_fields_set else []
    try:
        if settings.uds is not None:
            _clear_stale(settings.uds)
        engine = prepare_engine(settings)
    except BaseException:
        for bound in sockets:
            bound.close()
        raise
    with engine:
        addresses = [_url_of(bound, tls) for bound in sockets]
        if settings.uds is not None:
            addresses.append(f"unix:{settings.uds}")
        drain = Drain()
        app = create_app(engine, settings, drain)
        patience = Patience(Bounds.of(settings))
        if settings.data_dir is not None and is_data_directory(settings.data_dir):
            tell(
                f"data directory {settings.data_dir}: restoring; {' and '.join(addresses)} answers 503 until that is done"
            )

        def start() -> None:
            engine.start(_until(drain, watch))
            for line in start_lines(settings, engine):
                tell(line)

        server = Server(
            config_of(app, settings, patience),
            drain,
            settings.uds,
            tls=tls,
            patience=patience,
            start=start,
            read_again=lambda: read_again(app, settings, server.greet_with),
            announce=functools.partial(tell, f"paramserver listening on {' and '.join(addresses)}"),
        )
        try:
            server.run(sockets)
        finally:
            if settings.uds is not None:
                settings.uds.unlink(missing_ok=True)
        if server.failure is not None:
            raise server.failure


def prepare_engine(settings: Settings) -> Engine:
    """The engine that the settings ask for, to be started."""
    memory_limit_nbytes = settings.memory_limit_nbytes or default_memory_limit_nbytes()
    return Engine.prepare(
        settings.data_dir,
        memory_limit_nbytes=memory_limit_nbytes,
        tensor_limit_nbytes=settings.tensor_limit_nbytes,
        checkpoint_every_s=settings.checkpoint_every_s,
        checkpoint_every_commits=settings.checkpoint_every_commits,
        max_to_keep=settings.max_to_keep,
        keep_checkpoint_every_n_hours=settings.keep_checkpoint_every_n_hours,
        shard_nbytes=settings.shard_nbytes,
        durability=settings.durability,
        recover=settings.recover,
        journal_limit_nbytes=settings.journal_limit_nbytes,
        min_free_disk_nbytes=settings.min_free_disk_nbytes,
        segment_nbytes=settings.journal_segment_nbytes,
        limits=limits_of(settings) | {"memory_limit_nbytes": memory_limit_nbytes},
    )


def limits_of(settings: Settings) -> dict[str, int | None]:
    """What clients are told about sizes: every setting that is a limit."""
    return {name: value for name, value in settings.model_dump().items() if "_limit" in name}


def start_lines(settings: Settings, engine: Engine) -> list[str]:
    """What was restored, and plainly what a crash loses."""
    if settings.data_dir is None:
        return [
            "no data directory: nothing was restored and nothing will be saved",
            "durability none: a crash, and a shutdown too, loses every value; give --data-dir to keep checkpoints",
        ]
    lines = [f"data directory {settings.data_dir}: {engine.start_report or 'nothing to restore'}"]
    rhythm = []
    if settings.checkpoint_every_s:
        rhythm.append(f"every {settings.checkpoint_every_s:g} s")
    if settings.checkpoint_every_commits:
        rhythm.append(f"every {settings.checkpoint_every_commits} commits")
    rhythm.append("at shutdown")
    saved = f"a checkpoint is saved, when anything changed, {' and '.join(rhythm)}"
    lines.append(f"durability {engine.durability}: {_LOSSES[engine.durability]}; {saved}")
    return lines


def _until(drain: Drain, watch: Progress) -> Progress:
    """The same progress, which ends with `Stopped` once the server is told to stop."""

    def told(done: int, total: int) -> None:
        if drain.begun:
            raise Stopped
        watch(done, total)

    return told


def _checked_keyring(settings: Settings) -> Keyring | None:
    try:
        keyring = keyring_of(settings)
    except TokenError as error:
        raise CannotServe(str(error), exit_code=2) from None
    for warning in () if keyring is None else keyring.warnings:
        logger.warning("%s", warning)
    return keyring


def _check_audit_log(settings: Settings) -> None:
    try:
        AuditLog.of(settings).close()
    except OSError as error:
        raise CannotServe(
            f"--audit-log {settings.audit_log}: {error.strerror or error}; give a file this user may write", exit_code=2
        ) from None


def tls_of(settings: Settings) -> ssl.SSLContext | None:
    """TLS as the settings ask for it, 1.2 or newer; None without. Raises `CannotServe`."""
    if settings.tls_cert is None:
        if settings.tls_key is not None or settings.tls_client_ca is not None:
            raise CannotServe("--tls-key and --tls-client-ca go with a certificate; give --tls-cert", exit_code=2)
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a password given, a key that has one would have it asked for at a terminal, at SIGHUP too.
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password="")
        if settings.tls_client_ca is not None:
            context.load_verify_locations(settings.tls_client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:
        # ssl.SSLError is an OSError. What it says never holds anything of a key.
        files = ", ".join(str(each) for each in (settings.tls_cert, settings.tls_key, settings.tls_client_ca) if each)
        raise CannotServe(
            f"TLS cannot be set up from {files}: {error}; give a certificate, its key without a password, and authorities as PEM files",
            exit_code=2,
        ) from None
    return context


def read_again(app: Gate, settings: Settings, greet_with: Callable[[ssl.SSLContext], None]) -> None:
    """Take tokens and certificates as they are in their files now. What cannot be read leaves those there were."""
    try:
        # Both or neither: whoever renews one does not want half of it.
        tls = tls_of(settings)
        keyring = app.read_tokens(settings)
        for warning in () if keyring is None else keyring.warnings:
            logger.warning("%s", warning)
        if tls is not None:
            greet_with(tls)
    except (TokenError, CannotServe, OSError) as error:
        logger.error("%s; what was read before stays", error)
    else:
        logger.warning("tokens and certificates were read again")


def _bind_tcp(settings: Settings, keyring: Keyring | None) -> socket.socket:
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise CannotServe(
            f"--host {settings.host}: {error.strerror or error}; give an address of this machine"
        ) from None
    family, kind, protocol, _, address = found[0]
    if not is_loopback(str(address[0])):
        check_exposure(settings, keyring is not None)
    # With the protocol named: asyncio sets TCP_NODELAY only on sockets that say they are TCP, or a request takes 44 ms.
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise CannotServe(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}; choose another --port, or 0 for a "
            "free one"
        ) from None
    return bound


def check_exposure(settings: Settings, has_token: bool) -> None:
    """Beyond this machine only with a token, or on the operator's word; without TLS never unwarned."""
    if not has_token and not settings.insecure:
        raise CannotServe(
            f"--host {settings.host} would let anybody who reaches this machine read, change and delete every value. Give "
            "it a token (--token-file FILE, or PARAMSERVER_TOKEN), listen on 127.0.0.1, or say --insecure if the network "
            "is yours alone",
            exit_code=2,
        )
    if not has_token:
        logger.warning("--insecure: everybody who reaches %s can read, change and delete every value", settings.host)
    if settings.tls_cert is None:
        logger.warning(
            "without TLS: %s can be read on its way by whoever carries it; give --tls-cert, put a proxy that speaks TLS in "
            "front, or keep to a network of your own",
            "the token and every value" if has_token else "every value",
        )


def _clear_stale(path: Path) -> None:
    """Remove the socket file of a server that is gone; refuse one that answers, and anything that is no socket."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise CannotServe(f"--uds {path} exists and is no socket; choose another path", exit_code=2)
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise CannotServe(f"--uds {path}: {error.strerror or error}; choose another path") from None
    raise CannotServe(f"--uds {path}: another server listens there; stop it, or choose another path")


def _url_of(bound: socket.socket, tls: ssl.SSLContext | None) -> str:
    host, port = bound.getsockname()[:2]
    scheme = "http" if tls is None else "https"
    return f"{scheme}://[{host}]:{port}" if bound.family == socket.AF_INET6 else f"{scheme}://{host}:{port}"
