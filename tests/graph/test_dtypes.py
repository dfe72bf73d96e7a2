"""DType objects and how python and numpy types are read as one."""

from __future__ import annotations

import pickle

import ml_dtypes
import numpy as np
import pytest

import paramserver_client.graph as tf


def test_each_type_is_one_object() -> None:
    assert tf.as_dtype("float32") is tf.float32
    assert tf.as_dtype(np.float32) is tf.float32
    assert tf.as_dtype(np.dtype("int64")) is tf.int64
    assert tf.as_dtype(float) is tf.float32
    assert tf.as_dtype(bool) is tf.bool
    assert tf.as_dtype(str) is tf.string
    assert tf.as_dtype(ml_dtypes.bfloat16) is tf.bfloat16
    assert tf.double is tf.float64
    assert pickle.loads(pickle.dumps(tf.int8)) is tf.int8  # noqa: S301


def test_references() -> None:
    ref = tf.as_dtype("float32_ref")
    assert (ref.name, ref.base_dtype, ref != tf.float32) == ("float32_ref", tf.float32, True)
    assert tf.float32.is_compatible_with(ref)
    assert not ref.is_compatible_with(tf.float32)


def test_what_a_type_says() -> None:
    assert (str(tf.float32), repr(tf.float32)) == ("<dtype: 'float32'>", "tf.float32")
    assert tf.float32.as_numpy_dtype is np.float32
    assert (tf.float32.size, tf.int64.size, tf.string.size) == (4, 8, 1)
    assert tf.int8.min == -128
    assert tf.uint8.max == 255
    assert tf.float32.max == np.finfo(np.float32).max
    assert tf.bfloat16.max == float(np.float32(3.3895314e38))
    assert tf.complex64.real_dtype is tf.float32
    assert tf.bfloat16.is_floating
    assert tf.uint8.is_unsigned
    assert tf.uint8.is_integer
    assert tf.bool.is_bool
    assert not tf.bool.is_integer
    assert tf.complex64.is_complex
    with pytest.raises(TypeError, match="minimum value"):
        _ = tf.bool.min


@pytest.mark.parametrize("odd", ["float33", None, 0, 99, int, [], (tf.int32, tf.float32), object()])
def test_what_is_no_type(odd: object) -> None:
    with pytest.raises(TypeError, match="to a TensorFlow DType"):
        tf.as_dtype(odd)
    assert tf.float32 != odd
