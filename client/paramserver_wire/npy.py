"""Our own npy codec: one array in one file, as `numpy.save` writes it. Nothing is unpickled or evaluated, ever.

b"\\x93NUMPY"  major  minor  length of the header (u16 for version 1, u32 for 2 and 3; little-endian)
header (a Python dict of descr, fortran_order and shape, filled up with spaces to a multiple of 64)  data
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from paramserver_wire.dtypes import DType, name_of, nbytes_of
from paramserver_wire.errors import BodyTooLarge, DtypeMismatch, MalformedBody, WireError
from paramserver_wire.tensors import Array, Tensor, array_over, wire_array

MEDIA_TYPE: Final = "application/x-npy"

MAX_HEADER: Final = 64 * 1024
"""Longest header `decode` reads, in bytes. That of a plain array of 8 axes has less than 300."""

MAGIC: Final = b"\x93NUMPY"
_ALIGNMENT: Final = 64
# The width of the header's length, by major version.
_LENGTHS: Final = {1: 2, 2: 4, 3: 4}
_FIELD: Final = re.compile(
    r"\s*(['\"])(\w{1,20})\1\s*:\s*(True|False|'[^'\\]*'|\"[^\"\\]*\"|\([0-9L,\s]*\))\s*(,|\}\s*$)"
)
_RECORDS: Final = re.compile(r"['\"]descr['\"]\s*:\s*[\[(]")
_EXTENT: Final = re.compile(r"([0-9]{1,19})L?")
_DESCR: Final = re.compile(r"[<>|=]?[biufc][0-9]{1,2}")
_FIELDS: Final = frozenset(("descr", "fortran_order", "shape"))


@dataclass(frozen=True, slots=True)
class Header:
    """What a file holds, and where its data begins. `dtype` may be big-endian."""

    dtype: DType
    shape: tuple[int, ...]
    fortran_order: bool
    data_start: int


def cannot_hold(dtype: DType) -> bool:
    """Whether numpy's own reader would not know the dtype again: bfloat16 comes back as two nameless bytes."""
    return name_of(dtype) == "bfloat16"


def encode(tensor: Tensor | Array) -> list[bytes | memoryview]:
    """Return the file of one array as parts to be sent one after the other: its header, and a view of its data.

    What stands beside a `Tensor` is left out: the format has no place for it. Raises `DtypeMismatch` for bfloat16.
    """
    array = wire_array(tensor.array if isinstance(tensor, Tensor) else tensor)
    if cannot_hold(array.dtype):
        raise DtypeMismatch("npy cannot hold bfloat16; ask for another format, or for dtype=float32")
    text = f"{{'descr': {array.dtype.str!r}, 'fortran_order': False, 'shape': {array.shape!r}, }}".encode()
    text += b" " * (-(len(MAGIC) + 4 + len(text) + 1) % _ALIGNMENT) + b"\n"
    header = b"".join((MAGIC, b"\x01\x00", len(text).to_bytes(2, "little"), text))
    return [header, array.reshape(-1).view(np.uint8).data] if array.nbytes else [header]


def decode(buffer: bytes | bytearray | memoryview, *, max_header: int = MAX_HEADER) -> Array:
    """Return the array in a file that fills `buffer`: a view of it, but for big-endian data, which is turned.

    Fortran order is kept as it is: the array's axes are right, its memory is column-major. Raises `DtypeMismatch` for
    what is no number (objects, text, records, dates), `BodyTooLarge` for a header that is over the limit, and
    `MalformedBody` for any other flaw.
    """
    view = memoryview(buffer).cast("B")
    header = parse(view, max_header=max_header)
    wanted = nbytes_of(header.shape, header.dtype)
    if wanted != len(view) - header.data_start:
        raise MalformedBody(
            f"wanted {wanted} bytes of data for {header.dtype} {list(header.shape)}, got {len(view) - header.data_start}; "
            "send the npy file whole, and nothing behind it"
        )
    shape = header.shape[::-1] if header.fortran_order else header.shape
    array = array_over(view, header.data_start, shape, header.dtype)
    if not header.dtype.isnative:
        array = array.astype(header.dtype.newbyteorder("="))
    return array.T if header.fortran_order else array


def parse(prefix: memoryview, *, max_header: int = MAX_HEADER) -> Header:
    """Return the header of the file that begins with `prefix`. Raises as `decode` does."""
    if len(prefix) < 10 or bytes(prefix[:6]) != MAGIC:
        raise MalformedBody(f"wanted an npy file, which begins with {MAGIC!r}, got {bytes(prefix[:6])!r}")
    major, minor = prefix[6], prefix[7]
    width = _LENGTHS.get(major)
    if width is None or minor:
        raise MalformedBody(f"wanted version 1.0, 2.0 or 3.0 of npy, got {major}.{minor}; save it with numpy.save")
    start = 8 + width
    length = int.from_bytes(prefix[8:start], "little")
    limit = min(max_header, MAX_HEADER)
    if length > limit:
        raise BodyTooLarge(f"wanted an npy header of at most {limit} bytes, got {length}; save a plain array")
    if start + length > len(prefix):
        raise MalformedBody(f"wanted an npy header of {length} bytes, got {len(prefix) - start}; send the file whole")
    try:
        text = bytes(prefix[start : start + length]).decode("utf-8" if major == 3 else "latin-1")
    except UnicodeDecodeError:
        raise MalformedBody("the npy header is not UTF-8, as version 3.0 wants it; save it with numpy.save") from None
    fields = _fields_of(text)
    return Header(
        _dtype_of(fields["descr"]), _shape_of(fields["shape"]), _order_of(fields["fortran_order"]), start + length
    )


def _fields_of(text: str) -> dict[str, str]:
    """The three fields of the header as they are written. A regular expression, so that nothing can be evaluated."""
    if _RECORDS.search(text):
        raise DtypeMismatch("the npy file holds records, variables hold numbers of one dtype; save one field")
    fields: dict[str, str] = {}
    at, closed = 1, not text.startswith("{")
    while not closed and (found := _FIELD.match(text, at)) is not None:
        _, name, value, after = found.groups()
        if name in fields:
            break
        fields[name] = value
        at = found.end()
        closed = after != "," or text[at:].strip() == "}"
    if not closed or fields.keys() != _FIELDS:
        raise MalformedBody(f"wanted an npy header of descr, fortran_order and shape, got {text[:80]!r}")
    return fields


def _dtype_of(descr: str) -> Any:
    if descr[:1] not in "'\"":
        raise MalformedBody(f"wanted the descr of an npy header as text such as '<f4', got {descr:.40}")
    code = descr[1:-1]
    try:
        if _DESCR.fullmatch(code) is None:
            raise TypeError(code)
        dtype = np.dtype(code)
        name_of(dtype)
    except (TypeError, WireError):
        raise DtypeMismatch(
            f"the npy file holds {code[:40]!r} (objects, text, dates, records, bfloat16 and the like have no npy form "
            "that is taken); wanted bool, integers, floats or complex numbers of a dtype that variables have"
        ) from None
    return dtype


def _shape_of(text: str) -> tuple[int, ...]:
    extents = [extent.strip() for extent in text[1:-1].split(",")] if text.startswith("(") else ["?"]
    if extents[-1] == "":
        extents.pop()
    found = [_EXTENT.fullmatch(extent) for extent in extents]
    # A tuple of one is written with a comma; without it, these are only brackets around a number.
    if not all(found) or (len(found) == 1 and "," not in text):
        raise MalformedBody(f"wanted the shape of an npy header as a tuple of ints, got {text:.60}")
    return tuple(int(extent[1]) for extent in found if extent)


def _order_of(text: str) -> bool:
    if text not in ("True", "False"):
        raise MalformedBody(f"wanted True or False as the fortran_order of an npy header, got {text:.40}")
    return text == "True"
