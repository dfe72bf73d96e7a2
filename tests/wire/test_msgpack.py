from __future__ import annotations

import time
import tracemalloc
from types import MappingProxyType
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paramserver_wire._msgpack import MAX_DEPTH, MAX_ITEMS, pack_tree, plain_leaf, unique_fields, unpack_tree
from paramserver_wire.errors import BodyTooLarge, DtypeMismatch, InvalidRequest, MalformedBody, WireError
from support.arrays import QUICK
from support.mutations import DAMAGES, Damage


def unpack(buffer: bytes) -> Any:
    tree, _ = unpack_tree(buffer, unique_fields)
    return tree


TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=300),
    lambda children: st.lists(children, max_size=40) | st.dictionaries(st.text(max_size=40), children, max_size=20),
    max_leaves=60,
)


@QUICK
@given(TREES)
def test_any_tree_survives_the_round_trip(tree: Any) -> None:
    packed = pack_tree(tree, plain_leaf)
    assert unpack(packed) == tree
    assert unpack_tree(memoryview(packed), unique_fields) == (tree, 0)


@pytest.mark.parametrize("length", [0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536])
def test_every_width_of_length(length: int) -> None:
    for tree in ("x" * length, [None] * length, {str(key): 1 for key in range(length)}):
        assert unpack(pack_tree(tree, plain_leaf)) == tree


@QUICK
@given(st.binary(max_size=40))
def test_any_bytes_give_a_tree_or_a_polite_refusal(buffer: bytes) -> None:
    outcomes = []
    for form in (buffer, memoryview(buffer)):  # the second is always surveyed
        try:
            outcomes.append(repr(unpack_tree(form, unique_fields)[0]))
        except WireError:
            outcomes.append("refused")
    assert outcomes[0] == outcomes[1]


@QUICK
@given(TREES, DAMAGES)
def test_damaged_trees_too(tree: Any, damage: Damage) -> None:
    try:
        unpack(damage(pack_tree(tree, plain_leaf)))
    except WireError as error:
        refusal = error
    else:
        return
    assert 20 < len(refusal.detail) < 300


@pytest.mark.parametrize(
    ("buffer", "reason"),
    [
        (b"", "cut off|incomplete"),
        (b"\x92\x01", "cut off|incomplete"),
        (b"\xdb\xff\xff\xff\xff", "wanted|incomplete"),
        (b"\x01\x02", "extra data|wanted 1 bytes"),
        (b"\xc1", "0xc1"),
        (b"\xd6\xff\0\0\0\0", "0xd6"),
        (b"\xc7\x00\x05", "0xc7"),
        (b"\x82\xa1a\x01\xa1a\x02", "'a' stands twice"),
        (b"\x81\x01\x02", "not allowed for map key"),
        (b"\x81\x90\x02", "not allowed for map key"),
        (b"\xa1\xff", "utf-8"),
        (b"\xa3\xed\xa0\x80", "utf-8"),
    ],
)
@pytest.mark.parametrize("form", [bytes, memoryview])
def test_what_is_refused(buffer: bytes, reason: str, form: Any) -> None:
    with pytest.raises(MalformedBody, match=reason):
        unpack(form(buffer))


def list_of(count: int, item: bytes) -> bytes:
    return b"\xdd" + count.to_bytes(4, "big") + item * count


@pytest.mark.parametrize(
    "bomb",
    [
        list_of(20_000_000, b"\x90"),
        list_of(20_000_000, b"\x01"),
        list_of(1000, list_of(1001, b"\x80")),
        b"\xdf" + (20_000_000).to_bytes(4, "big") + b"\xa0\x90" * 20_000_000,
        b"\x91" * 20_000_000 + b"\x90",
        b"\x81\xa0" * 10_000_000 + b"\x90",
        b"\xdd\xff\xff\xff\xff" * 1000,
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
    ],
    ids=[
        "empty lists",
        "small ints",
        "lists of maps",
        "a map",
        "deep lists",
        "deep maps",
        "lies",
        "a lie",
        "a map's lie",
    ],
)
def test_bombs_cost_little(bomb: bytes) -> None:
    tracemalloc.start()
    with pytest.raises((BodyTooLarge, MalformedBody)):
        unpack(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_the_number_of_items_is_bounded() -> None:
    assert len(unpack(list_of(MAX_ITEMS, b"\xc0"))) == MAX_ITEMS
    with pytest.raises(BodyTooLarge, match="at most 1000000 items"):
        unpack(list_of(MAX_ITEMS + 1, b"\xc0"))


def test_an_item_costs_100_bytes_at_most() -> None:
    tracemalloc.start()
    assert len(unpack(list_of(20_000, b"\x90"))) == 20_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000 * 100


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa0", b"\xdc\0\1", b"\xdf\0\0\0\1\xa0"])
def test_the_depth_is_bounded(opening: bytes) -> None:
    unpack(opening * MAX_DEPTH + b"\x01")
    with pytest.raises(BodyTooLarge, match="at most 64 deep"):
        unpack(opening * (MAX_DEPTH + 1) + b"\x01")


def test_a_duplicate_is_found_at_once_among_many_keys() -> None:
    pairs = [(str(number), None) for number in range(200_000)]
    began = time.process_time()
    with pytest.raises(MalformedBody, match="'199999' stands twice"):
        unique_fields([*pairs, pairs[-1]])
    assert time.process_time() - began < 2


def test_byte_strings_are_counted() -> None:
    assert unpack_tree(b"\x92\xc4\x01a\xc5\x00\x01b", unique_fields) == ([b"a", b"b"], 2)
    assert unpack_tree(b"\xc6\0\0\0\x01b", unique_fields) == (b"b", 1)


@pytest.mark.parametrize(("leaf", "plain"), [(np.float32(1.5), 1.5), (np.int8(3), 3), (np.bool_(True), True)])
def test_numbers_of_numpy_become_plain(leaf: Any, plain: Any) -> None:
    back = unpack(pack_tree({"a": [leaf]}, plain_leaf))
    assert back == {"a": [plain]}
    assert type(back["a"][0]) is type(plain)


def test_any_mapping_is_a_map() -> None:
    assert unpack(pack_tree(MappingProxyType({"a": MappingProxyType({})}), plain_leaf)) == {"a": {}}


@pytest.mark.parametrize("leaf", [1j, np.complex64(1), {1}, object(), range(3), 2**64, -(2**63) - 1, "\ud800"])
def test_what_cannot_be_packed_is_refused(leaf: Any) -> None:
    with pytest.raises(InvalidRequest):
        pack_tree([leaf], plain_leaf)


def test_dates_and_the_like_are_refused_by_dtype() -> None:
    for leaf in (np.datetime64("2026-01-01"), np.longdouble(1), np.void(b"1")):
        with pytest.raises(DtypeMismatch):
            pack_tree([leaf], plain_leaf)


def test_a_tree_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InvalidRequest, match="msgpack"):
        pack_tree(loop, plain_leaf)


def test_text_of_many_scripts_is_plain_text() -> None:
    text = "ÿþ Ελληνικά кириллица 漢字 \U0001f600"
    assert unpack(msgpack.packb({text: [text] * 70})) == {text: [text] * 70}
