"""Our own safetensors codec: the header of a file or body, written and read; the data is moved by whoever has it.

    u64 little-endian: length of the header   header (JSON, filled up with spaces)   data, without holes

The header maps each name to `{dtype, shape, data_offsets: [begin, end]}`, offsets counted from where the data begins,
and `__metadata__` to a map of text to text. The public package is no part of this: its numpy front end corrupts
Fortran-ordered arrays silently and fails on bfloat16 (0.8.0).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from paramserver_wire.dtypes import MAX_NBYTES, DType, dtype_named, name_of, nbytes_of
from paramserver_wire.errors import BodyTooLarge, DtypeMismatch, InvalidName, MalformedBody, WireError
from paramserver_wire.tensors import Array, Tensor, array_over, wire_array

MEDIA_TYPE: Final = "application/x-safetensors"

MAX_HEADER: Final = 100 * 2**20
"""Longest header `parse` reads unless told otherwise, in bytes; the limit of the public package."""

METADATA_KEY: Final = "__metadata__"
_ALIGNMENT: Final = 64
_ENTRY: Final = frozenset(("dtype", "shape", "data_offsets"))
_TAGS: Final = MappingProxyType(
    {
        "bool": "BOOL",
        "int8": "I8",
        "int16": "I16",
        "int32": "I32",
        "int64": "I64",
        "uint8": "U8",
        "uint16": "U16",
        "uint32": "U32",
        "uint64": "U64",
        "float16": "F16",
        "bfloat16": "BF16",
        "float32": "F32",
        "float64": "F64",
        "complex64": "C64",
    }
)
_NAMES: Final = MappingProxyType({tag: name for name, tag in _TAGS.items()})


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of a file: its bytes are `begin` to `end`, counted from the header's `data_start`."""

    dtype: DType
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a file holds: its tensors by name, in the order of their data; its metadata; where its data begins."""

    entries: Mapping[str, Entry]
    metadata: Mapping[str, str]
    data_start: int


def header(
    entries: Sequence[tuple[str, str, Sequence[int]]], metadata: Mapping[str, str]
) -> tuple[bytes, list[tuple[int, int]]]:
    """Return the beginning of a file for tensors `(name, dtype name, shape)`, and where the bytes of each will stand.

    The data is to follow at once, in the order of `entries`, without holes. It begins at a multiple of 64 bytes; to have
    each tensor aligned too, give those with the longest items first. The positions count from there. Raises
    `DtypeMismatch` for complex128, which the format cannot hold, and `InvalidName` for a name that is given twice.
    """
    fields: dict[str, Any] = {METADATA_KEY: dict(metadata)} if metadata else {}
    spans = []
    end = 0
    for name, dtype_name, shape in entries:
        if name in fields or name == METADATA_KEY:
            raise InvalidName(
                f"wanted each tensor of a safetensors file under a name of its own, got {name!r:.80} again"
            )
        begin, end = end, end + nbytes_of(tuple(shape), dtype_named(dtype_name))
        fields[name] = {"dtype": _tag_of(dtype_name, name), "shape": list(shape), "data_offsets": [begin, end]}
        spans.append((begin, end))
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text, spans


def data_start_of(prefix: bytes | bytearray | memoryview, *, max_header: int = MAX_HEADER) -> int:
    """Return how many bytes a file has before its data, from its first 8: so many must be read for `parse`.

    Raises `BodyTooLarge` if the header is longer than `max_header`, `MalformedBody` if there are fewer than 8 bytes.
    """
    if len(prefix) < 8:
        raise MalformedBody(f"wanted the 8 bytes of a safetensors header's length, got {len(prefix)}; send it whole")
    length = int.from_bytes(prefix[:8], "little")
    if length > max_header:
        raise BodyTooLarge(f"wanted a safetensors header of at most {max_header} bytes, got {length}; split the file")
    return 8 + length


def parse(prefix: bytes | bytearray | memoryview, total_nbytes: int, *, max_header: int = MAX_HEADER) -> Header:
    """Return the header of a file of `total_nbytes` bytes, of which `prefix` holds the header at least.

    All is checked but the data: the tensors' sizes fit their shapes, and together they fill the rest of the file,
    without overlap and without holes. Raises `BodyTooLarge` for a header over `max_header`, `DtypeMismatch` for dtypes
    that variables cannot have, `MalformedBody` for the rest.
    """
    start = data_start_of(prefix, max_header=max_header)
    if start > min(len(prefix), total_nbytes):
        raise MalformedBody(f"wanted a safetensors header of {start} bytes, got {len(prefix)}; send the file whole")
    fields = _json_of(bytes(prefix[8:start]))
    metadata = _metadata_of(fields.pop(METADATA_KEY, {}))
    found = {name: _entry_of(name, entry) for name, entry in fields.items()}
    entries = dict(sorted(found.items(), key=lambda item: (item[1].begin, item[1].end)))
    end = 0
    for name, entry in entries.items():
        if entry.begin != end:
            raise MalformedBody(
                f"wanted the data of tensor {name!r:.80} to begin at {end}, got {entry.begin}; leave no hole"
            )
        end = entry.end
    if end != total_nbytes - start:
        raise MalformedBody(
            f"wanted {end} bytes of data after the header, got {total_nbytes - start}; send the file whole"
        )
    return Header(MappingProxyType(entries), MappingProxyType(metadata), start)


def cannot_hold(dtype: DType) -> bool:
    """Whether the format has no word for the dtype: so it is with complex128."""
    return name_of(dtype) not in _TAGS


def encode(tree: Tensor | Mapping[str, Any]) -> list[bytes | memoryview]:
    """Return the file of an answer as parts to be sent one after the other; row-major arrays are not copied.

    The answer is one `Tensor`, or a map with `tensors`, each with its `version` and `incarnation` beside it. All that
    is no tensor goes into the metadata as JSON text: `commit`, `versions`, `incarnations` and whatever else there is.
    Raises `DtypeMismatch`, naming them all, for tensors that the format cannot hold.
    """
    if isinstance(tree, Tensor):
        name = str(tree.meta.get("name", "value"))
        tensors, told = {name: tree}, {key: tree.meta[key] for key in ("commit",) if key in tree.meta}
    else:
        tensors, told = tree["tensors"], {key: value for key, value in tree.items() if key != "tensors"}
    for plural, field in (("versions", "version"), ("incarnations", "incarnation")):
        found = {name: tensor.meta[field] for name, tensor in tensors.items() if field in tensor.meta}
        told[plural] = {**told.get(plural, {}), **found}
    # Loaders of model hubs refuse a file that does not say for which framework its layout is; they all read this one.
    metadata = {"format": "pt", **{key: json.dumps(value) for key, value in told.items()}}
    return file_parts({name: tensor.array for name, tensor in tensors.items()}, metadata)


def file_parts(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> list[bytes | memoryview]:
    """Return the file of these arrays as parts: its header, and views of the arrays, longest items first.

    Leave the arrays alone until the parts are sent. Raises `DtypeMismatch`, naming all that cannot be held.
    """
    refused = [name for name, array in arrays.items() if cannot_hold(array.dtype)]
    if refused:
        raise DtypeMismatch(
            f"safetensors cannot hold complex128, which {', '.join(map(repr, refused[:20]))} "
            f"{'is' if len(refused) == 1 else 'are'}; use another format, or leave them out"
        )
    # So that each tensor is aligned to its own items, without holes.
    ordered = sorted(arrays.items(), key=lambda item: -item[1].dtype.itemsize)
    begin, _ = header([(name, name_of(array.dtype), array.shape) for name, array in ordered], metadata)
    data = [wire_array(array).reshape(-1).view(np.uint8).data for _, array in ordered if array.nbytes]
    return [begin, *data]


def decode(buffer: bytes | bytearray | memoryview, *, max_header: int = MAX_HEADER) -> dict[str, Array]:
    """Return the tensors of a file that fills `buffer` by their names, as views of it. Raises as `parse` does."""
    view = memoryview(buffer).cast("B")
    found = parse(view, len(view), max_header=max_header)
    return {
        name: array_over(view, found.data_start + entry.begin, entry.shape, entry.dtype)
        for name, entry in found.entries.items()
    }


def _tag_of(dtype_name: str, name: str) -> str:
    tag = _TAGS.get(dtype_name)
    if tag is None:
        raise DtypeMismatch(f"tensor {name!r:.80} is {dtype_name}, which safetensors cannot hold; use another format")
    return tag


def _json_of(text: bytes) -> dict[str, Any]:
    # Python takes 64 bytes and more for a list of 3 characters. A tensor has three brackets in 48 characters or more,
    # and only metadata, which is text, could have as many: short headers are let through for its sake.
    if len(text) > 2**20 and text.count(b"[") + text.count(b"{") > len(text) // 16:
        raise BodyTooLarge("wanted the lists and maps of a safetensors header only, got many more; send a plain header")
    try:
        fields = json.loads(text.decode("utf-8"), object_pairs_hook=_unique_fields)
        if b"\\u" in text:
            json.dumps(fields, ensure_ascii=False).encode()  # half a surrogate pair would fail whoever writes it out
    except (ValueError, RecursionError) as error:
        raise MalformedBody(f"the safetensors header is not JSON ({error}); send it in UTF-8") from None
    if type(fields) is not dict or not text.startswith(b"{"):
        raise MalformedBody("wanted a safetensors header that is a JSON map and begins with '{'; send one")
    return fields


def _unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise MalformedBody("wanted each key of the safetensors header once, got one twice; send each tensor once")
    return fields


def _metadata_of(metadata: Any) -> dict[str, str]:
    if type(metadata) is not dict or not all(type(text) is str for text in metadata.values()):
        raise MalformedBody(f"wanted `{METADATA_KEY}` to be a map of text to text; send other values as JSON text")
    return metadata


def _entry_of(name: str, fields: Any) -> Entry:
    if type(fields) is not dict or fields.keys() != _ENTRY:
        raise MalformedBody(f"wanted `dtype`, `shape` and `data_offsets` for tensor {name!r:.80}, no more and no less")
    tag, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if type(tag) is not str or tag not in _NAMES:
        shown = repr(tag) if type(tag) is str else type(tag).__name__
        raise DtypeMismatch(f"tensor {name!r:.80}: wanted one of the dtypes {', '.join(_NAMES)}, got {shown:.40}")
    dtype = dtype_named(_NAMES[tag])
    try:
        nbytes = nbytes_of(shape, dtype)
    except WireError as error:
        raise MalformedBody(f"tensor {name!r:.80} is not sound: {error.detail}") from None
    if type(offsets) is not list or len(offsets) != 2 or any(type(offset) is not int for offset in offsets):
        raise MalformedBody(f"wanted two ints as the data_offsets of tensor {name!r:.80}; send begin and end")
    begin, end = offsets
    if not 0 <= begin <= end <= MAX_NBYTES or end - begin != nbytes:
        raise MalformedBody(f"wanted {nbytes} bytes for tensor {name!r:.80} of {tag} {shape}, got other data_offsets")
    return Entry(dtype, tuple(shape), begin, end)
