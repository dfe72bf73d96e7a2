"""The frame: a message and its tensors in one body, laid out so that no tensor is ever copied.

    b"PSF1"  u32 little-endian: length of the header  header (msgpack)  padding  tensors

The header is `{body: <request or answer>, tensors: [{dtype, shape, offset, nbytes}]}`. Where a tensor belongs, the
body has the map `{"$t": i}` with i an index into `tensors`; other keys of that map stand beside the tensor, and `$t` is
a key of nothing else. If there are tensors, zeros fill up to the next multiple of 64; there the data begins, and from there
offsets count. Each tensor, the empty ones too, begins at the first multiple of 64 after its forerunner, filled up with
zeros; nothing follows the last.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np

from paramserver_wire._msgpack import Pairs, pack_tree, plain_leaf, twice, unpack_tree
from paramserver_wire.dtypes import DType, dtype_named, name_of, nbytes_of
from paramserver_wire.errors import BodyTooLarge, InvalidRequest, MalformedBody, WireError
from paramserver_wire.tensors import Array, Tensor, Untyped, array_over, check_received, untyped_fields, wire_array

MEDIA_TYPE: Final = "application/vnd.paramserver.frame"

MAX_HEADER: Final = 2**20
"""Longest header `decode` reads unless told otherwise, in bytes."""

MAGIC: Final = b"PSF1"
_ALIGNMENT: Final = 64
_ZEROS: Final = bytes(_ALIGNMENT)
_PREAMBLE: Final = struct.Struct("<4sI")
PREAMBLE_NBYTES: Final = _PREAMBLE.size
"""How much of a frame says where its header ends."""
_HEADER: Final = frozenset(("body", "tensors"))
_ENTRY: Final = frozenset(("dtype", "shape", "offset", "nbytes"))
_PENDING: Final[Array] = np.empty(0, np.uint8)

Parts = list[bytes | memoryview]
Layout = list[tuple[int, int, tuple[int, ...], DType]]
"""For each tensor its offset, its size in bytes, its shape and its dtype."""
Leaves = list[tuple[Any, Tensor]]
"""The tensors of a body, each with what `$t` says."""

# The table of frames that are one tensor and nothing else, by their headers: a worker sends the same few again and again,
# and reading one took 14 us of the 130 us of a 1 KB write. Only these, because a tree is the caller's.
_LONE: Final[dict[bytes, Layout]] = {}
_MAX_LONE: Final = 1024


def encode(tree: Any) -> Parts:
    """Return the frame of `tree` as parts to be sent one after the other, the header first.

    Arrays that are little-endian and row-major are not copied: their parts are views, so leave the arrays alone until
    the parts are sent. Leaves are numbers, text, bools, None, arrays, `Tensor`s and `Untyped`s. Raises `DtypeMismatch`
    for arrays of other dtypes than the fifteen and `InvalidRequest` for leaves of other kinds.
    """
    if isinstance(tree, np.ndarray):
        array = wire_array(tree)
        lone: Parts = [_lone_header(array.dtype, array.shape)]
        return [*lone, _bytes_of(array)] if array.nbytes else lone
    table: list[dict[str, Any]] = []
    parts: Parts = [b""]
    end = 0

    # Two functions, because one that called itself would be a cycle of references through its own cell: the parts, and
    # with them the arrays, would then live until the next garbage collection (25 reads of 20 MB held 500 MB).
    def place(leaf: Array) -> dict[str, int]:
        nonlocal end
        array = wire_array(leaf)
        if gap := -end % _ALIGNMENT:
            parts.append(_ZEROS[:gap])
        offset = end + gap
        nbytes = array.nbytes
        if nbytes:
            parts.append(_bytes_of(array))
        table.append(_entry(array.dtype, array.shape, offset, nbytes))
        end = offset + nbytes
        return {"$t": len(table) - 1}

    def pack_leaf(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return {**leaf.meta, **place(leaf.array)}
        if isinstance(leaf, Untyped):
            return untyped_fields(leaf)
        return place(leaf) if isinstance(leaf, np.ndarray) else plain_leaf(leaf)

    # msgpack writes the body first, and so fills the table before it comes to write it.
    parts[0] = _begin(pack_tree({"body": tree, "tensors": table}, pack_leaf), bool(table))
    return parts


@lru_cache(_MAX_LONE)
def _lone_header(dtype: DType, shape: tuple[int, ...]) -> bytes:
    """What stands before the data in the frame of one array: a worker sends the same few shapes again and again."""
    entry = _entry(dtype, shape, 0, nbytes_of(shape, dtype))
    return _begin(pack_tree({"body": {"$t": 0}, "tensors": [entry]}, plain_leaf), True)


def _begin(header: bytes, has_tensors: bool) -> bytes:
    if len(header) >= 2**32:
        raise InvalidRequest("the message without its tensors takes 4 GiB or more; send lists of numbers as arrays")
    padding = _ZEROS[: -(8 + len(header)) % _ALIGNMENT] if has_tensors else b""
    return b"".join((MAGIC, len(header).to_bytes(4, "little"), header, padding))


def _entry(dtype: DType, shape: tuple[int, ...], offset: int, nbytes: int) -> dict[str, Any]:
    return {"dtype": name_of(dtype), "shape": shape, "offset": offset, "nbytes": nbytes}


def _bytes_of(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def frame_nbytes(parts: Sequence[bytes | memoryview]) -> int:
    """Return the length of the frame in bytes, for `Content-Length`."""
    return sum(map(len, parts))


def decode(buffer: bytes | bytearray | memoryview, *, max_header: int = MAX_HEADER) -> Any:
    """Return the tree of a frame that fills `buffer`, a `Tensor` wherever its body refers to one.

    Arrays are views of `buffer`, not copies: writable if it is, and changed when it changes. Raises `BodyTooLarge` for
    a header over `max_header` bytes or a million items, and `MalformedBody` for any other flaw; it names the tensor by
    its index, and says what was wanted and what came.
    """
    view = memoryview(buffer)
    if view.format != "B" or view.ndim != 1:
        view = view.cast("B")
    header, header_end = _header_of(view, max_header)
    if (lone := _LONE.get(header)) is not None:
        (array,) = _arrays_over(view, header_end, lone)
        return Tensor(array, {})
    tree, leaves, layout = _read(header)
    _fill(leaves, _arrays_over(view, header_end, layout))
    if type(tree) is Tensor and not tree.meta:
        # So the header has a few hundred bytes at most.
        if len(_LONE) >= _MAX_LONE:
            _LONE.clear()
        _LONE[header] = layout
    return tree


def begin_nbytes(preamble: memoryview, nbytes: int, *, max_header: int = MAX_HEADER) -> int:
    """Return where the header ends in a frame of `nbytes` that begins with `preamble`. Raises as `decode`."""
    magic, length = _PREAMBLE.unpack_from(preamble) if len(preamble) >= PREAMBLE_NBYTES else (b"", 0)
    if magic != MAGIC:
        raise MalformedBody(f"wanted a frame that begins with {MAGIC!r} and a length, got {bytes(preamble[:8])!r}")
    if length > max_header:
        raise BodyTooLarge(f"wanted a frame header of at most {max_header} bytes, got {length}; send fewer variables")
    if PREAMBLE_NBYTES + length > nbytes:
        raise MalformedBody(f"wanted a frame header of {length} bytes, got {nbytes - 8}; send the frame whole")
    return PREAMBLE_NBYTES + int(length)


class Arrival:
    """A frame of `nbytes` whose header has come, and whose tensors may be received wherever somebody wants them.

    `begin` are its first `begin_nbytes`. Raises `MalformedBody` as `decode` does, but for what only the data can show. Until `views` the
    `tree` has stand-ins in the place of arrays: of their dtypes and shapes, without values.
    """

    def __init__(self, begin: bytes | memoryview, nbytes: int) -> None:
        self._header_end = len(begin)
        self._start = self._header_end + -self._header_end % _ALIGNMENT
        self.tree, self._leaves, self._layout = _read(bytes(begin[PREAMBLE_NBYTES:]))
        # Before anybody takes memory for a tensor: what a header says may be no more than a lie.
        end = self._start + sum(self._layout[-1][:2]) if self._layout else self._header_end
        if end != nbytes:
            raise MalformedBody(f"wanted a frame of {end} bytes, got {nbytes}; send it whole, and nothing behind it")
        stand_ins = [np.broadcast_to(np.empty((), dtype), shape) for _, _, shape, dtype in self._layout]
        _fill(self._leaves, stand_ins)
        self._gaps: list[memoryview] = []

    def views(self, place: Callable[[Tensor], Array | None]) -> list[memoryview]:
        """Return where the rest of the frame is to be received, in its order: `place` gives for each tensor a writable, C-contiguous
        array like its stand-in, which becomes the tensor's own; or None, and a fresh one does."""
        ordered: list[Tensor] = [leaf for _, leaf in sorted(self._leaves, key=lambda found: found[0])]
        end, views = self._header_end, []
        for leaf, (offset, nbytes, shape, dtype) in zip(ordered, self._layout, strict=True):
            placed = place(leaf)
            array = np.empty(shape, dtype) if placed is None else placed
            object.__setattr__(leaf, "array", array)
            if gap := self._start + offset - end:
                self._gaps.append(memoryview(bytearray(gap)))
                views.append(self._gaps[-1])
            if nbytes:
                views.append(_bytes_of(array))
            end = self._start + offset + nbytes
        return views

    def check(self) -> None:
        """Look, once all is received, at what only the data can show. Raises `MalformedBody`."""
        if any(map(any, self._gaps)):
            raise MalformedBody("wanted zeros between the tensors of the frame, got other bytes")
        for index, leaf in self._leaves:
            try:
                check_received(leaf.array)
            except WireError as error:
                raise _unsound(index, error) from None


def _header_of(view: memoryview, max_header: int) -> tuple[bytes, int]:
    """Return the header's bytes, and where they end."""
    end = begin_nbytes(view, len(view), max_header=max_header)
    return bytes(view[PREAMBLE_NBYTES:end]), end


def _read(header: bytes) -> tuple[Any, Leaves, Layout]:
    """Return the tree in a header, the tensors in it, which still wait for their arrays, and the table."""
    leaves: Leaves = []

    def build_map(pairs: Pairs) -> Any:
        fields = dict(pairs)
        if len(fields) != len(pairs):
            raise twice(pairs)
        if "$t" not in fields:
            return fields
        index = fields.pop("$t")
        leaf = Tensor(_PENDING, fields)
        leaves.append((index, leaf))
        return leaf

    fields, byte_strings = unpack_tree(header, build_map)
    if byte_strings:
        raise MalformedBody("wanted no byte strings in the header of a frame, got one; send it as a tensor")
    if type(fields) is not dict or fields.keys() != _HEADER or type(fields["tensors"]) is not list:
        raise MalformedBody("wanted the header of a frame to be a map of `body` and the list `tensors`; send these two")
    return fields["body"], leaves, _layout_of(fields["tensors"])


def _layout_of(table: list[Any]) -> Layout:
    """Return the table, after checking that it puts each tensor right behind its forerunner."""
    layout: Layout = []
    end = 0
    for index, entry in enumerate(table):
        try:
            if type(entry) is not dict or entry.keys() != _ENTRY:
                raise MalformedBody("wanted a map of `dtype`, `shape`, `offset` and `nbytes`, no more and no less")
            shape, dtype = entry["shape"], dtype_named(entry["dtype"])
            offset, nbytes = end + -end % _ALIGNMENT, nbytes_of(shape, dtype)
            for key, wanted in (("offset", offset), ("nbytes", nbytes)):
                if type(entry[key]) is not int or entry[key] != wanted:
                    raise MalformedBody(f"wanted {key} {wanted} for {dtype} {shape}, got {entry[key]!r:.60}")
        except WireError as error:
            raise _unsound(index, error) from None
        layout.append((offset, nbytes, tuple(shape), dtype))
        end = offset + nbytes
    return layout


def _arrays_over(view: memoryview, header_end: int, layout: Layout) -> list[Array]:
    """Return the arrays, after checking that they and nothing else fill the buffer."""
    start = header_end + -header_end % _ALIGNMENT
    arrays: list[Array] = []
    end = header_end
    for index, (offset, nbytes, shape, dtype) in enumerate(layout):
        begin = start + offset
        try:
            if begin + nbytes > len(view):
                raise MalformedBody(f"wanted {nbytes} bytes, got {max(0, len(view) - begin)}; send the frame whole")
            arrays.append(array_over(view, begin, shape, dtype))
            if begin != end and bytes(view[end:begin]) != _ZEROS[: begin - end]:
                raise MalformedBody("wanted zeros before it, got other bytes")
        except WireError as error:
            raise _unsound(index, error) from None
        end = begin + nbytes
    if end != len(view):
        raise MalformedBody(f"wanted a frame of {end} bytes, got {len(view)}; send nothing behind the last tensor")
    return arrays


def _fill(leaves: Leaves, arrays: list[Array]) -> None:
    """Give each leaf its array. They could not have it earlier: the table may stand behind the body."""
    missing = set(range(len(arrays)))
    for index, leaf in leaves:
        if type(index) is not int or index not in missing:
            raise MalformedBody(f"wanted `$t` to name one of the {len(arrays)} tensors, each once, got {index!r:.60}")
        missing.remove(index)
        object.__setattr__(leaf, "array", arrays[index])
    if missing:
        raise MalformedBody(f"tensor {min(missing)} of the frame stands nowhere in the body; leave it out")


def _unsound(index: int, error: WireError) -> MalformedBody:
    return MalformedBody(f"tensor {index} of the frame is not sound: {error.detail}")
