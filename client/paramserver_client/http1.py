"""HTTP/1.1 as the client speaks it: request heads out, response heads in. Bytes in, plain data out; no I/O.

The parser takes what RFC 9112 allows and nothing more: no folded lines, no bare line feeds, no two lengths, no body
that ends where the connection ends (such a body cannot be told from one that was cut).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

MAX_HEAD_NBYTES: Final = 64 * 1024
MAX_LINE_NBYTES: Final = 4096

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: [\t \x21-\x7e\x80-\xff]*)?")
_FIELD_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t \x21-\x7e\x80-\xff]*?)[ \t]*")
_FIELD_VALUE: Final = re.compile(rb"[\t \x21-\x7e\x80-\xff]*")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")
_DIGITS: Final = re.compile(rb"[0-9]{1,18}")
# Most lines of answers are the same again and again; only short ones are remembered.
_SHORT_NBYTES: Final = 100
_SHORT_HEAD_NBYTES: Final = 1024


class Origin(NamedTuple):
    """Where a server listens: by `http` or `https` on a host's port, or by `unix` on the socket whose path is `host`."""

    scheme: str
    host: str
    port: int = 0

    def __str__(self) -> str:
        return f"the Unix socket {self.host}" if self.scheme == "unix" else f"{self.host} port {self.port}"


class ProtocolError(Exception):
    """The other side does not speak HTTP/1.1 as it should."""


@dataclass(frozen=True)
class Head:
    """The head of a response. `length` is the number of bytes in its body, or None for a chunked one."""

    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    length: int | None
    keep_alive: bool

    @cached_property
    def by_name(self) -> Mapping[str, str]:
        """The fields as text, by their names in lower case; of those that stand twice the last."""
        return MappingProxyType(dict(map(_text_of, self.fields)))


def render_fields(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The lines of some header fields. Raises `ProtocolError` when one would end its line early."""
    lines = []
    for name, value in fields:
        if not _FIELD_VALUE.fullmatch(value):
            raise ProtocolError(f"The header {name.decode('latin-1')} may hold visible characters only, got {value!r}.")
        lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join(lines)


def render_head(method: str, target: bytes, fields: Iterable[tuple[bytes, bytes]], common: bytes = b"") -> bytes:
    """The bytes of a request head; `common` are lines that were rendered before. Raises as `render_fields`."""
    return b"%b %b HTTP/1.1\r\n%b%b\r\n" % (method.encode("ascii"), target, common, render_fields(fields))


def parse_head(head: bytes, method: str) -> Head:
    """The head of a response to a `method` request, from its bytes up to and with the empty line.

    Answers to the same request differ in their body: until the second changes their heads are often the same.
    """
    return _known_head(head, method) if len(head) <= _SHORT_HEAD_NBYTES else _head(head, method)


def _head(head: bytes, method: str) -> Head:
    first, *rest = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    status_line = _STATUS_LINE.fullmatch(first)
    if status_line is None:
        raise ProtocolError(f"Wanted a status line such as 'HTTP/1.1 200 OK', got {first[:80]!r}.")
    status = int(status_line[2])
    fields = tuple(_known_field(line) if len(line) <= _SHORT_NBYTES else _field(line) for line in rest)
    return Head(
        status=status,
        fields=fields,
        length=_length(fields, status, method),
        keep_alive=status_line[1] == b"1" and b"close" not in _tokens(fields, b"connection"),
    )


_known_head = lru_cache(256)(_head)


def parse_chunk_size(line: bytes) -> int:
    """The size that the first line of a chunk gives."""
    found = _CHUNK_SIZE.fullmatch(line)
    if found is None:
        raise ProtocolError(f"Wanted the size of a chunk in hexadecimal digits, got {line[:80]!r}.")
    return int(found[1], 16)


def _field(line: bytes) -> tuple[bytes, bytes]:
    found = _FIELD_LINE.fullmatch(line)
    if found is None:
        raise ProtocolError(f"Wanted a header line 'name: value', got {line[:80]!r}.")
    return found[1], found[2]


_known_field = lru_cache(1024)(_field)


@lru_cache(1024)
def _text_of(field: tuple[bytes, bytes]) -> tuple[str, str]:
    name, value = field
    return name.decode("latin-1").lower(), value.decode("latin-1")


def _tokens(fields: Iterable[tuple[bytes, bytes]], wanted: bytes) -> list[bytes]:
    joined = b",".join(value for name, value in fields if name.lower() == wanted)
    return [token.strip().lower() for token in joined.split(b",")] if joined else []


def _length(fields: Sequence[tuple[bytes, bytes]], status: int, method: str) -> int | None:
    if method == "HEAD" or status in (204, 304) or status < 200:
        return 0
    codings = _tokens(fields, b"transfer-encoding")
    lengths = [value for name, value in fields if name.lower() == b"content-length"]
    if codings:
        if codings != [b"chunked"] or lengths:
            raise ProtocolError(f"Wanted chunked alone or a Content-Length alone, got {codings!r} and {lengths!r}.")
        return None
    if len(lengths) != 1 or not _DIGITS.fullmatch(lengths[0]):
        raise ProtocolError(f"Wanted one Content-Length (or a chunked body), got {lengths!r}.")
    return int(lengths[0])
