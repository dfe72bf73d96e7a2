"""Small messages that stand for something huge (CWE-409, CWE-789): counts and shapes that are promised, nesting, numbers of many
digits (CVE-2020-10735), values that are asked for again and again, compressed bodies (zip bombs)."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import msgpack
import pytest

from paramserver_wire import frame, packed, safetensors
from support.attackers import HEAD, connect
from support.raw_http import read_reply
from support.server import Server

MIB = 1024 * 1024
JSON = "application/json"
# What the largest of them may take beside the values that a server of 64 MiB may hold.
MOST_NBYTES = 160 * MIB


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Has 64 MiB for all there is, and one large variable."""
    with Server("--memory-limit-nbytes", str(64 * MIB), "--log-level", "error") as server:
        with httpx.Client(base_url=server.url) as http:
            made = {"shape": [1024, 1024], "initializer": {"type": "zeros"}}
            http.put("/v1/variables/large", json=made).raise_for_status()
            http.post("/v1/variables:initialize", json={}).raise_for_status()
            http.put("/v1/variables/w", json={"value": [1.0]}).raise_for_status()
        yield server


def promised(*tensors: dict[str, Any]) -> bytes:
    """A frame that says it has these tensors, and has none."""
    body = {"updates": [{"name": "w", "op": "assign", "value": {"$t": index}} for index in range(len(tensors))]}
    header: bytes = msgpack.packb({"body": body, "tensors": list(tensors)})
    return frame.MAGIC + struct.pack("<I", len(header)) + header + bytes(-(8 + len(header)) % 64)


def safetensors_header(text: bytes, nbytes: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if nbytes is None else nbytes) + text


HUGE = 2**40
ARRAY_32, MAP_32, BIN_32 = b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"
ASSIGN, PUSH, PULL, CREATE = ("POST", "w:assign"), ("POST", ":push"), ("POST", ":pull"), ("PUT", "bomb?initialize=true")
BOMBS: dict[str, tuple[tuple[str, str], str, bytes]] = {
    "an array of four billion": (ASSIGN, packed.MEDIA_TYPE, b"\x81\xa5value" + ARRAY_32),
    "a map of four billion": (PUSH, packed.MEDIA_TYPE, MAP_32),
    "four gigabytes of bytes": (PUSH, packed.MEDIA_TYPE, b"\x81\xa7updates" + BIN_32),
    "arrays in arrays": (PUSH, packed.MEDIA_TYPE, b"\x81\xa7updates" + b"\x91" * 1_000_000),
    "arrays of four billion in arrays of four billion": (PUSH, packed.MEDIA_TYPE, ARRAY_32 * 100_000),
    "lists in lists": (ASSIGN, JSON, b'{"value":' + b"[" * 500_000),
    "closed lists in lists": (ASSIGN, JSON, b'{"value":' + b"[" * 400_000 + b"]" * 400_000 + b"}"),
    "maps in maps": (PUSH, JSON, b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "a number of a million digits": (ASSIGN, JSON, b'{"value":' + b"9" * 1_000_000 + b"}"),
    "an exponent without end": (ASSIGN, JSON, b'{"value":1e' + b"9" * 100_000 + b"}"),
    "empty rows without number": (ASSIGN, JSON, b'{"value":[' + b"[]," * 2_000_000 + b"[]]}"),
    "a shape whose product overflows": (CREATE, JSON, json.dumps({"shape": [2**32, 2**32]}).encode()),
    "a shape of a terabyte": (CREATE, JSON, json.dumps({"shape": [HUGE], "dtype": "float64"}).encode()),
    "a shape of too many axes": (CREATE, JSON, json.dumps({"shape": [2] * 60}).encode()),
    "a negative shape": (CREATE, JSON, json.dumps({"shape": [-1, -HUGE]}).encode()),
    "an empty tensor of a huge shape": (
        ASSIGN,
        JSON,
        json.dumps({"value": [], "dtype": "float32", "shape": [0, HUGE, HUGE]}).encode(),
    ),
    "a frame's header of four gigabytes": (ASSIGN, frame.MEDIA_TYPE, b"PSF1" + b"\xff" * 12),
    "a frame's array of a terabyte": (
        PUSH,
        frame.MEDIA_TYPE,
        promised({"dtype": "float32", "shape": [HUGE], "offset": 0, "nbytes": 4 * HUGE}),
    ),
    "a frame's arrays over each other": (
        PUSH,
        frame.MEDIA_TYPE,
        promised(*({"dtype": "uint8", "shape": [64], "offset": 0, "nbytes": 64} for _ in range(5000))) + bytes(64),
    ),
    "a file's header of an exabyte": (ASSIGN, safetensors.MEDIA_TYPE, safetensors_header(b"{}", 2**60)),
    "a file's array of a terabyte": (
        ASSIGN,
        safetensors.MEDIA_TYPE,
        safetensors_header(
            json.dumps({"w": {"dtype": "F32", "shape": [HUGE], "data_offsets": [0, 4 * HUGE]}}).encode()
        ),
    ),
    "a file's arrays over each other": (
        PUSH,
        safetensors.MEDIA_TYPE,
        safetensors_header(
            json.dumps(
                {f"w{index}": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]} for index in range(10_000)}
            ).encode()
        )
        + bytes(8),
    ),
    "an npy header that is a program": (
        ASSIGN,
        "application/x-npy",
        b"\x93NUMPY\x01\x00" + struct.pack("<H", 60) + b"__import__('os').system('true')".ljust(59) + b"\n",
    ),
    "an npy array of a terabyte": (
        ASSIGN,
        "application/x-npy",
        b"\x93NUMPY\x01\x00"
        + struct.pack("<H", 118)
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }".ljust(117)
        + b"\n",
    ),
    "one variable ten thousand times": (
        PULL,
        JSON,
        json.dumps({"names": ["large"] * 10_000}).encode(),
    ),
    "one variable returned ten thousand times": (
        PUSH,
        JSON,
        json.dumps(
            {"updates": [{"name": "w", "op": "assign_add", "value": [1.0]}], "return": ["large"] * 10_000}
        ).encode(),
    ),
    "rows without number": (("POST", "large:gather"), JSON, json.dumps({"indices": [0] * 300_000}).encode()),
    "rows as a shape": (
        ("POST", "large:gather"),
        JSON,
        json.dumps({"indices": {"value": [[]], "dtype": "int64", "shape": [HUGE, 0]}}).encode(),
    ),
    "an initializer of a huge value": (
        CREATE,
        JSON,
        json.dumps({"shape": [1024, 1024, 64], "initializer": {"type": "ones"}}).encode(),
    ),
}


HARMLESS = frozenset({"one variable ten thousand times", "one variable returned ten thousand times"})
TOO_MUCH = frozenset(
    {
        "arrays in arrays",
        "empty rows without number",
        "rows without number",
        "rows as a shape",
        "an initializer of a huge value",
    }
)


def sent(server: Server, bomb: str, **headers: str) -> httpx.Response:
    (method, path), media_type, body = BOMBS[bomb]
    with httpx.Client(base_url=server.url, timeout=60) as http:
        return http.request(
            method,
            f"/v1/variables{'' if path.startswith(':') else '/'}{path}",
            content=body,
            headers={"content-type": media_type, **headers},
        )


@pytest.mark.parametrize("bomb", BOMBS)
def test_it_takes_no_more_than_it_is(server: Server, bomb: str) -> None:
    before = server.resident_nbytes()
    answer = sent(server, bomb)
    # Each for what it is: no mistake of this test, as a path that is none, ends them all alike.
    if bomb in HARMLESS:
        assert answer.status_code == 200
    else:
        assert answer.status_code == 507 if bomb in TOO_MUCH else answer.status_code in (400, 413, 422), answer.text
        problem: dict[str, Any] = answer.json()
        assert problem["detail"]
        # A problem about a bomb is none itself.
        assert len(answer.content) < 64 * 1024
    assert server.peak_nbytes() - before < MOST_NBYTES
    with httpx.Client(base_url=server.url, timeout=60) as http:
        memory = http.get("/v1/server").json()["memory"]
        assert memory["used_nbytes"] < 6 * MIB
        assert http.get("/v1/variables/w:read").status_code == 200


@pytest.mark.parametrize("accept", [frame.MEDIA_TYPE, packed.MEDIA_TYPE, safetensors.MEDIA_TYPE, JSON])
def test_values_that_are_asked_for_again_and_again_are_sent_once(server: Server, accept: str) -> None:
    with httpx.Client(base_url=server.url, timeout=60) as http:
        answer = http.post("/v1/variables:pull", json={"names": ["w"] * 10_000}, headers={"accept": accept})
    assert answer.status_code in (200, 422)
    assert len(answer.content) < 64 * 1024


@pytest.mark.parametrize(
    "coding", ["Content-Encoding: gzip", "Content-Encoding: br", "Transfer-Encoding: gzip, chunked"]
)
def test_what_is_compressed_is_not_unpacked(server: Server, coding: str) -> None:
    body = gzip.compress(b'{"value":[' + b"1," * (32 * MIB) + b"1]}")
    assert len(body) < MIB
    before = server.resident_nbytes()
    with connect(server) as connection:
        length = "" if "chunked" in coding else f"Content-Length: {len(body)}\r\n"
        connection.sendall(HEAD + f"{coding}\r\n{length}\r\n".encode())
        connection.sendall(body if length else b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
        answer = read_reply(connection)
    assert (answer.status, answer.json()["code"]) == (415, "unsupported_media_type")
    assert server.peak_nbytes() - before < MOST_NBYTES
