"""The article's samples: each program runs embedded and against a live server, and gives what TensorFlow gave."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf
from paramserver_client import ParameterClient
from support.server import Server

SAMPLES = Path(__file__).parent / "samples"
Play = Callable[[str], dict[str, Any]]


@pytest.fixture(params=["embedded", "server"])
def play(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Play:
    """Runs a sample as a program of its own, in an empty directory, with an empty server or none; gives its names."""
    monkeypatch.chdir(tmp_path)
    if request.param == "server":
        server: Server = request.getfixturevalue("graph_server")
        with ParameterClient(server.url) as client:
            client.delete_variables(prefix="", confirm=True)
        monkeypatch.setenv("PARAMSERVER_URL", server.url)

    def play(name: str) -> dict[str, Any]:
        tf.reset_default_graph()
        return runpy.run_path(str(SAMPLES / f"{name}.py"))

    return play


Printed = pytest.CaptureFixture[str]


def test_create_variable(play: Play, capsys: Printed) -> None:
    play("create_variable")
    assert capsys.readouterr().out.splitlines() == ["W:0 (1, 4) float32_ref", "Add Assign"]


def test_make_values(play: Play, capsys: Printed) -> None:
    play("make_values")
    assert capsys.readouterr().out.splitlines() == [
        "zeros float32 [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]",
        "zeros_like int32 [[0, 0], [0, 0], [0, 0]]",
        "ones float32 [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]",
        "ones_like int32 [[1, 1], [1, 1], [1, 1]]",
        "fill int32 [[8, 8], [8, 8]]",
        "constant int32 [1, 2, 3, 4]",
        "linspace float32 [10.0, 11.0, 12.0]",
        "range int32 [3, 6, 9, 12, 15]",
    ]


def test_initialize_all(play: Play) -> None:
    w, b = play("initialize_all")["found"]
    assert (w.shape, w.dtype, b.tolist(), b.dtype) == ((1, 4), np.float32, [0.0] * 4, np.float32)
    assert len(set(w.ravel().tolist())) == 4


def test_the_misspelt_initializer_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        tf.global_variables_initalizers()  # type: ignore[attr-defined]


def test_initialize_some(play: Play) -> None:
    found = play("initialize_some")
    assert found["first"].shape == (1, 4)
    assert found["reported"] == [b"bias"]
    assert found["flags"] == [True, False]
    assert len(found["failures"]) == 2
    assert all(text.startswith("Attempting to use uninitialized value bias") for text in found["failures"])


def test_own_initializer(play: Play) -> None:
    found = play("own_initializer")
    assert found["answer"] is None
    assert found["left"] == []
    assert [value.tolist() for value in found["found"]] == [[1.0, 2.0], 7]


def test_placeholder(play: Play, capsys: Printed) -> None:
    assert play("placeholder")["found"] == 9.0
    assert capsys.readouterr().out == "9.0\n"


def test_linear(play: Play) -> None:
    found = play("linear")["found"]
    assert found.shape == (1, 4)
    assert len(set(found.ravel().tolist())) == 1


def test_add_to_variable(play: Play) -> None:
    found = play("add_to_variable")
    np.testing.assert_allclose(found["after"] - found["before"], [[1, 1, 1, 1]], rtol=1e-6)


SAVED = [
    "w=1.0, b=0.9990000128746033",
    "w=2.0, b=0.9980000257492065",
    "w=3.0, b=0.9970000386238098",
    "w=4.0, b=0.9960000514984131",
]
PLUS_TWO = ["2.999000072479248", "2.998000144958496", "2.996999979019165", "2.996000051498413"]


def test_save_and_restore(play: Play, capsys: Printed) -> None:
    saved = play("save")
    assert saved["paths"] == saved["kept"] == [f"temp/test-{step}" for step in range(1, 5)]
    assert capsys.readouterr().out.splitlines() == SAVED
    restored = play("restore")
    assert restored["newest"] == "temp/test-4"
    wanted = [line for pair in zip(SAVED, PLUS_TWO, strict=True) for line in pair]
    assert capsys.readouterr().out.splitlines() == wanted


def test_what_an_embedded_save_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(SAMPLES / "save.py"))
    assert sorted(path.name for path in (tmp_path / "temp").iterdir()) == [
        "checkpoint", "test-1", "test-2", "test-3", "test-4"
    ]  # fmt: skip
    lines = (tmp_path / "temp" / "checkpoint").read_text().splitlines()
    assert lines == ['model_checkpoint_path: "test-4"'] + [
        f'all_model_checkpoint_paths: "test-{step}"' for step in range(1, 5)
    ]


def test_restore_in_the_graph_of_the_save_sample(play: Play, capsys: Printed) -> None:
    play("save")
    with pytest.raises(tf.errors.NotFoundError, match=r"^Key (weight_1|bias_1) not found in checkpoint"):
        runpy.run_path(str(SAMPLES / "restore.py"))


def test_filter_with_variables(play: Play) -> None:
    found = play("filter_with_variables")
    assert found["names"] == ["conv1_w", "conv1_b", "conv1_w_1", "conv2_b"]
    assert found["names_after"][4:] == ["conv1_w_2", "conv1_b_1", "conv1_w_3", "conv2_b_1"]
    first, second = found["found"]
    assert first.shape == second.shape == (2, 6, 6, 8)
    assert not np.allclose(first, second)


def test_a_misspelt_argument_is_a_type_error() -> None:
    image, kernel = tf.zeros([1, 4, 4, 1]), tf.zeros([2, 2, 1, 1])
    with pytest.raises(TypeError, match=r"conv2d\(\) got an unexpected keyword argument 'padging'"):
        tf.nn.conv2d(image, kernel, strides=[1, 1, 1, 1], padging="SAME")  # type: ignore[call-arg]


def test_filter_with_scopes(play: Play) -> None:
    found = play("filter_with_scopes")
    assert found["names"] == found["names_after"] == ["conv1/weight", "conv1/bias", "conv2/weight", "conv2/bias"]
    missing, twice = found["errors"]
    assert missing == (
        "Variable conv1/weight does not exist, or was not created with tf.get_variable(). Did you mean to set "
        "reuse=tf.AUTO_REUSE in VarScope?"
    )
    assert twice.startswith(
        "Variable conv1/weight already exists, disallowed. Did you mean to set reuse=True or reuse=tf.AUTO_REUSE in "
        "VarScope? Originally defined at:"
    )
    assert "filter_with_scopes.py" in twice
    assert found["second"].op.name.endswith("/Relu")
    np.testing.assert_array_equal(*found["found"])


def test_output_names_of_a_scope_entered_again() -> None:
    for wanted in ("conv2/Relu", "conv2_1/Relu"):
        with tf.variable_scope("conv2"):
            assert tf.nn.relu(tf.zeros([1])).op.name == wanted


def test_an_initializer_in_the_place_of_the_dtype() -> None:
    with pytest.raises(TypeError, match=r"Cannot convert value .*RandomNormal.* to a TensorFlow DType"):
        tf.get_variable("weight", [5, 5, 3, 8], tf.random_normal_initializer())


def test_nested_scopes(play: Play, capsys: Printed) -> None:
    play("nested_scopes")
    assert capsys.readouterr().out == "foo/bar/v:0\n"


def test_scope_initializer(play: Play) -> None:
    found = play("scope_initializer")
    no_session, no_value = found["errors"]
    assert no_session.startswith("Cannot evaluate tensor using `eval()`: No default session is registered.")
    assert no_value.startswith("Attempting to use uninitialized value foo/v")
    assert not np.allclose(found["drawn"], 0.1)
    with pytest.raises(ValueError, match="truth value of an array with more than one element is ambiguous"):
        assert np.float32([0.1, 0.1]) == 0.1
