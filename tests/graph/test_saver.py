"""Savers and the state file, embedded and on a server: what is saved, kept, restored, and refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import paramserver_client as ps
import paramserver_client.graph as tf
from support.graph_target import Target


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: Target) -> str:
    """A relative prefix that no other test uses; on the server its directory is the container's name."""
    monkeypatch.chdir(tmp_path)
    return f"{target.container or 'temp'}/model"


def test_save_and_restore_every_dtype(sess: tf.Session, path: str) -> None:
    values: dict[str, Any] = {
        "f": np.float32([1.5, -2]), "d": np.float64([[1e300]]), "i": np.int64(7), "b": np.array([True, False]),
        "c": np.complex64([1 + 2j]), "e": np.zeros((0, 3), np.float32), "u": np.uint8([255]),
    }  # fmt: skip
    variables = {name: tf.Variable(np.zeros_like(value), name=name) for name, value in values.items()}
    half = tf.Variable(tf.cast([0.0, 0.0], tf.bfloat16), name="half", trainable=False)
    for name, value in values.items():
        sess.run(variables[name].assign(value))
    sess.run(half.assign(tf.cast([1.5, 2.5], tf.bfloat16)))
    saver = tf.train.Saver()
    prefix = saver.save(sess, path)
    assert prefix == path
    sess.run(tf.global_variables_initializer())
    saver.restore(sess, path)
    for name, value in values.items():
        found = sess.run(variables[name])
        assert found.dtype == value.dtype
        np.testing.assert_array_equal(found, value)
    assert sess.run(half).astype(float).tolist() == [1.5, 2.5]


def test_restoring_needs_no_initializing_and_works_in_any_container(target: Target, path: str) -> None:
    v = tf.Variable([1.0, 2.0], name="v")
    saver = tf.train.Saver({"called": v})
    with target.session() as sess:
        sess.run(v.assign([3.0, 4.0]))
        saver.save(sess, path)
    with tf.Graph().as_default(), target.session(container=f"{target.container or 'own'}/other") as other:
        w = tf.Variable([0.0, 0.0], name="w")
        tf.train.Saver({"called": w}).restore(other, path)
        assert other.run(w).tolist() == [3.0, 4.0]
        tf.train.Saver().save(other, f"{path}-again")
        tf.train.Saver().restore(other, f"{path}-again")
        assert other.run(w).tolist() == [3.0, 4.0]


def test_restore_is_all_or_nothing(target: Target, path: str) -> None:
    with target.session() as sess:
        for name, value in (("a", [1.0, 2.0]), ("b", [5.0])):
            tf.Variable(value, name=name)
        sess.run(tf.global_variables_initializer())
        tf.train.Saver().save(sess, path)
    tf.reset_default_graph()
    with target.session(container=f"{target.container}/restoring") as sess:
        a = tf.Variable([0.0, 0.0], name="a")
        longer = tf.Variable([9.0, 9.0, 9.0], name="b")
        new = tf.Variable([7.0], name="new")
        sess.run(tf.global_variables_initializer())
        with pytest.raises(tf.errors.NotFoundError, match="^Key new not found in checkpoint"):  # noqa: RUF043
            tf.train.Saver().restore(sess, path)
        message = r"^Assign requires shapes of both tensors to match\. lhs shape= \[3\] rhs shape= \[1\]"
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            tf.train.Saver([a, longer]).restore(sess, path)
        assert [each.tolist() for each in sess.run([a, longer, new])] == [[0.0, 0.0], [9.0] * 3, [7.0]]
        tf.train.Saver([a]).restore(sess, path)
        assert sess.run(a).tolist() == [1.0, 2.0]


def test_another_dtype_is_refused(target: Target, path: str) -> None:
    with target.session() as sess:
        v = tf.Variable([1.0], name="v")
        sess.run(v.initializer)
        tf.train.Saver().save(sess, path)
    tf.reset_default_graph()
    with target.session(container=f"{target.container}/restoring") as sess:
        v = tf.Variable([1], name="v")
        with pytest.raises(tf.errors.InvalidArgumentError, match="dtype int32 does not equal original dtype float32"):
            tf.train.Saver().restore(sess, path)


def test_what_is_no_checkpoint(sess: tf.Session, path: str) -> None:
    tf.Variable([1.0])
    saver = tf.train.Saver()
    with pytest.raises(ValueError, match="Can't load save_path when it is None"):
        saver.restore(sess, None)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with pytest.raises(ValueError, match="The passed save_path is not a valid checkpoint: "):
        saver.restore(sess, f"{path}-absent")
    with pytest.raises(TypeError, match="'sess' must be a Session"):
        saver.save("session", path)  # type: ignore[arg-type]


def test_uninitialized_variables_are_not_saved(sess: tf.Session, path: str) -> None:
    a, _ = tf.Variable([1.0], name="a"), tf.Variable([1.0], name="b")
    sess.run(a.initializer)
    saver = tf.train.Saver()
    with pytest.raises(tf.errors.FailedPreconditionError, match="Attempting to use uninitialized value b"):
        saver.save(sess, path)
    assert saver.last_checkpoints == []
    with pytest.raises(ValueError, match="is not a valid checkpoint"):
        saver.restore(sess, path)


def test_steps_and_the_number_kept(sess: tf.Session, path: str) -> None:
    step = tf.train.get_or_create_global_step()
    sess.run(step.assign(7))
    saver = tf.train.Saver(max_to_keep=2)
    for each in (1, 1, 2, np.int64(1), 3):
        saver.save(sess, path, each)
    assert saver.last_checkpoints == [f"{path}-1", f"{path}-3"]
    with pytest.raises(ValueError, match="not a valid checkpoint"):
        saver.restore(sess, f"{path}-2")
    assert saver.save(sess, path, step) == f"{path}-7"
    assert tf.train.Saver(pad_step_number=True).save(sess, path, 3) == f"{path}-00000003"
    with pytest.raises(TypeError, match=r"Fetch argument 1\.5 has invalid type"):
        saver.save(sess, path, 1.5)
    with pytest.raises(ValueError, match="cannot be interpreted as a Tensor"):
        saver.save(sess, path, "7")
    assert tf.train.latest_checkpoint(os.path.dirname(path)) is not None
    endless = tf.train.Saver(max_to_keep=0)
    for each in range(7):
        endless.save(sess, f"{path}-endless", each)
    assert endless.last_checkpoints == []
    endless.restore(sess, f"{path}-endless-0")


def test_a_saver_keeps_the_list_of_its_making(sess: tf.Session, path: str) -> None:
    a = tf.Variable([1.0], name="a")
    saver = tf.train.Saver()
    b = tf.Variable([2.0], name="b")
    sess.run(tf.global_variables_initializer())
    saver.save(sess, path)
    sess.run([a.assign([8.0]), b.assign([9.0])])
    saver.restore(sess, path)
    assert [each.tolist() for each in sess.run([a, b])] == [[1.0], [9.0]]


def test_lists_of_variables() -> None:
    for empty in (None, [], {}):
        with pytest.raises(ValueError, match="No variables to save"):
            tf.train.Saver(empty)
    tf.train.Saver(allow_empty=True)
    w, v = tf.Variable(1.0, name="w"), tf.Variable(1.0, name="v")
    for odd in (w, 3, iter([w])):
        with pytest.raises(TypeError, match="Variables to save should be passed in a dict or a list"):
            tf.train.Saver(odd)
    with pytest.raises(TypeError, match="Variable to save is not a Variable: Tensor"):
        tf.train.Saver([w.value()])
    with pytest.raises(TypeError, match="names_to_saveables must be a dict mapping string names"):
        tf.train.Saver({"w": w.value()})
    with pytest.raises(ValueError, match="At least two variables have the same name: w"):
        tf.train.Saver([w, w])
    with pytest.raises(ValueError, match="The same saveable will be restored with two names: w2"):
        tf.train.Saver({"w": w, "w2": w})
    tf.train.Saver((w, v))


def test_what_is_not_offered_is_refused_by_name() -> None:
    tf.Variable(1.0)
    with pytest.raises(ValueError, match=r"tf\.train\.Saver: builder=True is not supported"):
        tf.train.Saver(builder=True)
    with pytest.raises(ValueError, match="saver_def must be what `as_saver_def` of a Saver gave"):
        tf.train.Saver(saver_def=True)


def test_a_deferred_saver(sess: tf.Session, path: str) -> None:
    saver = tf.train.Saver(defer_build=True)
    v = tf.Variable([1.0])
    sess.run(v.initializer)
    with pytest.raises(RuntimeError, match="should be called before save"):
        saver.save(sess, path)
    saver.build()
    assert saver.save(sess, path) == path
    with pytest.raises(ValueError, match="build cannot be deferred"):
        tf.train.Saver([v], defer_build=True)


def test_ids_on_the_server(graph_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    v = tf.Variable([1.0], name="v")
    with tf.Session(graph_server.url, container="ids") as sess:
        sess.run(v.initializer)
        saver = tf.train.Saver()
        for prefix, id in (("/ids/a", "ids/a-1"), ("./ids/b", "ids/b-1"), ("ids//c", "ids/c-1")):
            assert saver.save(sess, prefix, 1) == f"{prefix}-1"
            assert sess.client.get_checkpoint(id).step == 1
        with pytest.raises(ValueError, match=r"leave out '\.\.'"):
            saver.save(sess, "../ids/d")
        assert list(tmp_path.iterdir()) == []
        assert sess.client.get_checkpoint("ids/a-1").variables == 1


def test_a_server_without_a_data_directory(tmp_path: Path) -> None:
    from support.server import Server

    v = tf.Variable([1.0], name="v")
    with Server() as server, tf.Session(server.url) as sess:
        sess.run(v.initializer)
        with pytest.raises(ps.NoDataDirError):
            tf.train.Saver().save(sess, "temp/test")


# The embedded layout and the state file


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tf.Session:
    monkeypatch.chdir(tmp_path)
    v = tf.Variable([1.0], name="v")
    sess = tf.Session()
    sess.run(v.initializer)
    return sess


def test_directories_and_the_state_file(here: tf.Session, tmp_path: Path) -> None:
    saver = tf.train.Saver(max_to_keep=2)
    for step in range(3):
        saver.save(here, "deep/er/m", step)
    directory = tmp_path / "deep" / "er"
    assert sorted(os.listdir(directory)) == ["checkpoint", "m-1", "m-2"]
    assert (directory / "checkpoint").read_text().splitlines() == [
        'model_checkpoint_path: "m-2"',
        'all_model_checkpoint_paths: "m-1"',
        'all_model_checkpoint_paths: "m-2"',
    ]
    assert tf.train.latest_checkpoint("deep/er") == "deep/er/m-2"
    state = tf.train.get_checkpoint_state("deep/er")
    assert state is not None
    assert state.all_model_checkpoint_paths == ["deep/er/m-1", "deep/er/m-2"]
    assert {"manifest.json", "model.safetensors"} <= set(os.listdir(directory / "m-2"))
    here.close()


def test_absolute_paths_stay_absolute(here: tf.Session, tmp_path: Path) -> None:
    prefix = str(tmp_path / "abs" / "m")
    tf.train.Saver().save(here, prefix, 1)
    text = (tmp_path / "abs" / "checkpoint").read_text()
    assert f'model_checkpoint_path: "{prefix}-1"' in text
    assert tf.train.latest_checkpoint(str(tmp_path / "abs")) == f"{prefix}-1"
    tf.train.Saver(save_relative_paths=True).save(here, prefix, 2)
    assert 'model_checkpoint_path: "m-2"' in (tmp_path / "abs" / "checkpoint").read_text()
    here.close()


def test_state_files_of_other_names_and_none(here: tf.Session, tmp_path: Path) -> None:
    saver = tf.train.Saver()
    with pytest.raises(ValueError, match="'latest_filename' must not contain path components"):
        saver.save(here, "m", latest_filename="a/b")
    saver.save(here, "m", latest_filename="newest")
    assert sorted(os.listdir(tmp_path)) == ["m", "newest"]
    saver.save(here, "w", write_state=False)
    assert tf.train.latest_checkpoint(".") is None
    assert tf.train.latest_checkpoint(".", "newest") == "./m"
    here.close()


def test_unlimited_savers_list_only_the_newest(here: tf.Session, tmp_path: Path) -> None:
    saver = tf.train.Saver(max_to_keep=None)
    for step in range(3):
        saver.save(here, "m", step)
    assert (tmp_path / "checkpoint").read_text().splitlines() == [
        'model_checkpoint_path: "m-2"',
        'all_model_checkpoint_paths: "m-2"',
    ]
    here.close()


def test_latest_checkpoint_when_things_are_gone(here: tf.Session, tmp_path: Path) -> None:
    assert tf.train.latest_checkpoint("nowhere") is None
    saver = tf.train.Saver()
    saver.save(here, "m")
    (tmp_path / "checkpoint").write_text("rubbish")
    assert tf.train.latest_checkpoint(".") is None
    assert tf.train.get_checkpoint_state(".") is None
    tf.train.update_checkpoint_state(".", "gone")
    assert tf.train.latest_checkpoint(".") is None
    tf.train.update_checkpoint_state(".", str(tmp_path / "no" / "m"))
    with pytest.raises(tf.errors.NotFoundError, match="No such file or directory"):
        tf.train.latest_checkpoint(".")
    tf.train.update_checkpoint_state(".", 'quo"te', ["a"])
    state = tf.train.get_checkpoint_state(".")
    assert state is not None
    assert (state.model_checkpoint_path, len(state.all_model_checkpoint_paths)) == ('./quo"te', 2)
    here.close()


def test_a_saver_that_goes_on_with_an_old_list(here: tf.Session) -> None:
    first = tf.train.Saver(max_to_keep=2)
    for step in (1, 2):
        first.save(here, "m", step)
    second = tf.train.Saver(max_to_keep=2)
    assert second.last_checkpoints == []
    second.set_last_checkpoints(first.last_checkpoints)
    second.save(here, "m", 3)
    assert second.last_checkpoints == ["m-2", "m-3"]
    assert os.path.exists("m-1")  # Without a time it is kept, as TensorFlow does.
    third = tf.train.Saver(max_to_keep=2)
    third.recover_last_checkpoints(["m-1", "gone", "m-2"])
    assert third.last_checkpoints == ["m-1", "m-2"]
    third.save(here, "m", 4)
    assert (third.last_checkpoints, os.path.exists("m-1")) == (["m-2", "m-4"], False)
    for odd in (second.set_last_checkpoints, second.set_last_checkpoints_with_time):
        with pytest.raises(AssertionError):
            odd("m-1")  # type: ignore[arg-type]
    here.close()


def test_a_damaged_checkpoint_is_refused_by_name(here: tf.Session, tmp_path: Path) -> None:
    saver = tf.train.Saver()
    saver.save(here, "m")
    file = tmp_path / "m" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(tf.errors.DataLossError, match="model"):
        saver.restore(here, "m")
    assert here.run("v:0").tolist() == [1.0]
    here.close()


def test_a_directory_that_is_no_checkpoint_is_left_alone(here: tf.Session, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "precious").write_text("text")
    with pytest.raises(tf.errors.OpError):
        tf.train.Saver().save(here, "m")
    assert (tmp_path / "m" / "precious").read_text() == "text"
    here.close()
