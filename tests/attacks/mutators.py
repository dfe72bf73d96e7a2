"""Requests that are almost sound: seeds that are, and what is done to them. Everything follows from one seed.

A seed is a whole request: method, target, media types and body. It is damaged by bytes, by tree (of JSON and msgpack), by length
fields, by its neighbours, by its head. `corpus/` has what was once found to do harm, each file a request as it travels.
"""

from __future__ import annotations

import copy
import io
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import ml_dtypes
import msgpack
import numpy as np

from paramserver_wire import frame, npy, packed, safetensors
from paramserver_wire.tensors import Tensor

CORPUS: Final = Path(__file__).parent / "corpus"
JSON: Final = "application/json"
MSGPACK: Final = "application/msgpack"
FRAME: Final = frame.MEDIA_TYPE
SAFETENSORS: Final = safetensors.MEDIA_TYPE
NPY: Final = npy.MEDIA_TYPE
TYPES: Final = (JSON, MSGPACK, FRAME, SAFETENSORS, NPY, "text/plain", "application/x-pickle", "*/*", "")


@dataclass(frozen=True)
class Request:
    """A request before it travels."""

    method: str
    target: str
    kind: str = ""
    body: bytes = b""
    accept: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def fields(self) -> list[tuple[bytes, bytes]]:
        """Its header fields, lower case, but for Content-Length."""
        told = {"host": "localhost", "content-type": self.kind, "accept": self.accept, **self.headers}
        return [(name.encode(), value.encode("latin-1", "replace")) for name, value in told.items() if value]

    def as_sent(self) -> bytes:
        """The bytes of it."""
        lines = b"".join(b"%b: %b\r\n" % each for each in self.fields())
        target = self.target.encode("utf-8", "replace").replace(b" ", b"%20")
        head = b"%b %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (self.method.encode(), target, lines, len(self.body))
        return head + self.body


def seeds() -> list[Request]:
    """Sound requests to every operation that has a body or a query, in every media type that it takes."""
    value = np.arange(6, dtype=np.float32).reshape(2, 3)
    rows = {"indices": np.array([0, 1]), "value": value}
    push = {
        "updates": [
            {"name": "w", "op": "assign_add", "value": value},
            {"name": "rows", "op": "scatter_add", **rows},
            {"op": "ema", "target": "w", "source": "rows", "decay": 0.9},
        ],
        "return": ["w"],
    }
    trees: list[tuple[str, str, Any]] = [
        ("PUT", "/v1/variables/new?reuse=auto", {"value": value, "trainable": True, "collections": ["mine"]}),
        ("PUT", "/v1/variables/drawn?reuse=auto&initialize=true", {"shape": [4], "dtype": "float32", "initializer": {"type": "random_normal", "seed": 7}}),
        ("PUT", "/v1/variables/fill?reuse=auto", {"shape": [2, 2], "initializer": {"type": "fill", "value": 3}}),
        ("PATCH", "/v1/variables/w", {"trainable": False, "collections": ["a", "b"]}),
        ("POST", "/v1/variables/w:gather?dtype=float64", {"indices": np.array([1, 0])}),
        ("POST", "/v1/variables/w:scatter_add", rows),
        ("POST", "/v1/variables/w:initialize", {"only_uninitialized": True, "seed": 3}),
        ("POST", "/v1/variables:initialize", {"prefix": "a"}),
        ("POST", "/v1/variables:assert_initialized", {"names": ["w", "rows"]}),
        ("POST", "/v1/variables:pull", {"names": ["w", "rows"], "if_versions": {"w": "1"}, "dtype": "float64"}),
        ("POST", "/v1/variables:push", push),
        ("PUT", "/v1/optimizers/adam", {"type": "adam", "learning_rate": 0.1, "beta1": 0.9}),
        ("POST", "/v1/optimizers/sgd:apply_gradients", {"gradients": {"w": value, "rows": rows}, "hyper": {"learning_rate": 0.5}, "global_step": "step"}),
        ("PUT", "/v1/scopes/a", {"initializer": {"type": "zeros"}, "dtype": "float64", "trainable": False}),
        ("POST", "/v1/collections/mine:add", {"names": ["w"]}),
        ("POST", "/v1/collections/mine:remove", {"names": ["w"]}),
        ("POST", "/v1/checkpoints", {"id": "c", "names": ["w"], "metadata": {"a": 1}}),
        ("POST", "/v1/checkpoints/c:restore", {"names": ["w"], "rename": {"w": "v"}, "dry_run": True}),
    ]  # fmt: skip
    found = [Request(method, target, kind, body, kind) for method, target, tree in trees for kind, body in _forms(tree)]
    for op in ("assign", "assign_add", "assign_sub"):
        for array in (value, value.astype(np.float16), value.astype(ml_dtypes.bfloat16), value.astype(np.int64)):
            found += [
                Request("POST", f"/v1/variables/w:{op}", kind, body, kind) for kind, body in _forms(array, one=True)
            ]
    files = _file({"w": value, "rows": value})
    found += [
        Request("POST", "/v1/variables:push?op=assign", SAFETENSORS, files),
        Request("POST", "/v1/optimizers/sgd:apply_gradients", SAFETENSORS, files),
        Request("PUT", "/v1/variables:import?prefix=in", SAFETENSORS, files),
    ]
    for target in (
        "/v1/variables?prefix=w&page_size=3&initialized=true",
        "/v1/variables/w:read?slice=0:1,::2&dtype=float64",
        "/v1/variables/w:read?after_version=1",
        "/v1/variables:export?prefix=w",
        "/v1/variables:report_uninitialized?prefix=w",
        "/v1/scopes?depth=2",
        "/v1/scopes/a",
        "/v1/collections/variables",
        "/v1/optimizers/sgd",
        "/v1/checkpoints/c",
        "/v1/checkpoints/c:download?file=manifest.json",
        "/v1/server",
    ):
        found += [Request("GET", target, accept=accept) for accept in (JSON, FRAME, SAFETENSORS, NPY)]
    headers = {"if-match": '"6c0f3a9d5be71284-1"', "idempotency-key": "a-1", "prefer": "return=representation"}
    return found + [replace(request, headers=headers) for request in found[::5]]


def kept() -> list[bytes]:
    """The corpus: requests as they travelled that once did harm."""
    return [path.read_bytes() for path in sorted(CORPUS.glob("*.http"))]


class Mutator:
    """Makes one request after the other out of the seeds, for ever, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._seeds = seeds()

    def __iter__(self) -> Iterator[Request]:
        while True:
            yield self.next()

    def next(self) -> Request:
        """The next one: sound but for one to three damages."""
        request = self._random.choice(self._seeds)
        for _ in range(self._random.choice((0, 1, 1, 1, 2, 3))):
            request = self._random.choice(_DAMAGES)(self._random, request, self._seeds)
        return request


def _forms(tree: Any, *, one: bool = False) -> list[tuple[str, bytes]]:
    leaf = Tensor(tree) if one else tree
    made = [
        (JSON, json.dumps(_plain({"value": tree} if one else tree)).encode()),
        (MSGPACK, packed.pack(leaf)),
        (FRAME, b"".join(bytes(part) for part in frame.encode(leaf))),
    ]
    if one:
        made.append((SAFETENSORS, _file({"w": tree})))
        if tree.dtype != ml_dtypes.bfloat16:
            buffer = io.BytesIO()
            np.save(buffer, tree)
            made.append((NPY, buffer.getvalue()))
    return made


def _plain(tree: Any) -> Any:
    if isinstance(tree, np.ndarray):
        return tree.astype(np.float64).tolist() if tree.dtype.kind != "i" else tree.tolist()
    if isinstance(tree, dict):
        return {key: _plain(value) for key, value in tree.items()}
    return [_plain(value) for value in tree] if isinstance(tree, list) else tree


def _file(tensors: Mapping[str, Any]) -> bytes:
    parts = safetensors.encode({"tensors": {name: Tensor(value) for name, value in tensors.items()}})
    return b"".join(bytes(part) for part in parts)


# ---------------------------------------------------------------------------------------------------- damages

_ODD_BYTES: Final = (b"\0", b"\xff", b"\x80", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"[" * 600, b"\x91" * 600, b'{"a":' * 300, b"\xed\xa0\x80")  # fmt: skip
_ODD_LEAVES: Final = (
    None, True, -1, 0, 2**31, 2**63, 2**64, -(2**63) - 1, 1e308, 1e-320, "NaN", "Infinity", "", ":", "..", "a/../b", "\0", "x" * 300,
    "w", "w:0", "\ud800", [], {}, [[]], {"$t": 0}, {"$t": 99}, {"value": [[1], [1, 2]]}, [1] * 300, "6c0f3a9d5be71284-1", "🙂" * 70,
)  # fmt: skip
_ODD_QUERIES: Final = ("slice=", "slice=::0", "slice=...,...", "slice=" + "0," * 90, "dtype=object", "page_size=-1", "page_token=%00", "prefix=%ff", "wait_s=61&after_version=1", "a=1&a=1", "&&&", "=%", "op=ema", "depth=1e9", "file=../LOCK", "id=..", "confirm=true", "use_locking=false", "after_version=x", "%E2%82")  # fmt: skip
_ODD_HEADERS: Final = (("if-match", '"x"'), ("if-none-match", "*"), ("idempotency-key", "a-0"), ("idempotency-key", "\x7f"), ("prefer", "return=minimal"), ("accept", "x/y;q=abc"), ("content-encoding", "gzip"), ("range", "bytes=0-1"), ("accept", "*/*;q=0"), ("content-type", "application/json; charset=utf-16"), ("if-none-match", '"6c0f3a9d5be71284-99999999999999999999"'))  # fmt: skip


def _overwrite(rng: random.Random, request: Request, seeds: list[Request]) -> Request:
    body = bytearray(request.body)
    for _ in range(rng.randint(1, 4)):
        if body:
            # The beginning says how to read the rest.
            at = int(len(body) * rng.random() ** 3)
            body[at : at + 1] = bytes([rng.randrange(256)]) if rng.random() < 0.6 else rng.choice(_ODD_BYTES)
    return replace(request, body=bytes(body))


def _cut(rng: random.Random, request: Request, seeds: list[Request]) -> Request:
    at = rng.randrange(len(request.body) + 1)
    return replace(request, body=request.body[:at] if rng.random() < 0.7 else request.body[at:])


def _lengthen(rng: random.Random, request: Request, seeds: list[Request]) -> Request:
    return replace(
        request, body=request.body + (rng.randbytes(rng.randint(1, 80)) if rng.random() < 0.5 else request.body)
    )


def _splice(rng: random.Random, request: Request, seeds: list[Request]) -> Request:
    other = rng.choice(seeds).body
    here, there = rng.randrange(len(request.body) + 1), rng.randrange(len(other) + 1)
    return replace(request, body=request.body[:here] + other[there:])


def _number(rng: random.Random, request: Request, seeds: list[Request]) -> Request:
    """A length or an offset somewhere says something else."""
    if len(request.body) < 8:
        return request
    body = bytearray(request.body)
    at, width = rng.randrange(min(len(body) - 7, 200)), rng.choice((1, 2, 4, 8))
    number = rng.choice((0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63, 2**64 - 1))
    body[at : at + width] = (number & (2 ** (8 * width) - 1)).to_bytes(width, rng.choice(("little", "big")))
    return replace(request, body=bytes(body))


def _tree(rng: random.Random, request: Request, seeds: list[Request]) -> Request:
    """A leaf or a branch of the body is something else."""
    try:
        if request.kind == MSGPACK:
            tree = _changed(rng, msgpack.unpackb(request.body, strict_map_key=False))
            return replace(request, body=msgpack.packb(tree, unicode_errors="surrogatepass"))
        if request.kind == JSON:
            return replace(request, body=json.dumps(_changed(rng, json.loads(request.body))).encode())
        if request.kind == FRAME and request.body[:4] == b"PSF1":
            length = int.from_bytes(request.body[4:8], "little")
            tree = _changed(rng, msgpack.unpackb(request.body[8 : 8 + length], strict_map_key=False))
            header = msgpack.packb(tree, unicode_errors="surrogatepass")
            begin = b"PSF1" + len(header).to_bytes(4, "little") + header
            data = request.body[8 + length + -(8 + length) % 64 :]
            return replace(request, body=begin + bytes(-len(begin) % 64) + data)
        if request.kind == SAFETENSORS:
            length = int.from_bytes(request.body[:8], "little")
            header = json.dumps(_changed(rng, json.loads(request.body[8 : 8 + length]))).encode()
            return replace(request, body=len(header).to_bytes(8, "little") + header + request.body[8 + length :])
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException):
        # Damaged before.
        pass
    return request


def _changed(rng: random.Random, tree: Any) -> Any:
    tree = copy.deepcopy(tree)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any, depth: int) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in items:
            places.append((node, key))
            if depth < 6:
                walk(value, depth + 1)

    walk(tree, 0)
    if not places:
        return rng.choice(_ODD_LEAVES)
    node, key = rng.choice(places)
    choice = rng.random()
    if choice < 0.6:
        node[key] = rng.choice(_ODD_LEAVES)
    elif choice < 0.75:
        del node[key]
    elif isinstance(node, dict):
        node[rng.choice(("name", "op", "value", "dtype", "shape", "$t", "", "x" * 200, "offset", "nbytes"))] = node[key]
    else:
        node.append(node[key])
    return tree


def _head(rng: random.Random, request: Request, seeds: list[Request]) -> Request:
    choice = rng.random()
    if choice < 0.25:
        return replace(request, kind=rng.choice(TYPES))
    if choice < 0.45:
        return replace(request, accept=rng.choice(TYPES))
    if choice < 0.65:
        joint = "&" if "?" in request.target else "?"
        return replace(request, target=request.target + joint + rng.choice(_ODD_QUERIES))
    if choice < 0.8:
        return replace(request, headers={**request.headers, **dict([rng.choice(_ODD_HEADERS)])})
    if choice < 0.9:
        return replace(
            request, method=rng.choice(("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE"))
        )
    other = rng.choice(seeds)
    return replace(request, target=other.target, method=other.method)


def _name(rng: random.Random, request: Request, seeds: list[Request]) -> Request:
    odd = rng.choice(
        (
            "%2e%2e",
            "a//b",
            "%00",
            "w%3Aread",
            "x" * 300,
            "%F0%9F%99%82",
            "w/",
            "/w",
            "w%2F..%2Fx",
            "nothing",
            "%",
            "w%zz",
        )
    )
    return replace(request, target=request.target.replace("/w", f"/{odd}", 1))


_Damage = Callable[[random.Random, Request, list[Request]], Request]
_DAMAGES: Final[tuple[_Damage, ...]] = (
    _overwrite,
    _overwrite,
    _cut,
    _lengthen,
    _splice,
    _number,
    _number,
    _tree,
    _tree,
    _tree,
    _head,
    _name,
)
