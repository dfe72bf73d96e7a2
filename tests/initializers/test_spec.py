"""What a spec may say: shapes and dtypes it settles, and everything that is refused, with all differences listed."""

from __future__ import annotations

import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from paramserver.initializers import (
    InvalidInitializer,
    check_parameters,
    check_spec,
    liked_name,
    make,
    needs_seed,
)
from paramserver.initializers.kinds import KINDS

F16, F32, F64 = (np.dtype(name) for name in ("float16", "float32", "float64"))
BF16 = np.dtype(ml_dtypes.bfloat16)
I8, I32, I64, U64 = (np.dtype(name) for name in ("int8", "int32", "int64", "uint64"))
C64 = np.dtype(np.complex64)
BOOL = np.dtype(np.bool_)

NAMES = {
    *("zeros", "ones", "constant", "fill", "zeros_like", "ones_like", "linspace", "range", "random_normal"),
    *("truncated_normal", "random_uniform", "multinomial", "random_gamma", "random_shuffle", "random_crop"),
    *("glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal", "lecun_uniform"),
    *("variance_scaling", "orthogonal", "identity"),
}


def faults_of(spec: Any, shape: Any = None, dtype: Any = None, **more: Any) -> tuple[str, ...]:
    with pytest.raises(InvalidInitializer) as caught:
        check_spec(spec, shape, dtype, **more)
    assert str(caught.value) == "; ".join(caught.value.faults)
    return caught.value.faults


def test_every_initializer_of_the_contract_is_here() -> None:
    assert set(KINDS) == NAMES


@pytest.mark.parametrize(
    ("spec", "shape", "dtype"),
    [
        ({"type": "constant", "value": 5}, (), I32),
        ({"type": "constant", "value": 5.0}, (), F32),
        ({"type": "constant", "value": True}, (), BOOL),
        ({"type": "constant", "value": [[1, 2.5], [3, 4]]}, (2, 2), F32),
        ({"type": "constant", "value": np.zeros((2, 0), np.float64)}, (2, 0), F64),
        ({"type": "constant", "value": np.ones(2, np.complex64)}, (2,), C64),
        ({"type": "constant", "value": np.ones(3, BF16)}, (3,), BF16),
        ({"type": "linspace", "start": 10, "stop": 12, "num": 3}, (3,), F32),
        ({"type": "range", "start": 3, "limit": 18, "delta": 3}, (5,), I32),
        ({"type": "range", "limit": 4}, (4,), I32),
        ({"type": "range", "limit": 1.5, "delta": 0.5}, (3,), F32),
        ({"type": "range", "start": 3, "limit": 3, "delta": -1}, (0,), I32),
        ({"type": "range", "start": 5, "limit": 0, "delta": -2}, (3,), I32),
        ({"type": "multinomial", "logits": [[0.0, 1.0], [2.0, 3.0]], "num_samples": 5}, (2, 5), I64),
        ({"type": "random_gamma", "alpha": [[0.5], [1.5]], "beta": [1.0, 2.0, 3.0]}, (2, 3), F32),
        ({"type": "random_gamma", "alpha": 0.5}, (), F32),
        ({"type": "random_shuffle", "value": [[1, 2], [3, 4], [5, 6]]}, (3, 2), I32),
        ({"type": "random_crop", "value": [[1.0, 2.0], [3.0, 4.0]], "size": [1, 2]}, (1, 2), F32),
    ],
)
def test_what_a_spec_settles_itself(spec: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    settled = check_spec(spec)
    assert (settled.shape, settled.dtype) == (shape, dtype)
    made = make(spec, None, None, 1, "w")
    assert (made.shape, made.dtype) == (shape, dtype)


def test_like_gives_shape_and_dtype() -> None:
    spec = {"type": "ones_like", "like": "conv1/weight"}
    assert liked_name(spec) == "conv1/weight"
    assert liked_name({"type": "ones", "like": "w"}) is None
    settled = check_spec(spec, like=((2, 3), I8))
    assert (settled.shape, settled.dtype) == ((2, 3), I8)
    assert np.array_equal(make(settled.spec, settled.shape, settled.dtype, None, "w"), np.ones((2, 3), I8))
    assert check_spec(spec, dtype=F64, like=((2, 3), I8)).dtype == F64
    assert faults_of(spec, (3, 2), like=((2, 3), I8)) == ("shape: wanted [2, 3], which ones_like settles, got [3, 2]",)
    assert faults_of(spec) == ("shape: wanted for ones_like, but missing",)


def test_a_settled_spec_is_plain_json_with_its_defaults_and_settles_again() -> None:
    spec = {"type": "constant", "value": np.array([[1 + 2j, 3]], np.complex64)}
    settled = check_spec(spec)
    assert json.loads(json.dumps(dict(settled.spec))) == {"type": "constant", "value": [[[1.0, 2.0], [3.0, 0.0]]]}
    again = check_spec(settled.spec, settled.shape, settled.dtype)
    assert (again.shape, again.dtype, again.spec) == (settled.shape, settled.dtype, settled.spec)
    normal = check_spec({"type": "random_normal", "seed": None}, (2,))
    assert dict(normal.spec) == {"type": "random_normal", "mean": 0.0, "stddev": 1.0}


def test_empty_values_settle_again_although_json_forgets_their_shape() -> None:
    settled = check_spec({"type": "constant", "value": np.zeros((0, 3), np.int8)})
    assert make(settled.spec, settled.shape, settled.dtype, None, "w").shape == (0, 3)


def test_parameters_alone_are_checked_for_scope_defaults() -> None:
    assert check_parameters({"type": "glorot_uniform", "seed": 7}) == {"type": "glorot_uniform", "seed": 7}
    with pytest.raises(InvalidInitializer, match="stddev: wanted a number of at least 0, got -1"):
        check_parameters({"type": "random_normal", "stddev": -1})


def test_which_need_a_seed() -> None:
    assert needs_seed({"type": "random_normal"})
    assert needs_seed({"type": "orthogonal"})
    assert not needs_seed({"type": "zeros"})
    assert not needs_seed({"type": "nonsense"})
    with pytest.raises(InvalidInitializer, match="seed: wanted for random_normal, but missing"):
        make({"type": "random_normal"}, (2,), None, None, "w")


def test_all_differences_are_listed() -> None:
    faults = faults_of({"type": "random_normal", "mean": float("nan"), "stddev": -1, "bogus": 1, "seed": 1.5}, (2,))
    assert faults == (
        "bogus: no such parameter; it takes mean, stddev, seed",
        "mean: wanted finite numbers, got nan",
        "stddev: wanted a number of at least 0, got -1",
        "seed: wanted a whole number, got 1.5",
    )
    assert faults_of({"type": "linspace"}) == tuple(f"{name}: wanted, but missing" for name in ("start", "stop", "num"))
    assert faults_of({"type": "random_uniform", "minval": 1.5, "maxval": 300}, (2,), I8) == (
        "minval: wanted a whole number in -128..127 for dtype int8, got 1.5",
        "maxval: wanted a whole number in -128..127 for dtype int8, got 300",
    )
    assert faults_of({"type": "random_normal"}, None, I32) == (
        "dtype: wanted one of float16, bfloat16, float32, float64 for random_normal, got int32",
        "shape: wanted for random_normal, but missing",
    )


@pytest.mark.parametrize(
    ("spec", "shape", "dtype", "words"),
    [
        (5, None, None, "wanted an object like"),
        ({}, None, None, "type: wanted one of zeros, ones"),
        ({"type": "no_such"}, (2,), None, "got 'no_such'"),
        ({"type": ["zeros"]}, (2,), None, "type: wanted one of"),
        ({"type": "zeros", "seed": 1}, (2,), None, "seed: no such parameter; it takes none"),
        ({"type": "zeros"}, None, None, "shape: wanted for zeros, but missing"),
        ({"type": "zeros"}, (2, -1), None, "shape: wanted sizes of at least 0"),
        ({"type": "zeros"}, (True,), None, "shape: wanted sizes of at least 0"),
        ({"type": "zeros"}, (2,), np.dtype("datetime64[s]"), "dtype: wanted one of bool, float16"),
        ({"type": "constant", "value": [1, 2, 3]}, (2,), None, "Needed at most 2, but received 3"),
        ({"type": "constant", "value": []}, (2,), None, "wanted at least one element"),
        ({"type": "constant", "value": 1.5}, (), I32, "wanted whole numbers for dtype int32, got 1.5"),
        ({"type": "constant", "value": 300}, (), I8, "wanted numbers in -128..127 for dtype int8, got 300"),
        ({"type": "constant", "value": 2**40}, None, None, "for dtype int32"),
        ({"type": "constant", "value": 1e300}, (), F32, "stay finite in dtype float32"),
        ({"type": "constant", "value": 10**400}, (), F32, "dtype float32"),
        ({"type": "constant", "value": True}, (), F32, "wanted numbers for dtype float32, got booleans"),
        ({"type": "constant", "value": 1}, (), BOOL, "wanted true or false"),
        ({"type": "constant", "value": [True, 1]}, None, None, "got both"),
        ({"type": "constant", "value": [[1, 2], [3]]}, None, None, "ragged"),
        ({"type": "constant", "value": "a"}, None, None, "wanted numbers, got 'a'"),
        ({"type": "constant", "value": [None]}, None, None, "wanted numbers, got None"),
        ({"type": "constant", "value": None}, None, None, "value: wanted, but missing"),
        ({"type": "constant", "value": float("inf")}, None, None, "wanted finite numbers"),
        ({"type": "constant", "value": np.array([np.nan])}, None, None, "wanted finite numbers"),
        ({"type": "constant", "value": np.array(["a"])}, None, None, "wanted an array of numbers"),
        ({"type": "constant", "value": np.zeros(1 << 19)}, None, None, "create the variable with a value instead"),
        ({"type": "constant", "value": [0] * ((1 << 18) + 1)}, None, None, "create the variable with a value instead"),
        ({"type": "constant", "value": [[[[[[[[[[1]]]]]]]]]]}, None, None, "at most 8 axes"),
        ({"type": "constant", "value": [1.0, 2.0, 3.0]}, None, C64, "[re, im] pairs"),
        ({"type": "fill", "value": 3}, None, None, "shape: wanted for fill"),
        ({"type": "fill", "value": [1, 2]}, (2,), None, "wanted one number"),
        ({"type": "fill", "value": [1, 2, 3]}, (2,), None, "wanted one number"),
        ({"type": "linspace", "start": 0, "stop": 1, "num": 0}, None, None, "num: wanted a whole number of at least 1"),
        ({"type": "linspace", "start": 0, "stop": 1, "num": 3}, (4,), None, "shape: wanted [3], which linspace"),
        ({"type": "linspace", "start": 0, "stop": 1, "num": 3}, None, I32, "dtype: wanted one of float16"),
        ({"type": "linspace", "start": 0, "stop": 1e6, "num": 3}, None, F16, "stop: wanted a number that stays finite"),
        ({"type": "range", "limit": 3, "delta": 0}, None, None, "delta: wanted a step other than 0"),
        ({"type": "range", "limit": 3, "delta": -1}, None, None, "a step that goes from start 0 towards limit 3"),
        ({"type": "range", "limit": 2**70}, None, None, "fewer than 2**63"),
        ({"type": "range", "limit": 1e300, "delta": 1e-300}, None, None, "fewer than 2**63"),
        ({"type": "range", "start": -(10**308), "limit": 10**308, "delta": 0.5}, None, None, "fewer than 2**63"),
        ({"type": "random_uniform", "minval": -(10**308), "maxval": 10**308}, (2,), F64, "maxval - minval to stay"),
        ({"type": "range", "limit": 200}, None, I8, "wanted numbers in -128..127"),
        ({"type": "range", "limit": 2.5}, None, I8, "limit: wanted a whole number for dtype int8, got 2.5"),
        ({"type": "range", "limit": 2}, None, C64, "dtype: wanted one of"),
        ({"type": "range", "limit": 10**400}, None, None, "limit: wanted a number below"),
        ({"type": "random_normal", "mean": 1e6}, (2,), F16, "mean: wanted a number that stays finite in dtype float16"),
        ({"type": "random_normal"}, (2,), C64, "dtype: wanted one of float16"),
        ({"type": "random_normal", "stddev": "1"}, (2,), None, "stddev: wanted numbers, got '1'"),
        ({"type": "random_normal", "stddev": True}, (2,), None, "stddev: wanted a number, got True"),
        ({"type": "random_uniform"}, (2,), I32, "maxval: wanted for dtype int32, but missing"),
        ({"type": "random_uniform", "maxval": 0}, (2,), I32, "minval: wanted less than maxval 0, got 0"),
        ({"type": "random_uniform", "minval": 2, "maxval": 1}, (2,), None, "minval: wanted at most maxval 1, got 2"),
        ({"type": "random_uniform", "minval": -3e38, "maxval": 3e38}, (2,), None, "maxval - minval to stay finite"),
        ({"type": "multinomial", "logits": [0.0, 1.0], "num_samples": 2}, None, None, "wanted shape [batch, classes]"),
        ({"type": "multinomial", "logits": [[]], "num_samples": 2}, None, None, "wanted shape [batch, classes]"),
        ({"type": "multinomial", "logits": [[True]], "num_samples": 2}, None, None, "got booleans"),
        ({"type": "multinomial", "logits": [[0.0]], "num_samples": -1}, None, None, "num_samples: wanted"),
        ({"type": "multinomial", "logits": [[0.0]], "num_samples": 1}, None, F32, "dtype: wanted one of int32, int64"),
        ({"type": "random_gamma", "alpha": 0}, (2,), None, "alpha: wanted numbers above 0"),
        ({"type": "random_gamma", "alpha": 1e-320}, (2,), None, "stay above 0 in dtype float32"),
        ({"type": "random_gamma", "alpha": [1, 2], "beta": [1, 2, 3]}, None, None, "broadcasts with alpha's [2]"),
        ({"type": "random_gamma", "alpha": [1, 2]}, (5,), None, "ends with that of alpha and beta, [2]"),
        ({"type": "random_gamma", "alpha": [1, 2]}, (), None, "wanted one that ends with"),
        ({"type": "random_shuffle", "value": [1, 2]}, (3,), None, "shape: wanted [2], which random_shuffle settles"),
        ({"type": "random_crop", "value": [1, 2], "size": [3]}, None, None, "value.shape >= size, got [2] and [3]"),
        ({"type": "random_crop", "value": [1, 2], "size": [1, 1]}, None, None, "Need value.shape >= size, got"),
        ({"type": "random_crop", "value": [1, 2], "size": 1}, None, None, "size: wanted a list of sizes"),
        ({"type": "random_crop", "value": [1, 2], "size": [-1]}, None, None, "size: wanted sizes of at least 0"),
        ({"type": "variance_scaling", "scale": 0}, (2,), None, "scale: wanted a number above 0"),
        ({"type": "variance_scaling", "mode": "fan"}, (2,), None, "mode: wanted one of fan_in, fan_out, fan_avg"),
        ({"type": "variance_scaling", "distribution": 3}, (2,), None, "distribution: wanted one of"),
        ({"type": "glorot_uniform", "scale": 3}, (2,), None, "scale: no such parameter"),
        ({"type": "orthogonal"}, (2,), None, "wanted at least two axes, got [2]"),
        ({"type": "identity"}, (2, 2, 2), None, "wanted two axes"),
        ({"type": "identity", "gain": 1.5}, (2, 2), I32, "wanted whole numbers for dtype int32"),
        ({"type": "identity", "gain": [1, 2]}, (2, 2), None, "wanted one number"),
        ({"type": "zeros_like", "like": 3}, (2,), None, "like: wanted the name of a variable"),
    ],
)  # fmt: skip
def test_refusals_say_what_was_wanted_and_what_came(spec: Any, shape: Any, dtype: Any, words: str) -> None:
    assert words in "; ".join(faults_of(spec, shape, dtype))


def test_a_check_takes_no_memory_however_large_the_shape() -> None:
    assert check_spec({"type": "random_normal"}, (2**40, 2**20)).shape == (2**40, 2**20)
    assert check_spec({"type": "linspace", "start": 0, "stop": 1, "num": 2**60}).shape == (2**60,)
    assert check_spec({"type": "range", "limit": 2**62}, dtype=I64).shape == (2**62,)
    assert check_spec({"type": "multinomial", "logits": [[0.0]], "num_samples": 2**50}).shape == (1, 2**50)
    assert check_spec({"type": "range", "start": 2**64 - 3, "limit": 2**64 - 1}, dtype=U64).shape == (2,)
