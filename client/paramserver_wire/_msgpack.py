"""msgpack with bounds: the grammar is surveyed before any object is made of it.

The msgpack library makes 56 bytes and more of every byte `0x90`, an empty list: 20 MB of them cost 1 GB and 8 s. The
survey costs about 70 ns an item and refuses before memory is taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]  # it ships no stubs
import numpy as np

from paramserver_wire.dtypes import name_of
from paramserver_wire.errors import BodyTooLarge, InvalidRequest, MalformedBody, WireError

MAX_ITEMS: Final = 1_000_000
"""Most items, over all lists and maps together, keys counted too: a push of 10,000 variables has about 250,000."""

MAX_DEPTH: Final = 64
"""Deepest nesting of lists and maps; whoever walks a decoded tree by recursion may rely on it."""

Pairs = list[tuple[Any, Any]]


def pack_tree(tree: Any, pack_leaf: Callable[[Any], Any]) -> bytes:
    """Return `tree` as msgpack. `pack_leaf` turns each leaf msgpack does not know into something it does.

    Raises `InvalidRequest` for what msgpack cannot hold.
    """
    try:
        packed: bytes = msgpack.packb(tree, default=pack_leaf)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRequest(f"the message cannot be written as msgpack ({error}); correct the argument") from None
    return packed


def plain_leaf(leaf: Any) -> Any:
    """Return a number of numpy's as Python's, and any mapping as a dict.

    Raises `DtypeMismatch` for numpy's dates and the like, `InvalidRequest` for all else.
    """
    if isinstance(leaf, np.generic):
        name_of(leaf.dtype)
        if leaf.dtype.kind != "c":
            return leaf.item()
    if isinstance(leaf, Mapping):
        return dict(leaf)
    raise InvalidRequest(f"a message holds no {type(leaf).__name__}; give numbers, text, lists, maps or arrays")


def unpack_tree(buffer: bytes | memoryview, build_map: Callable[[Pairs], Any]) -> tuple[Any, int]:
    """Return the tree in `buffer`, and how many byte strings it holds. `build_map` makes a map of its pairs.

    Keys are text, or byte strings: whoever knows how many byte strings there should be has the keys checked too.
    Raises `BodyTooLarge` over `MAX_ITEMS` or `MAX_DEPTH`, `MalformedBody` for everything else that is wrong: cut off,
    bytes left over, extension types, other keys, text that is no UTF-8.
    """
    count = 0 if _is_harmless(buffer) else _survey(buffer)
    try:
        tree = msgpack.unpackb(buffer, object_pairs_hook=build_map)
    except WireError:
        raise
    except (ValueError, msgpack.UnpackException) as error:
        raise MalformedBody(f"the msgpack cannot be read ({error}); send valid msgpack") from None
    return tree, count


def unique_fields(pairs: Pairs) -> dict[str, Any]:
    """Return the pairs as a dict; raise `MalformedBody` for a key that comes twice."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise twice(pairs)
    return fields


def twice(pairs: Pairs) -> MalformedBody:
    """What is wrong with pairs of which two have the same key."""
    counts = Counter(key for key, _ in pairs)
    key = max(counts, key=counts.__getitem__)
    return MalformedBody(f"the key {key!r:.60} stands twice in one map; send it once")


def _widths() -> bytes:
    """Return how many bytes an item takes by its first byte; 0 where more must be read to know."""
    widths = bytearray(256)
    widths[0x00:0x80] = bytes([1]) * 0x80
    widths[0xA0:0xC0] = bytes(range(1, 33))
    widths[0xE0:0x100] = bytes([1]) * 0x20
    for first, width in {0xC0: 1, 0xC2: 1, 0xC3: 1, 0xCA: 5, 0xCB: 9}.items():
        widths[first] = width
    for first in (0xCC, 0xD0):
        widths[first : first + 4] = bytes([2, 3, 5, 9])
    return bytes(widths)


_WIDTHS: Final = _widths()
_TEXT: Final = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_BYTES: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_LISTS: Final = {0xDC: 2, 0xDD: 4}
_MAPS: Final = {0xDE: 2, 0xDF: 4}
_OPENING: Final = bytes([*range(0x80, 0xA0), *_LISTS, *_MAPS])
_PLAIN: Final = bytes({first for first in range(256) if _WIDTHS[first]} | _TEXT.keys())


def _is_harmless(buffer: bytes | memoryview) -> bool:
    """Tell whether `buffer` is small and has too few bytes that could open a list or map to nest too deep, and none that
    could begin a byte string or extension type. The header of a small push is; it saves 3 of 12 us to know that."""
    if type(buffer) is not bytes or len(buffer) > 2**16:
        return False
    telling = buffer.translate(None, _PLAIN)
    return len(telling) <= MAX_DEPTH and not telling.translate(None, _OPENING)


def _survey(buffer: bytes | memoryview) -> int:
    """Walk over one msgpack object, check that it fills `buffer` within the bounds, and count its byte strings."""
    widths, end = _WIDTHS, len(buffer)
    position = items = count = 0
    left = 1  # items to come in the innermost list or map
    outer: list[int] = []  # and in those around it
    try:
        while True:
            while not left:
                if not outer:
                    if position != end:
                        raise MalformedBody(f"wanted {position} bytes of msgpack, got {end}; send one whole object")
                    return count
                left = outer.pop()
            left -= 1
            first = buffer[position]
            position += widths[first] or 1
            if widths[first]:
                continue
            if first < 0xA0:
                children = (first & 0x0F) * (1 if first >= 0x90 else 2)
            elif (size := _LISTS.get(first) or _MAPS.get(first)) is not None:
                children = int.from_bytes(buffer[position : position + size], "big") * (1 if first in _LISTS else 2)
                position += size
            elif (size := _TEXT.get(first) or _BYTES.get(first)) is not None:
                position += size + int.from_bytes(buffer[position : position + size], "big")
                count += first in _BYTES
                continue
            else:
                raise MalformedBody(f"the msgpack type 0x{first:02x} is not taken; send nothing but plain types")
            items += children
            if items > MAX_ITEMS:
                raise BodyTooLarge(f"wanted at most {MAX_ITEMS} items, got more; send arrays as tensors, or split it")
            outer.append(left)
            left = children
            if len(outer) > MAX_DEPTH:
                raise BodyTooLarge(f"wanted lists and maps at most {MAX_DEPTH} deep, got deeper; flatten it")
    except IndexError:
        raise MalformedBody(f"the msgpack is cut off after {end} bytes; send all of it") from None
