from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paramserver_client.http1 import Head, ProtocolError, parse_chunk_size, parse_head, render_head


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([*lines, b"", b""])


def test_a_head_is_rendered() -> None:
    rendered = render_head("GET", b"/v1/server", [(b"Host", b"h:1"), (b"Accept", b"*/*")])
    assert rendered == b"GET /v1/server HTTP/1.1\r\nHost: h:1\r\nAccept: */*\r\n\r\n"


@pytest.mark.parametrize("value", [b"a\r\nInjected: 1", b"a\n", b"\x00"])
def test_a_field_cannot_end_its_line(value: bytes) -> None:
    with pytest.raises(ProtocolError, match="X-Token"):
        render_head("GET", b"/", [(b"X-Token", value)])


def test_a_plain_head() -> None:
    parsed = parse_head(head(b"HTTP/1.1 200 OK", b"content-length: 12", b"X-A:  b \t"), "GET")
    assert parsed == Head(200, ((b"content-length", b"12"), (b"X-A", b"b")), 12, True)


@pytest.mark.parametrize(
    ("lines", "keep_alive"),
    [
        ([b"HTTP/1.1 200 OK"], True),
        ([b"HTTP/1.1 200"], True),
        ([b"HTTP/1.0 200 OK"], False),
        ([b"HTTP/1.1 200 OK", b"Connection: Close"], False),
        ([b"HTTP/1.1 200 OK", b"Connection: foo, close"], False),
        ([b"HTTP/1.1 200 OK", b"Connection: keep-alive"], True),
    ],
)
def test_whether_a_connection_is_kept(lines: list[bytes], keep_alive: bool) -> None:
    assert parse_head(head(*lines, b"Content-Length: 0"), "GET").keep_alive is keep_alive


@pytest.mark.parametrize(("status", "method"), [(204, "GET"), (304, "GET"), (100, "GET"), (200, "HEAD")])
def test_answers_without_a_body(status: int, method: str) -> None:
    assert parse_head(head(b"HTTP/1.1 %d x" % status, b"content-length: 7"), method).length == 0


def test_a_chunked_body_has_no_length() -> None:
    assert parse_head(head(b"HTTP/1.1 200 OK", b"Transfer-Encoding: Chunked"), "GET").length is None


@pytest.mark.parametrize(
    "lines",
    [
        [b"HTTP/2 200 OK", b"Content-Length: 0"],
        [b"HTTP/1.1  200 OK", b"Content-Length: 0"],
        [b"HTTP/1.1 20 OK", b"Content-Length: 0"],
        [b"HTTP/1.1 099 OK", b"Content-Length: 0"],
        [b"http/1.1 200 OK", b"Content-Length: 0"],
        [b"HTTP/1.1 200 OK\n", b"Content-Length: 0"],
        [b"HTTP/1.1 200 OK"],
        [b"HTTP/1.1 200 OK", b"Content-Length: 1", b"Content-Length: 1"],
        [b"HTTP/1.1 200 OK", b"Content-Length: 1, 1"],
        [b"HTTP/1.1 200 OK", b"Content-Length: +1"],
        [b"HTTP/1.1 200 OK", b"Content-Length: -1"],
        [b"HTTP/1.1 200 OK", b"Content-Length: 0x1"],
        [b"HTTP/1.1 200 OK", b"Content-Length: \xb2"],
        [b"HTTP/1.1 200 OK", b"Content-Length:"],
        [b"HTTP/1.1 200 OK", b"Content-Length : 1"],
        [b"HTTP/1.1 200 OK", b"Content-Length: 1", b" folded"],
        [b"HTTP/1.1 200 OK", b"Content-Length: 1", b"no colon"],
        [b"HTTP/1.1 200 OK", b"Content-Length: 1", b": no name"],
        [b"HTTP/1.1 200 OK", b"Content-Length: 1", b"a: \x00"],
        [b"HTTP/1.1 200 OK", b"Content-Length: 1", b"a: b\nc: d"],
        [b"HTTP/1.1 200 OK", b"Content-Length: 1", b"Transfer-Encoding: chunked"],
        [b"HTTP/1.1 200 OK", b"Transfer-Encoding: gzip, chunked"],
        [b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked, chunked"],
        [b"HTTP/1.1 200 OK", b"Transfer-Encoding: identity"],
    ],
)
def test_what_is_refused(lines: list[bytes]) -> None:
    with pytest.raises(ProtocolError, match="Wanted"):
        parse_head(head(*lines), "GET")


@pytest.mark.parametrize(("line", "size"), [(b"0", 0), (b"1f", 31), (b"FF;a=b", 255), (b"10 ", 16)])
def test_chunk_sizes(line: bytes, size: int) -> None:
    assert parse_chunk_size(line) == size


@pytest.mark.parametrize("line", [b"", b"-1", b"0x1", b"g", b"1 2", b"f" * 16, b" 1"])
def test_chunk_sizes_that_are_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError, match="chunk"):
        parse_chunk_size(line)


@given(st.binary(max_size=200))
def test_rubbish_is_refused_politely(rubbish: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        parse_head(b"HTTP/1.1 200 OK\r\n" + rubbish + b"\r\n\r\n", "GET")


def test_heads_that_come_again_are_looked_at_once() -> None:
    again = head(b"HTTP/1.1 200 OK", b"content-length: 12", b"Date: Fri, 27 Nov 2026 07:00:00 GMT")
    assert parse_head(again, "GET") is parse_head(again, "GET")
    assert parse_head(again, "HEAD").length == 0
    assert parse_head(again, "GET").by_name["date"] == "Fri, 27 Nov 2026 07:00:00 GMT"
