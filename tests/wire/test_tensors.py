from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paramserver_wire.dtypes import DTYPES
from paramserver_wire.errors import DtypeMismatch, InvalidRequest, MalformedBody, NonFinite, ShapeMismatch, WireError
from paramserver_wire.tensors import (
    Tensor,
    Untyped,
    array_over,
    inferred,
    to_json,
    typed,
    untyped_fields,
    wire_array,
)
from support.arrays import QUICK, Array, arrays, same_bits

FLOATS = ["float16", "bfloat16", "float32", "float64"]
FLOAT32 = DTYPES["float32"]


def read(value: Any, target: str = "float32", dtype: str | None = None, shape: Any = None, **options: Any) -> Array:
    return typed(Untyped(value, dtype, shape), DTYPES[target], **options)


@QUICK
@given(arrays())
def test_any_array_survives_json_bit_by_bit_but_for_the_payload_of_nans(array: Array) -> None:
    text = json.dumps(to_json(array), allow_nan=False)
    name = wire_array(array).dtype.name
    back = read(json.loads(text), name, name, tuple(array.shape), allow_non_finite=True)
    with np.errstate(all="ignore"):
        holes = np.isnan(back)
        assert (np.isnan(wire_array(array)) == holes).all()
        if back.dtype.kind == "c":  # each part has holes of its own
            back, array = (part.reshape((*part.shape, 1)).view(part.real.dtype) for part in (back, wire_array(array)))
            holes = np.isnan(back)
        assert same_bits(np.where(holes, 0, back), np.where(holes, 0, wire_array(array)))


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_every_16_bit_float_has_a_short_decimal_that_reads_back(name: str) -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    back = read(to_json(bits.view(DTYPES[name])), name, allow_non_finite=True).view(np.uint16)
    with np.errstate(all="ignore"):
        assert ((back == bits) | np.isnan(bits.view(DTYPES[name]))).all()


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.float32([0.1, 1e30, -0.0]), "[0.1, 1e+30, -0.0]"),
        (np.array([0.1, 3], DTYPES["bfloat16"]), "[0.1, 3.0]"),
        (np.float16(0.1), "0.1"),
        (np.float64([[0.1], [np.nan]]), '[[0.1], ["NaN"]]'),
        (np.float32(np.inf), '"Infinity"'),
        (np.array([-np.inf], DTYPES["bfloat16"]), '["-Infinity"]'),
        (np.complex64([0.1 + 2j]), "[[0.1, 2.0]]"),
        (np.array(complex(0, np.nan)), '[0.0, "NaN"]'),
        (np.bool_([True]), "[true]"),
        (np.uint64(2**64 - 1), "18446744073709551615"),
        (np.zeros((2, 0)), "[[], []]"),
        (np.zeros((0, 2), np.complex64), "[]"),
    ],
)
def test_how_json_looks(array: Any, text: str) -> None:
    assert json.dumps(to_json(np.asarray(array)), allow_nan=False) == text


@pytest.mark.parametrize("name", FLOATS)
@QUICK
@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_floats_round_to_nearest_or_are_refused(name: str, number: float) -> None:
    dtype = DTYPES[name]
    try:
        got = float(read(number, name))
    except NonFinite:
        assert abs(number) > 65504
        return
    bits = dtype.itemsize * 8
    integer = np.dtype(f"int{bits}")
    near = (np.array(got, dtype).view(integer) + np.array([-1, 1], integer)).view(dtype)
    with np.errstate(all="ignore"):
        neighbours = [float(other) for other in near if np.isfinite(other)]
    assert all(abs(Fraction(got) - Fraction(number)) <= abs(Fraction(other) - Fraction(number)) for other in neighbours)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("number", "wanted"),
    [(1 + 2**-8, 1.0), (1 + 2**-8 + 2**-40, 1 + 2**-7), (1 + 3 * 2**-8 - 2**-40, 1 + 2**-7), (5e-324, 0.0)],
)
def test_bfloat16_is_rounded_once(number: float, wanted: float, sign: int) -> None:
    assert float(read(sign * number, "bfloat16")) == sign * wanted


@pytest.mark.parametrize(
    ("value", "name", "wanted"),
    [
        (1, "float32", 1.0),
        (2**200, "float64", 2.0**200),
        (3.0, "int8", 3),
        (-128, "int8", -128),
        (2**64 - 1, "uint64", 2**64 - 1),
        ([1, 2.0], "int64", [1, 2]),
        (2**53 + 1, "int64", 2**53 + 1),
        (True, "bool", True),
        ((1, (2)), "float32", [1, 2]),
        ([np.float32(1.5), np.int64(2)], "float32", [1.5, 2]),
        ([1.5, 2], "complex64", [1.5, 2]),
    ],
)
def test_numbers_take_the_dtype(value: Any, name: str, wanted: Any) -> None:
    got = read(value, name)
    assert got.dtype == DTYPES[name]
    assert got.tolist() == wanted
    assert got.flags.writeable


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (1.5, "int32"),
        (128, "int8"),
        (-1, "uint8"),
        (2**64, "uint64"),
        (1e19, "int64"),
        (10**400, "int64"),
        (float("inf"), "int8"),
        (1, "bool"),
        (0.0, "bool"),
        ("true", "bool"),
        (True, "int8"),
        (True, "float32"),
        ([1, True], "float32"),
        ("1", "int32"),
        ("NaN", "int32"),
        ("1", "float32"),
        ("nan", "float32"),
        ("inf", "float32"),
        ("x" * 999, "float64"),
    ],
)
def test_what_does_not_fit_a_dtype_is_refused(value: Any, name: str) -> None:
    with pytest.raises(DtypeMismatch, match=r"^layer/w: ") as refusal:
        read(value, name, name="layer/w", allow_non_finite=True)
    assert len(refusal.value.detail) < 200


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("NaN", "float32"),
        ([1, "-Infinity"], "float16"),
        (float("nan"), "float64"),
        (float("inf"), "bfloat16"),
        (1e39, "float32"),
        (65520, "float16"),
        (3.4e38, "bfloat16"),
        (10**400, "float64"),
        ("Infinity", "complex64"),
    ],
)
def test_non_finite_numbers_are_refused(value: Any, name: str) -> None:
    with pytest.raises(NonFinite, match=r"^w: "):
        read(value, name, name="w")


@pytest.mark.parametrize("value", [1e39, -1e39, 10**400])
def test_overflow_is_refused_even_where_infinities_are_allowed(value: float) -> None:
    with pytest.raises(NonFinite, match="beyond the range"):
        read([value, "NaN"], allow_non_finite=True)


def test_non_finite_numbers_may_be_asked_for() -> None:
    got = read(["NaN", "Infinity", "-Infinity", float("inf"), 1], allow_non_finite=True)
    assert str(got.tolist()) == "[nan, inf, -inf, inf, 1.0]"


@pytest.mark.parametrize(
    "value", [[[1], [1, 2]], [1, [2]], [[1], 2], [[[1]], [1]], [[], [1]], [[1], "NaN"], [[1], None]]
)
def test_ragged_lists_are_refused(value: Any) -> None:
    with pytest.raises(ShapeMismatch, match="ragged"):
        read(value)


@pytest.mark.parametrize("value", [None, {}, [None], {"value": 1}, [{}], b"1", 1j, [np.zeros(2)], object(), {1, 2}])
def test_other_leaves_are_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest, match="wanted numbers"):
        read(value)


def test_deep_lists_are_refused_before_they_are_walked() -> None:
    deep: Any = 1.0
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ShapeMismatch, match="nested over 8 deep"):
        read(deep)


@pytest.mark.parametrize(
    ("value", "shape", "wanted"),
    [
        ([], (0, 3), (0, 3)),
        ([[], []], (2, 0), (2, 0)),
        ([], None, (0,)),
        ([[]], (0,), (0,)),
        (1, (1, 1), (1, 1)),
        ([1, 2, 3, 4], (2, 2), (2, 2)),
        ([[1, 2]], (1, 2), (1, 2)),
        ([1], (), ()),
        (1, None, ()),
    ],
)
def test_a_shape_settles_what_a_flat_or_empty_list_cannot_say(value: Any, shape: Any, wanted: Any) -> None:
    assert read(value, shape=shape).shape == wanted


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ([1, 2], (3,)),
        ([], (1,)),
        (1, (2,)),
        ([[1, 2], [3, 4], [5, 6]], (2, 3)),
        ([[1]], (1,)),
        ([], (2**32, 2**32, 0)),
        ([1], (True,)),
        ([1, 2], (2.0,)),
        ([1, 2], (-2,)),
        ([1], (1,) * 9),
        ([1], "1"),
        ([1], 1),
    ],
)
def test_a_shape_that_does_not_agree_is_refused(value: Any, shape: Any) -> None:
    with pytest.raises(ShapeMismatch):
        read(value, shape=shape)


def test_complex_numbers_are_pairs_where_the_dtype_is_given() -> None:
    assert read([1, 2], "complex128", "complex64").tolist() == 1 + 2j
    assert read([[1, 2], [3, "NaN"]], "complex64", "complex64", allow_non_finite=True)[0] == 1 + 2j
    assert read([[1, 2], [3, 4]], "complex64", "complex64", (2, 1)).tolist() == [[1 + 2j], [3 + 4j]]
    assert read([], "complex64", "complex64", (0, 2)).shape == (0, 2)
    for lonely in (1.5, [1.5], [[1], [2]], [1, 2, 3]):
        with pytest.raises(ShapeMismatch, match=r"\[re, im\] pairs"):
            read(lonely, "complex64", "complex64")


def test_a_given_dtype_must_cast_safely() -> None:
    assert read([1, 2], "int64", "int8").dtype == DTYPES["int64"]
    assert float(read(0.1, "float64", "bfloat16")) == 0.10009765625
    with pytest.raises(DtypeMismatch, match="wanted float32, got a value of dtype float64"):
        read(1, "float32", "float64")
    with pytest.raises(DtypeMismatch, match="use one of"):
        read(1, "float32", "nonsense")
    with pytest.raises(DtypeMismatch):
        read(300, "int64", "int8")


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(1, "int32"), (1.5, "float32"), (True, "bool"), ([1, 2.5], "float32"), ([], "float32"), ("NaN", "float32")],
)
def test_what_a_new_variable_becomes(value: Any, wanted: str) -> None:
    assert inferred(Untyped(value)) == DTYPES[wanted]
    assert inferred(Untyped(value, "int8")) == DTYPES["int8"]


@pytest.mark.parametrize("value", [[1, True], [True, 0.5], [True, "NaN"]])
def test_mixed_kinds_have_no_dtype(value: Any) -> None:
    with pytest.raises(DtypeMismatch, match="of one kind, got bool"):
        inferred(Untyped(value))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=2), children, max_size=2),
    max_leaves=8,
)


@QUICK
@given(JSON, st.sampled_from(list(DTYPES)), st.none() | st.sampled_from([*DTYPES, "x"]), st.booleans())
def test_any_rubbish_is_refused_politely(value: Any, name: str, dtype: str | None, allow: bool) -> None:
    try:
        got = read(value, name, dtype, allow_non_finite=allow)
    except WireError as error:
        refusal = error
    else:
        assert got.dtype == DTYPES[name]
        with np.errstate(all="ignore"):
            assert allow or np.isfinite(got).all()
        return
    assert 20 < len(refusal.detail) < 300


@QUICK
@given(arrays())
def test_the_wire_form_has_the_same_bits_little_endian_and_row_major(array: Array) -> None:
    form = wire_array(array)
    assert same_bits(form, array)
    assert form.flags.c_contiguous
    assert form.dtype.isnative


def test_the_wire_form_of_a_sound_array_is_the_array() -> None:
    for array in (np.zeros((2, 3)), np.array(1.0), np.zeros((0, 2))):
        assert wire_array(array) is array


@pytest.mark.parametrize(
    "array",
    [np.array([None]), np.array(["a"]), np.array([b"a"]), np.array(["2026-01-01"], "M8[D]"), np.zeros(2, "f4,f4")],
)
def test_other_dtypes_do_not_travel(array: Array) -> None:
    with pytest.raises(DtypeMismatch, match="use one of"):
        wire_array(array)
    with pytest.raises(DtypeMismatch, match="use one of"):
        to_json(array)


def test_an_array_over_a_buffer_is_a_view_that_writes_through() -> None:
    buffer = bytearray(20)
    array = array_over(buffer, 4, (2, 2), FLOAT32)
    array[1, 1] = 1
    assert buffer == bytes(16) + np.float32(1).tobytes()
    assert not array_over(bytes(4), 0, (), FLOAT32).flags.writeable


def test_a_bool_is_one_or_zero() -> None:
    assert array_over(b"\0\1", 0, (2,), DTYPES["bool"]).tolist() == [False, True]
    assert array_over(b"", 0, (0,), DTYPES["bool"]).tolist() == []
    with pytest.raises(MalformedBody, match="got 2"):
        array_over(b"\0\2", 0, (2,), DTYPES["bool"])


def test_what_an_untyped_value_looks_like() -> None:
    assert untyped_fields(Untyped([1])) == [1]
    assert untyped_fields(Untyped([], "int8", (0, 3))) == {"value": [], "dtype": "int8", "shape": (0, 3)}
    assert untyped_fields(Untyped(1, "int8")) == {"value": 1, "dtype": "int8"}


def test_tensors_and_untyped_values_cannot_change() -> None:
    with pytest.raises(AttributeError):
        Tensor(np.zeros(1)).array = np.ones(1)  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Untyped(1).value = 2  # type: ignore[misc]
