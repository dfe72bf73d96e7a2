"""Who may come in. Decided by a request's head alone, before a byte of its body is received.

    Host             one of ours, or 421: a page whose name was made to point at this machine (DNS rebinding) has another
    Origin           the server itself, or 403: no other site's page may use a browser's way to this server
    Authorization    a token, if there are any, or 401; and 429 for who guesses
    query            no token, or 422: whoever carries the request may keep its URL

`/healthz` and `/readyz` are open to all: they say nothing but the state, and those who probe know no token. What the holder of
a token may do is in its grant, which goes with the request: see rights.py.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from paramserver.grants import EVERYTHING, Grant
from paramserver.http.guesses import Guesses
from paramserver.http.networks import network_of
from paramserver.http.problems import Problem
from paramserver.keyring import Keyring, digest_of, one_token, read_keyring
from paramserver.settings import Settings

PROBES: Final = frozenset({"/healthz", "/readyz"})
GRANT: Final = "paramserver.grant"
"""Where the grant of a request stands in its scope, once it was let in."""
_DIGEST: Final = "paramserver.token_digest"
LOOPBACK_HOSTS: Final = ("localhost", "127.0.0.1", "[::1]")
_ANY: Final = "*"
_TOLD: Final = frozenset({b"host", b"origin", b"authorization", b"sec-fetch-site", b"sec-fetch-mode"})


def keyring_of(settings: Settings) -> Keyring | None:
    """The tokens that the settings ask for, if any. Raises `TokenError` when the file has none."""
    if settings.token_file is not None:
        return read_keyring(settings.token_file)
    return None if settings.token is None else one_token(settings.token.get_secret_value())


def hosts_of(settings: Settings) -> frozenset[str] | None:
    """The names the server answers for, in lower case; None means any."""
    if settings.allowed_hosts is not None:
        names = {name.strip().lower() for name in settings.allowed_hosts.split(",")}
        return None if _ANY in names else frozenset(names)
    if _listens_on_loopback(settings.host):
        return frozenset({*LOOPBACK_HOSTS, _bracketed(settings.host.lower())})
    return None


@dataclass(slots=True)
class Guard:
    """Lets requests in or not. `hosts` None: any; `grants` None: without a token."""

    hosts: frozenset[str] | None = None
    grants: Mapping[bytes, Grant] | None = None
    guesses: Guesses = field(default_factory=Guesses)

    @classmethod
    def of(cls, settings: Settings) -> Guard:
        """The guard that the settings ask for. Raises `TokenError`."""
        keyring = keyring_of(settings)
        return cls(
            hosts_of(settings), None if keyring is None else keyring.grants, Guesses(settings.wrong_tokens_limit)
        )

    def read_again(self, settings: Settings) -> Keyring | None:
        """Take the tokens of the file as it is now. Raises `TokenError`, and goes on with those it had."""
        keyring = keyring_of(settings)
        self.grants = None if keyring is None else keyring.grants
        return keyring

    def refusal(self, scope: MutableMapping[str, Any], *, counting: bool = True) -> Problem | None:
        """Why the request may not come in; None when it may: then its grant stands in its scope. A wrong token counts as a guess,
        unless the same request will be asked about again."""
        if scope["path"] in PROBES:
            return None
        told: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            if name in _TOLD:
                told.setdefault(name, []).append(value)
        problem = self._wrong_host(scope, told) or _foreign(told) or _telling(scope)
        if problem is not None:
            return problem
        found = self._known(scope, told, counting)
        if isinstance(found, Problem):
            return found
        scope[GRANT] = found
        return None

    def witness(self, scope: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], None] | None:
        """Who is to be told of requests that come the short way with the token of this one, which was let in, from wherever; None
        where nobody guesses."""
        digest = scope.get(_DIGEST)
        return None if digest is None else lambda later: self.guesses.was_right(_peer_of(later), digest)

    def _wrong_host(self, scope: Mapping[str, Any], told: Mapping[bytes, list[bytes]]) -> Problem | None:
        server = scope.get("server")
        # A Unix socket has no port. No page in a browser can reach one, so any name will do.
        if self.hosts is None or server is None or server[1] is None:
            return None
        given = told.get(b"host", [])
        if len(given) == 1 and _host_of(given[0]) in self.hosts:
            return None
        return Problem(
            "wrong_host",
            f"this server answers for {', '.join(sorted(self.hosts))}, got Host {_shown(given)}; ask it by one of these "
            "names, or start it with --allowed-hosts",
        )

    def _known(
        self, scope: MutableMapping[str, Any], told: Mapping[bytes, list[bytes]], counting: bool
    ) -> Grant | Problem:
        if self.grants is None:
            return EVERYTHING
        given = told.get(b"authorization", [])
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        peer = _peer_of(scope)
        # Looked up by its digest: where that differs from another tells nothing about where the tokens do.
        digest = digest_of(token.strip())
        if given and not self.guesses.may_try(peer, digest):
            return Problem(
                "overloaded",
                "too many wrong tokens came from this address; those that were right before are still taken, others again in "
                f"{Guesses.WINDOW_S} s",
                headers={"retry-after": str(Guesses.WINDOW_S)},
            )
        grant = self.grants.get(digest)
        if grant is not None and scheme.lower() == b"bearer":
            scope[_DIGEST] = digest
            self.guesses.was_right(peer, digest)
            return grant
        if given and counting:
            self.guesses.was_wrong(peer)
        return Problem(
            "unauthenticated",
            "this server wants its token in the header 'Authorization: Bearer <token>', got "
            f"{'another one' if given else 'none'}; the tokens are those the server was started with (--token-file or "
            "PARAMSERVER_TOKEN)",
            headers={"www-authenticate": "Bearer"},
        )


def _peer_of(scope: Mapping[str, Any]) -> str:
    client = scope.get("client")
    return network_of(client[0]) if client else ""


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach the address."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _listens_on_loopback(host: str) -> bool:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        # Binding to it will fail too, and say why.
        return False
    return all(is_loopback(str(address[0])) for *_, address in found)


_TELLING: Final = re.compile(rb"(?i)(?:^|&)(?:access_|auth_)?token=")


def _telling(scope: Mapping[str, Any]) -> Problem | None:
    """A token in a URL: refused, so that nobody gets used to it, and not repeated."""
    if _TELLING.search(scope.get("query_string", b"")) is None:
        return None
    return Problem(
        "invalid_request",
        "a token does not belong into a URL, where proxies and histories keep it; send it in the header "
        "'Authorization: Bearer <token>', and replace this one",
    )


def _foreign(told: Mapping[bytes, list[bytes]]) -> Problem | None:
    """Pages of other sites: by `Origin`, or where a browser sends none (images, scripts) by `Sec-Fetch-Site`.

    Following a link to here is no misuse: it only shows what is here.
    """
    origins = told.get(b"origin", [])
    if origins and (len(origins) > 1 or _authority_of(origins[0]) not in told.get(b"host", [])):
        return Problem(
            "forbidden",
            f"pages of other sites may not use this server, and this request comes from {_shown(origins)}; send it from "
            "a program, or from a page of this server",
        )
    if told.get(b"sec-fetch-site") == [b"cross-site"] and told.get(b"sec-fetch-mode") != [b"navigate"]:
        return Problem(
            "forbidden",
            "pages of other sites may not use this server, and this request comes from one (Sec-Fetch-Site: cross-site); "
            "send it from a program, or from a page of this server",
        )
    return None


def _authority_of(origin: bytes) -> bytes | None:
    scheme, separator, authority = origin.partition(b"://")
    # A proxy in front may speak TLS to the browser and plain HTTP to us: the scheme says nothing.
    return authority if separator and scheme in (b"http", b"https") else None


@lru_cache(maxsize=256)
def _host_of(given: bytes) -> str:
    """The name in a Host header, in lower case and without its port. Clients send the same few again and again."""
    authority = given.decode("latin-1").lower()
    name, colon, port = authority.rpartition(":")
    # Without a port, the last colon of an IPv6 address is one of its own.
    return name if colon and port.isdigit() and not name.endswith(":") else authority


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _shown(values: Iterable[bytes]) -> str:
    return ", ".join(repr(value.decode("latin-1")[:80]) for value in values) or "none"
