"""The checkpoint readers: the same for a Saver's files here and for its checkpoint on a server."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

import numpy as np
import pytest

import paramserver_client.graph as tf
from support.graph_target import Target

TABLE = np.arange(12, dtype=np.float32).reshape(6, 2)


@pytest.fixture
def saved(target: Target, tmp_path: Path) -> str:
    """A checkpoint with values of several kinds, in a directory `tmp_path/models`."""
    with target.session(container=f"{target.container}/saving"):
        tf.get_variable("table", initializer=tf.constant(TABLE), partitioner=tf.fixed_size_partitioner(4))
        tf.Variable(2.5, name="scalar")
        for dtype in (tf.complex64, tf.complex128, tf.bfloat16, tf.bool):
            tf.Variable(tf.cast(tf.constant([[1, 0]]), dtype), name=f"of/{dtype.name}")
        sess = tf.get_default_session()
        sess.run(tf.global_variables_initializer())
        path = tf.train.Saver().save(sess, str(tmp_path / "models" / "m"), 7)
    tf.reset_default_graph()
    return str(path)


def test_what_there_is(target: Target, saved: str) -> None:
    wanted = {
        "table": [6, 2],
        "scalar": [],
        **{f"of/{name}": [1, 2] for name in ("complex64", "complex128", "bfloat16", "bool")},
    }
    with target.session():
        reader = tf.train.NewCheckpointReader(saved)
        assert reader.get_variable_to_shape_map() == wanted
        assert reader.get_variable_to_dtype_map()["of/complex64"] == tf.complex64
        assert reader.get_variable_to_dtype_map()["table"] == tf.float32
        assert tf.train.list_variables(saved) == sorted(wanted.items())
        assert tf.train.list_variables(str(Path(saved).parent)) == sorted(wanted.items())
        assert reader.has_tensor("scalar")
        assert not reader.has_tensor("missing")


def test_values(target: Target, saved: str) -> None:
    with target.session():
        np.testing.assert_array_equal(tf.train.load_variable(saved, "table"), TABLE)
        assert tf.train.load_variable(saved, "scalar:0") == 2.5
        for dtype in (tf.complex64, tf.complex128, tf.bfloat16, tf.bool):
            found = tf.train.load_variable(saved, f"of/{dtype.name}")
            assert found.dtype == dtype.as_numpy_dtype
            np.testing.assert_array_equal(found, np.array([[1, 0]]).astype(dtype.as_numpy_dtype))
        with pytest.raises(tf.errors.NotFoundError, match="Key missing not found in checkpoint"):
            tf.train.load_variable(saved, "missing")
        with pytest.raises(tf.errors.NotFoundError, match="Failed to find any matching files for"):
            tf.train.NewCheckpointReader(f"{saved}-absent")


def test_variables_start_from_it(target: Target, saved: str) -> None:
    with target.session(container=f"{target.container}/starting") as sess:
        v = tf.get_variable("mine", [6, 2], initializer=tf.zeros_initializer())
        tf.train.init_from_checkpoint(saved, {"table": v})
        sess.run(tf.global_variables_initializer())
        np.testing.assert_array_equal(sess.run(v), TABLE)


def test_nothing_of_it_stays_here(target: Target, saved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "room").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "room"))
    with target.session():
        reader = tf.train.NewCheckpointReader(saved)
        assert reader.get_tensor("scalar") == 2.5
        del reader
        gc.collect()
        assert list((tmp_path / "room").iterdir()) == []
