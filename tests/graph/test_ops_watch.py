"""check_numerics, Print and py_func."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf

Run = Callable[..., Any]


def test_check_numerics(run: Run) -> None:
    x = tf.placeholder(tf.float32, [2])
    checked = tf.check_numerics(x, "bad step")
    assert run(checked, {x: [1, 2]}).tolist() == [1, 2]
    for values, found in (([np.nan, 1], "NaN"), ([np.inf, 1], "Inf"), ([np.inf, np.nan], "Inf and NaN")):
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"bad step : Tensor had {found} values"):
            run(checked, {x: values})
    with pytest.raises(TypeError, match="give floats"):
        tf.check_numerics(tf.constant(1), "")
    with pytest.raises(tf.errors.InvalidArgumentError, match="here : Tensor had NaN"):
        run(tf.verify_tensor_all_finite(x, "here"), {x: [np.nan, 1]})
    assert run(tf.verify_tensor_all_finite(x=x, message="here"), {x: [0, 1]}).tolist() == [0, 1]


def test_its_gradient_is_checked(run: Run) -> None:
    x = tf.constant([0.0])
    (gradient,) = tf.gradients(tf.sqrt(tf.check_numerics(x, "forward")), x)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"detected in gradient\. : Tensor had Inf"):
        run(gradient)


def test_all_of_a_graph(run: Run) -> None:
    x = tf.placeholder(tf.float32, [])
    y = tf.log(x, name="the_log") * 2.0
    check = tf.add_check_numerics_ops()
    assert run([y, check], {x: 1.0}) == [0.0, None]
    with pytest.raises(tf.errors.InvalidArgumentError, match="the_log:0 : Tensor had Inf"):
        run([y, check], {x: 0.0})


def test_print(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    x = tf.placeholder(tf.float32, [None])
    shown = tf.Print(x, [x, tf.shape(x), "text"], "values: ", first_n=2)
    every = tf.Print(x, [x], summarize=-1)
    for _ in range(3):
        assert run(shown, {x: [1, 2, 3, 4]}).tolist() == [1, 2, 3, 4]
    run(every, {x: [1, 2, 3, 4]})
    seen = capsys.readouterr()
    assert seen.err == "values: [1.0 2.0 3.0...][4][text]\n" * 2 + "[1.0 2.0 3.0 4.0]\n"
    assert seen.out == ""


def test_python_functions(run: Run) -> None:
    calls = []

    def both(a: Any, b: Any) -> Any:
        calls.append((a.dtype, b.dtype))
        return a + b.astype(np.float32), np.int64(len(a))

    total, count = tf.py_func(both, [tf.constant([1.0, 2.0]), 3], [tf.float32, tf.int64], name="both")
    assert [run(total).tolist(), run(count)] == [[4.0, 5.0], 2]
    assert calls == [(np.float32, np.int32)] * 2
    assert (total.name, total.shape.ndims) == ("both:0", None)
    assert run([total, count])[1] == 2
    assert len(calls) == 3
    silent = tf.py_func(lambda: calls.clear(), [], [])
    assert isinstance(silent, tf.Operation)
    assert run(silent) is None
    assert not calls
    assert run(tf.py_func(lambda s: s.upper(), [tf.constant("abc")], tf.string)) == b"ABC"
    x = tf.constant(1.0)
    assert tf.gradients(tf.py_func(lambda a: a, [x], tf.float32), x) == [None]


def test_what_it_returns_belongs_to_the_run(run: Run) -> None:
    kept = np.zeros(2, np.float32)
    value = run(tf.py_func(lambda: kept, [], tf.float32))
    kept += 1
    assert value.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("raised", "kind"),
    [(ValueError, "InvalidArgumentError"), (TypeError, "InvalidArgumentError"), (StopIteration, "OutOfRangeError"),
     (MemoryError, "ResourceExhaustedError"), (NotImplementedError, "UnimplementedError"), (KeyError, "UnknownError")],
)  # fmt: skip
def test_what_it_raises(raised: type[Exception], kind: str, run: Run) -> None:
    def fails() -> Any:
        raise raised("why")

    with pytest.raises(getattr(tf.errors, kind), match=f"{raised.__name__}: .*why"):
        run(tf.py_func(fails, [], tf.float32))


def test_what_it_must_not_return(run: Run) -> None:
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="0-th value returned by the function is float64, but expects float32"
    ):
        run(tf.py_func(lambda: 1.5, [], tf.float32))
    with pytest.raises(tf.errors.InvalidArgumentError, match="returned 1 values, but 2 are expected"):
        run(tf.py_func(lambda: np.float32(1), [], [tf.float32, tf.float32])[0])
