"""Heads of requests that are known: a worker sends the same few again and again, but for the request id.

Taking a head apart, letting its sender in, finding the route and reading its arguments takes half of the time of a small
request, and what comes of it depends on the head's bytes alone. So it is remembered, and the same bytes are not looked
into again. Only heads that httptools has taken, and of the plainest kind, become known; all others are parsed each time.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from starlette.types import Receive, Scope, Send

_MAX_KNOWN: Final = 1024
_MAX_SEEN: Final = 8192
_MAX_NBYTES: Final = 2048
_MAX_ID_NBYTES: Final = 200
# As our client writes it.
_ID: Final = b"\r\nIdempotency-Key: "
LONGEST_NBYTES: Final = _MAX_NBYTES + len(_ID) + _MAX_ID_NBYTES + 4
"""No longer head is known, the empty line behind it included."""
_ID_NAME: Final = b"idempotency-key"
# What these say is left to the parser.
_PECULIAR: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"connection", b"trailer", b"te"})


class Answerer(Protocol):
    """Answers requests of one known head, as an ASGI application does, with a body that has come or comes by itself."""

    def __call__(
        self, request_id: str | None, body: Any, scope: Scope, receive: Receive, send: Send
    ) -> Coroutine[Any, Any, None]: ...


class Known(NamedTuple):
    """A known head: its method, what its Content-Length says, and who answers."""

    method: str
    nbytes: int
    answer: Answerer


class KnownHeads:
    """The known heads of one server. For its event loop only.

    `plan` says who answers the requests of a head, given its ASGI scope; None: the application as a whole.
    """

    # Most heads of those who ask for thousands of variables one by one never come again.
    learns_at_first_sight = False

    def __init__(self, plan: Callable[[Scope], Answerer | None]) -> None:
        self._plan = plan
        self._known: dict[tuple[bytes, bool], Known] = {}
        self._seen: set[tuple[bytes, bool]] = set()

    def find(self, head: bytes, *, local: bool) -> tuple[Known, str | None] | None:
        """What is known of a head (without the empty line behind it), and its request id; `local` if by Unix socket."""
        key, request_id = _apart(head)
        known = self._known.get((key, local))
        return None if known is None else (known, request_id)

    def forget(self) -> None:
        """Know no head any more: other rules hold for those to come."""
        self._known.clear()
        self._seen.clear()

    def learn(self, head: bytes, scope: Mapping[str, Any], *, local: bool) -> None:
        """Make a head known that was parsed into `scope`, when it comes for the second time."""
        key, request_id = _apart(head)
        if len(key) > _MAX_NBYTES:
            return
        if not self.learns_at_first_sight and (key, local) not in self._seen:
            if len(self._seen) >= _MAX_SEEN:
                self._seen.clear()
            self._seen.add((key, local))
            return
        nbytes = _plain_nbytes(key, request_id, scope)
        if nbytes is None:
            return
        answer = self._plan(dict(scope))
        if answer is not None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[key, local] = Known(scope["method"], nbytes, answer)


def _apart(head: bytes) -> tuple[bytes, str | None]:
    """The head without its request id, and that."""
    begin = head.find(_ID)
    if begin < 0:
        return head, None
    end = head.find(b"\r\n", begin + len(_ID))
    end = len(head) if end < 0 else end
    value = head[begin + len(_ID) : end]
    if len(value) > _MAX_ID_NBYTES or not value.isascii() or not (text := value.decode()).isprintable() or " " in text:
        return head, None
    return head[:begin] + head[end:], text


def _plain_nbytes(key: bytes, request_id: str | None, scope: Mapping[str, Any]) -> int | None:
    """The Content-Length of a head that can be taken by its bytes alone, 0 without one; None for any other head."""
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    names = [name for name, _ in headers]
    lengths = [value for name, value in headers if name == b"content-length"]
    if (
        # The lines are what the parser took for lines, none of them folded or ended by a bare line feed.
        key.count(b"\n") != key.count(b"\r\n")
        or b"\r\n " in key
        or b"\r\n\t" in key
        or scope["http_version"] != "1.1"
        or not _PECULIAR.isdisjoint(names)
        # A second request id, or one that is spelled otherwise, would be part of the key.
        or names.count(_ID_NAME) != (request_id is not None)
        or len(lengths) > 1
        or not all(value.isdigit() for value in lengths)
    ):
        return None
    return int(lengths[0]) if lengths else 0
