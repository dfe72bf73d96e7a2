"""What can be said without a server: Python and packages, the address to listen on and who could reach it, memory."""

from __future__ import annotations

import errno
import os
import platform
import socket
import stat
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from paramserver.cli import INSTALL_LINE
from paramserver.cli.findings import Finding
from paramserver.cli.showing import size_text

if TYPE_CHECKING:
    from paramserver.settings import Settings

OLDEST_PYTHON: Final = (3, 11)


def check_python() -> Iterator[Finding]:
    """Python's version, and that of each package that the server needs."""
    version = platform.python_version()
    if sys.version_info >= OLDEST_PYTHON:
        yield Finding("python", "ok", f"{version}, {platform.system()} {platform.machine()}")
    else:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        yield Finding("python", "problem", f"{version} is too old", f"install Python {wanted} or newer")
    try:
        needed = metadata.requires("paramserver") or []
        ours = metadata.version("paramserver")
    except metadata.PackageNotFoundError:
        yield Finding("packages", "warn", "paramserver runs from its source, not installed", "run: pip install -e .")
        return
    yield from packages(
        ours, [line for line in needed if "extra ==" not in line or "'server'" in line.replace('"', "'")]
    )


def packages(ours: str, needed: list[str]) -> Iterator[Finding]:
    """Whether each package of these requirements is there and new enough."""
    found, wrong = [f"paramserver {ours}"], []
    for line in needed:
        name, oldest = _requirement(line)
        if "platform_system" in line and platform.system() == "Windows":
            continue
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        found.append(f"{name} {version}")
        if _numbers(version) < _numbers(oldest):
            wrong.append(f"{name} {version} is older than {oldest}")
    if wrong:
        yield Finding("packages", "problem", "; ".join(wrong), f"run: {INSTALL_LINE}")
    else:
        yield Finding("packages", "ok", ", ".join(found))


def _requirement(line: str) -> tuple[str, str]:
    """Name and oldest version of a requirement as it stands in a package's metadata.

    >>> _requirement("httpx<1,>=0.27"), _requirement("uvloop>=0.21; platform_system != 'Windows'")
    (('httpx', '0.27'), ('uvloop', '0.21'))
    """
    head = line.partition(";")[0].strip()
    name = head
    for sign in "<>=!~[ ":
        name = name.partition(sign)[0]
    return name, next((part[2:] for part in head[len(name) :].split(",") if part.startswith(">=")), "0")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def check_address(settings: Settings) -> Iterator[Finding]:
    """Whether a server could listen where the settings say."""
    if settings.uds is not None:
        yield _socket_file(settings.uds)
    if settings.uds is None or "port" in settings.model_fields_set:
        yield _tcp(settings.host, settings.port)


def _tcp(host: str, port: int) -> Finding:
    where = f"{host}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return Finding(
                "address",
                "warn",
                f"{where} is taken: a server listens there already",
                "use that one, or start another with --port 0",
            )
        if error.errno == errno.EACCES:
            return Finding("address", "problem", f"{where} needs rights this user lacks", "choose a --port above 1023")
        return Finding("address", "problem", f"{where}: {error.strerror or error}", "give an address of this machine")
    return Finding("address", "ok", f"{where} is free" if port else f"{host}: any free port")


def _socket_file(path: Path) -> Finding:
    if not path.exists():
        if os.access(path.parent, os.W_OK | os.X_OK):
            return Finding("socket", "ok", f"{path} is free")
        return Finding("socket", "problem", f"{path.parent} cannot be written", "choose another --uds")
    if not stat.S_ISSOCK(path.stat().st_mode):
        return Finding("socket", "problem", f"{path} is no socket", "choose another --uds, or move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return Finding("socket", "ok", f"{path} was left by a server that is gone; the next one replaces it")
    return Finding("socket", "warn", f"{path}: a server listens there already", "use that one, or another --uds")


def check_exposure(settings: Settings) -> Iterator[Finding]:
    """Who could reach the server, and what keeps others out."""
    from paramserver.http.guard import is_loopback, keyring_of
    from paramserver.tokens import TokenError

    try:
        keyring = keyring_of(settings)
    except TokenError as error:
        yield Finding("token", "problem", str(error), "name a file that holds a token, or none")
        return
    for warning in () if keyring is None else keyring.warnings:
        text, _, advice = warning.partition("; ")
        yield Finding("token", "warn", text, advice)
    told = "no token is needed" if keyring is None else "a token is needed"
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
    except OSError:
        # The check of the address has said so.
        return
    if all(is_loopback(str(address[0])) for *_, address in found):
        yield Finding("access", "ok", f"only from this machine, {told}")
    elif keyring is not None and settings.tls_cert is not None:
        yield Finding("access", "ok", f"from other machines, {told}, and TLS hides it on its way")
    elif keyring is not None:
        yield Finding(
            "access",
            "warn",
            f"from other machines, {told}, but it travels in the clear",
            "give --tls-cert, put a proxy that speaks TLS in front, or keep to a network of your own",
        )
    elif settings.insecure:
        yield Finding(
            "access",
            "warn",
            f"from other machines, {told}: everybody may write",
            "give --token-file in place of --insecure",
        )
    else:
        yield Finding(
            "access",
            "problem",
            f"--host {settings.host} without a token: `paramserver serve` refuses that",
            "make one with `openssl rand -hex 32`, and give --token-file",
        )


def token_or_none(settings: Settings | None) -> str | None:
    """A token that the settings hold as it is, if they do and it can be read."""
    from paramserver.http.guard import keyring_of
    from paramserver.tokens import TokenError

    try:
        keyring = None if settings is None else keyring_of(settings)
    except TokenError:
        return None
    return None if keyring is None else keyring.plain


def check_memory(settings: Settings) -> Iterator[Finding]:
    """Whether the memory that values may take is there."""
    from paramserver.engine.machine import default_memory_limit_nbytes, memory_nbytes

    yield memory_finding(settings.memory_limit_nbytes or default_memory_limit_nbytes(), memory_nbytes())


def memory_finding(limit: int, available: int) -> Finding:
    """Judge a memory budget against the memory there is."""
    text = f"values and requests may take {size_text(limit)} of {size_text(available)}"
    advice = "lower --memory-limit-nbytes, or leave it out: then it is four fifths"
    if limit > available:
        return Finding("memory", "problem", f"{text}: the server would be killed before it refuses", advice)
    if limit > available * 17 // 20:
        return Finding("memory", "warn", f"{text}: little is left for the system", advice)
    return Finding("memory", "ok", text)
