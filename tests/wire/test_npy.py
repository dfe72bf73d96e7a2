from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paramserver_wire import npy
from paramserver_wire.dtypes import DTYPES
from paramserver_wire.errors import BodyTooLarge, DtypeMismatch, MalformedBody, WireError
from paramserver_wire.tensors import Tensor
from support.arrays import QUICK, Array, arrays, same_bits
from support.mutations import DAMAGES, Damage

HELD = [name for name in DTYPES if name != "bfloat16"]


def saved(array: Any, version: tuple[int, int] | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asanyarray(array), version, **options)
    return file.getvalue()


def written(text: str, data: bytes = b"", version: int = 1) -> bytes:
    width = 2 if version == 1 else 4
    return npy.MAGIC + bytes((version, 0)) + len(text).to_bytes(width, "little") + text.encode() + data


@QUICK
@given(arrays(st.sampled_from(HELD)))
def test_numpy_reads_what_we_write(array: Array) -> None:
    parts = npy.encode(Tensor(array, {"version": 3}))
    found = np.load(io.BytesIO(b"".join(parts)), allow_pickle=False)
    assert same_bits(found, array)
    assert len(parts[0]) % 64 == 0


@QUICK
@given(arrays(st.sampled_from(HELD)), st.sampled_from([(1, 0), (2, 0), (3, 0)]))
def test_we_read_what_numpy_writes_in_any_order_and_version(array: Array, version: tuple[int, int]) -> None:
    found = npy.decode(saved(array, version))
    assert same_bits(found, array)
    assert found.dtype.isnative


def test_data_is_not_copied_on_either_side() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    _, data = npy.encode(array)
    assert np.shares_memory(np.asarray(data), array)
    for order in (array, np.asfortranarray(array)):
        body = bytearray(saved(order))
        found = npy.decode(memoryview(body))
        assert np.array_equal(found, array)
        found[1, 2] = 99
        assert npy.decode(body)[1, 2] == 99


def test_bfloat16_has_no_npy_form() -> None:
    array = np.ones(3, DTYPES["bfloat16"])
    assert [name for name, dtype in DTYPES.items() if npy.cannot_hold(dtype)] == ["bfloat16"]
    with pytest.raises(DtypeMismatch, match="bfloat16"):
        npy.encode(array)
    with pytest.raises(DtypeMismatch, match="V2"):
        npy.decode(saved(array))


@pytest.mark.parametrize(
    "array",
    [
        np.array([{"a": 1}, None], object),
        np.zeros(2, [("a", "<f4"), ("b", "<i8")]),
        np.array(["text"]),
        np.array([b"bytes"]),
        np.array(["2026-11-24"], "datetime64[D]"),
        np.zeros(2, np.longdouble),
        np.zeros(2, "V7"),
    ],
    ids=lambda array: str(array.dtype),
)
def test_what_is_no_number_is_refused_and_never_unpickled(array: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: Any, **__: Any) -> None:
        raise AssertionError("unpickled")

    body = saved(array)
    monkeypatch.setattr("pickle.load", explode)
    monkeypatch.setattr("pickle.loads", explode)
    with pytest.raises(DtypeMismatch, match=r"records|wanted bool, integers"):
        npy.decode(body)


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "begins with"),
        (b"PK\x03\x04" + bytes(20), "begins with"),
        (npy.MAGIC, "begins with"),
        (npy.MAGIC + b"\x04\x00" + bytes(20), "version"),
        (npy.MAGIC + b"\x01\x07" + bytes(20), "version"),
        (written(GOOD)[:20], "header of"),
        (written(GOOD, bytes(23)), "24 bytes"),
        (written(GOOD, bytes(25)), "24 bytes"),
        (written(GOOD.replace("2, 3", "2, 3, 0"), bytes(24)), "0 bytes"),
        (written(GOOD.replace("(2, 3)", "(4294967296, 4294967296)")), "2\\*\\*63|takes|bytes"),
        (written(GOOD.replace("2, 3", ", ".join("1" * 9)), bytes(4)), "8 axes"),
        (written(GOOD.replace("(2, 3)", "(-2, -3)"), bytes(24)), "descr, fortran_order and shape"),
        (written(GOOD.replace("(2, 3)", "(2 3)"), bytes(24)), "tuple of ints"),
        (written(GOOD.replace("(2, 3)", "(6)"), bytes(24)), "tuple of ints"),
        (written(GOOD.replace("(2, 3)", "(,)"), bytes(4)), "tuple of ints"),
        (written(GOOD.replace("(2, 3)", "(L, 3)"), bytes(24)), "tuple of ints"),
        (written(GOOD.replace("(2, 3)", "'<f4'"), bytes(24)), "tuple of ints"),
        (written(GOOD.replace("False", "0"), bytes(24)), "descr, fortran_order and shape"),
        (written(GOOD.replace("False", "'no'"), bytes(24)), "True or False"),
        (written(GOOD.replace("'<f4'", "True"), bytes(24)), "descr"),
        (written(GOOD.replace("'shape': (2, 3)", "'descr': '<f4'"), bytes(24)), "descr, fortran_order and shape"),
        (written(GOOD.replace("'shape': (2, 3), ", ""), bytes(24)), "descr, fortran_order and shape"),
        (written(GOOD.replace(", }", ", 'more': 'x'}"), bytes(24)), "descr, fortran_order and shape"),
        (written(GOOD + "; import os", bytes(24)), "descr, fortran_order and shape"),
        (written("__import__('os').abort()"), "descr, fortran_order and shape"),
        (written("{" * 60_000), "descr, fortran_order and shape"),
        (written("{" + " " * 60_000), "descr, fortran_order and shape"),
        (written("{'shape': (" + "1," * 30_000), "descr, fortran_order and shape"),
        (written("", version=2), "descr, fortran_order and shape"),
        (npy.MAGIC + b"\x03\x00\x02\x00\x00\x00\xff\xfe", "UTF-8"),
        (saved(np.array([True, False]))[:-1] + b"\x02", "bool"),
    ],
)
def test_bad_files(body: bytes, words: str) -> None:
    with pytest.raises(WireError, match=words) as refused:
        npy.decode(body)
    assert refused.value.code in ("malformed_body", "shape_mismatch")


def test_a_huge_header_is_refused_by_its_length() -> None:
    with pytest.raises(BodyTooLarge, match="65536"):
        npy.decode(npy.MAGIC + b"\x02\x00" + (2**32 - 1).to_bytes(4, "little"))
    with pytest.raises(BodyTooLarge, match="10 bytes"):
        npy.decode(written(GOOD, bytes(24)), max_header=10)


def test_headers_of_other_writers_are_read() -> None:
    for text in (
        "{'shape': (6L,), 'fortran_order': False, 'descr': '<f4'}\n",
        '{ "descr" : "<f4" , "fortran_order" : False , "shape" : ( 6 , ) , } \n',
    ):
        assert npy.decode(written(text, bytes(24))).shape == (6,)
    assert npy.decode(written(GOOD.replace("<f4", "=f4"), bytes(24))).dtype == np.float32


@QUICK
@given(arrays(st.sampled_from(HELD)), DAMAGES)
def test_damage_is_refused_politely(array: Array, damage: Damage) -> None:
    try:
        npy.decode(damage(saved(array)))
    except WireError as error:
        assert error.code in ("malformed_body", "body_too_large", "dtype_mismatch", "shape_mismatch")


@given(st.binary(max_size=100))
def test_rubbish_is_refused_politely(rubbish: bytes) -> None:
    for body in (rubbish, npy.MAGIC + b"\x01\x00" + rubbish, written("{" + rubbish.decode("latin-1"), b"")):
        with pytest.raises((MalformedBody, BodyTooLarge, DtypeMismatch)):
            npy.decode(body)
