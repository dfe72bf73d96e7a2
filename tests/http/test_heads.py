"""Which heads become known, and that a known one is found by its very bytes only."""

from __future__ import annotations

from typing import Any

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paramserver.http import heads
from paramserver.http.heads import KnownHeads

PLAIN = (
    b"POST /v1/variables/w:assign_add HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/vnd.paramserver.frame\r\nContent-Length: 12"
)


class Parsed:
    """What httptools makes of a head, as an ASGI scope."""

    def __init__(self, head: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(head + b"\r\n\r\n")
        version = parser.get_http_version()
        self.scope = {"method": parser.get_method().decode(), "headers": self.headers, "http_version": version}

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.complete = True


async def answer(*_: Any) -> None:
    """Whoever that is."""


def with_id(head: bytes, request_id: bytes, name: bytes = b"Idempotency-Key") -> bytes:
    first, rest = head.split(b"\r\n", 1)
    return b"\r\n".join((first, name + b": " + request_id, rest))


def learned(*given: bytes, local: bool = False, sights: int = 2) -> KnownHeads:
    known = KnownHeads(lambda scope: answer)
    for head in given:
        for _ in range(sights):
            parsed = Parsed(head)
            assert parsed.complete
            known.learn(head, parsed.scope, local=local)
    return known


def test_a_plain_head_is_known_when_it_has_come_twice() -> None:
    assert learned(PLAIN, sights=1).find(PLAIN, local=False) is None
    found = learned(PLAIN).find(PLAIN, local=False)
    assert found is not None
    (method, nbytes, answerer), request_id = found
    assert (method, nbytes, answerer, request_id) == ("POST", 12, answer, None)


def test_the_request_id_may_be_another_each_time() -> None:
    known = learned(with_id(PLAIN, b"a-1"), with_id(PLAIN, b"a-2"), sights=1)
    found = known.find(with_id(PLAIN, b"b-77"), local=False)
    assert found is not None
    assert found[1] == "b-77"
    last = known.find(PLAIN + b"\r\nIdempotency-Key: c-9", local=False)
    assert last is not None
    assert last[1] == "c-9"


def test_what_one_door_lets_in_the_other_may_not() -> None:
    assert learned(PLAIN, local=True).find(PLAIN, local=False) is None
    assert learned(PLAIN, local=True).find(PLAIN, local=True) is not None


@pytest.mark.parametrize(
    "head",
    [
        PLAIN + b"\r\nTransfer-Encoding: chunked",
        PLAIN + b"\r\nExpect: 100-continue",
        PLAIN + b"\r\nConnection: close",
        PLAIN + b"\r\nConnection: keep-alive",
        PLAIN + b"\r\nUpgrade: websocket",
        PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
        with_id(with_id(PLAIN, b"a-1"), b"a-2"),
        with_id(PLAIN, b"a-1", b"idempotency-key"),
        with_id(with_id(PLAIN, b"a-1"), b"a-2", b"IDEMPOTENCY-KEY"),
        with_id(PLAIN, b"a 1"),
        with_id(PLAIN, b"a\t1"),
        with_id(PLAIN, b"\xe9-1"),
        with_id(PLAIN, b"a" * 500),
        PLAIN + b"\r\nX-Long: " + b"x" * 4000,
    ],
)
def test_peculiar_heads_never_become_known(head: bytes) -> None:
    try:
        known = learned(head)
    except httptools.HttpParserError:
        return
    assert known.find(head, local=False) is None


def test_what_nobody_has_a_plan_for_is_not_known() -> None:
    known = KnownHeads(lambda scope: None)
    for _ in range(3):
        known.learn(PLAIN, Parsed(PLAIN).scope, local=False)
    assert known.find(PLAIN, local=False) is None


@given(st.integers(0, len(PLAIN) - 1), st.binary(min_size=0, max_size=3))
def test_other_bytes_are_another_head(at: int, instead: bytes) -> None:
    other = PLAIN[:at] + instead + PLAIN[at + 1 :]
    found = learned(PLAIN).find(other, local=False)
    assert (found is not None) == (other == PLAIN)


@given(st.binary(max_size=40).filter(lambda value: b"\r\n" not in value))
def test_a_request_id_is_what_the_parser_would_say(value: bytes) -> None:
    head = with_id(PLAIN, value)
    found = learned(with_id(PLAIN, b"a-1")).find(head, local=False)
    if found is None:
        return
    parsed = Parsed(head)
    assert parsed.complete
    assert dict(parsed.headers)[b"idempotency-key"].decode() == found[1]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "_MAX_KNOWN", 4)
    monkeypatch.setattr(heads, "_MAX_SEEN", 8)
    known = learned(*(PLAIN.replace(b"/w:", b"/w%d:" % number) for number in range(100)))
    assert len(known._known) <= 4
    assert len(known._seen) <= 8
