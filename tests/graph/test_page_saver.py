"""The reference, section "Saver and checkpoints", on each target, and the checkpoint functions."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf
from support.graph_target import Target


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: Target) -> str:
    """A relative prefix that no other test uses; on the server its directory is the container's name."""
    monkeypatch.chdir(tmp_path)
    return f"{target.container or 'temp'}/model"


def made(sess: tf.Session, **values: Any) -> list[tf.Variable]:
    variables = [tf.Variable(value, name=name) for name, value in values.items()]
    sess.run(tf.variables_initializer(variables))
    return variables


# Saving


def test_the_prefix_comes_back_with_the_step(sess: tf.Session, path: str) -> None:
    v, step = made(sess, v=[1.0], step=np.int64(5))
    saver, padded = tf.train.Saver([v]), tf.train.Saver([v], pad_step_number=True)
    assert saver.save(sess, path) == path
    assert saver.save(sess, path, 3) == f"{path}-3"
    assert saver.save(sess, path, global_step=step) == f"{path}-5"
    assert saver.save(sess, path, global_step=tf.constant(6)) == f"{path}-6"
    assert padded.save(sess, path, 3) == f"{path}-00000003"
    with pytest.raises(TypeError):
        saver.save(sess, path, 1.5)
    with pytest.raises(ValueError):
        saver.save(sess, path, "7")
    for name in ("a/b", "/a"):
        with pytest.raises(ValueError, match="'latest_filename' must not contain path components"):
            saver.save(sess, path, latest_filename=name)
    with pytest.raises(ValueError, match="'latest_filename' collides with 'save_path': 'model' and"):
        saver.save(sess, path, latest_filename="model")
    with pytest.raises(TypeError, match="'sess' must be a Session"):
        saver.save(None, path)  # type: ignore[arg-type]


def test_paths_may_be_urls_of_files(here: tf.Session, tmp_path: Path) -> None:
    v = tf.Variable(1.0)
    here.run(v.initializer)
    saver = tf.train.Saver()
    assert saver.save(here, f"file://{tmp_path}/model") == f"file://{tmp_path}/model"
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "model")
    here.run(v.assign(2.0))
    saver.restore(here, f"file://{tmp_path}/model")
    assert here.run(v) == 1.0


def test_without_a_value_nothing_is_saved(sess: tf.Session, path: str) -> None:
    a = tf.Variable([1.0], name="a")
    saver = tf.train.Saver([a])
    with pytest.raises(tf.errors.FailedPreconditionError, match="Attempting to use uninitialized value a"):
        saver.save(sess, path)
    with pytest.raises(ValueError, match=r"Parent directory of bare doesn't exist, can't save\."):
        saver.save(sess, "bare")
    local = tf.Variable([1.0], name="l", collections=["local_variables"])
    if not sess.client.server():
        raise AssertionError
    assert (tf.train.Saver(allow_empty=True, var_list=[]).save(sess, path), saver.last_checkpoints) == (None, [])
    with pytest.raises((tf.errors.FailedPreconditionError, ValueError)):
        tf.train.Saver([local]).save(sess, path)


def test_what_is_saved_by_default(sess: tf.Session, path: str) -> None:
    for name, settings in {
        "plain": {}, "fixed": {"trainable": False}, "local": {"collections": ["local_variables"]}, "own": {"collections": []}
    }.items():  # fmt: skip
        sess.run(tf.Variable([1.0], name=name, **settings).initializer)
    extra = tf.Variable([2.0], name="extra", collections=[])
    tf.add_to_collection(tf.GraphKeys.SAVEABLE_OBJECTS, extra)
    sess.run(extra.initializer)
    assert [each.name for each in tf.train.Saver().as_saver_def().saved] == ["extra", "fixed", "plain"]


def test_names_are_those_of_the_dict(target: Target, path: str) -> None:
    with target.session() as sess:
        v, w = made(sess, v=[1.0], w=[2.0])
        tf.train.Saver({"w": v, "other": w}).save(sess, path)
        sess.run([v.assign([0.0]), w.assign([0.0])])
        tf.train.Saver({"other": v}).restore(sess, path)
        assert [each.tolist() for each in sess.run([v, w])] == [[2.0], [0.0]]


@pytest.mark.parametrize("keep", [None, 0])
def test_without_a_limit_everything_stays(keep: int | None, sess: tf.Session, path: str) -> None:
    made(sess, v=[1.0])
    saver = tf.train.Saver(max_to_keep=keep)
    prefixes = [saver.save(sess, path, step) for step in range(3)]
    assert saver.last_checkpoints == []
    assert all(tf.train.checkpoint_exists(str(each)) for each in prefixes)
    state = tf.train.get_checkpoint_state(os.path.dirname(path))
    assert state is not None
    assert state.model_checkpoint_path == prefixes[-1]


def test_the_newest_are_kept_and_a_name_saved_again_is_the_newest(sess: tf.Session, path: str) -> None:
    made(sess, v=[1.0])
    saver = tf.train.Saver(max_to_keep=2)
    for step in (1, 1, 2, 1, 3):
        saver.save(sess, path, step)
    assert saver.last_checkpoints == [f"{path}-1", f"{path}-3"]
    exist = [tf.train.checkpoint_exists(f"{path}-{step}") for step in (1, 2, 3)]
    assert exist == [True, False, True]
    assert tf.train.latest_checkpoint(os.path.dirname(path)) == f"{path}-3"


def test_one_every_few_hours_stays(sess: tf.Session, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made(sess, v=[1.0])
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    saver = tf.train.Saver(max_to_keep=1, keep_checkpoint_every_n_hours=1.0)
    for hour in (0.2, 0.9, 1.1, 1.5, 2.2, 2.5):
        now[0] = 1000.0 + hour * 3600
        saver.save(sess, path, int(hour * 10))
    exist = [tf.train.checkpoint_exists(f"{path}-{step}") for step in (2, 9, 11, 15, 22, 25)]
    assert exist == [False, False, True, False, True, True]
    always = tf.train.Saver(max_to_keep=1, keep_checkpoint_every_n_hours=0.0)
    for step in (100, 101):
        now[0] += 1
        always.save(sess, path, step)
    assert tf.train.checkpoint_exists(f"{path}-100")


def test_another_saver_has_a_list_of_its_own_and_can_take_one_over(sess: tf.Session, path: str) -> None:
    made(sess, v=[1.0])
    first = tf.train.Saver(max_to_keep=2)
    for step in (1, 2):
        first.save(sess, path, step)
    second = tf.train.Saver(saver_def=first.as_saver_def())
    assert second.last_checkpoints == []
    second.recover_last_checkpoints([*first.last_checkpoints, f"{path}-gone"])
    assert second.last_checkpoints == first.last_checkpoints
    second.save(sess, path, 3)
    assert [tf.train.checkpoint_exists(f"{path}-{step}") for step in (1, 2, 3)] == [False, True, True]
    times = tf.train.get_checkpoint_mtimes([f"{path}-2", f"{path}-1", f"{path}-3"])
    assert len(times) == 2
    assert times[0] <= times[1]


# Restoring


def test_restore_initializes_and_is_whole_or_not_at_all(target: Target, path: str) -> None:
    with target.session() as sess:
        made(sess, a=[1.0, 2.0], b=[5])
        tf.train.Saver().save(sess, path)
    tf.reset_default_graph()
    with target.session(container=f"{target.container}/again") as sess:
        a, b = tf.Variable([0.0, 0.0], name="a"), tf.Variable([0], name="b")
        tf.train.Saver(restore_sequentially=True, sharded=True).restore(sess, path)
        assert [each.tolist() for each in sess.run([a, b])] == [[1.0, 2.0], [5]]
        sess.run([a.assign([9.0, 9.0])])
        saver = tf.train.Saver({"a": a, "new": b})
        with pytest.raises(tf.errors.NotFoundError, match=r"^Key new not found in checkpoint"):
            saver.restore(sess, path)
        floats, longer = tf.Variable([0.0], name="f"), tf.Variable([0] * 3, name="g")
        with pytest.raises(tf.errors.InvalidArgumentError, match="dtype float32 does not equal original dtype int32"):
            tf.train.Saver({"a": a, "b": floats}).restore(sess, path)
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"lhs shape= \[3\] rhs shape= \[1\]"):
            tf.train.Saver({"a": a, "b": longer}).restore(sess, path)
        assert sess.run(a).tolist() == [9.0, 9.0]
        with pytest.raises(ValueError, match=r"Can't load save_path when it is None\."):
            saver.restore(sess, None)
        # A server has no directories, and so none that could be missing.
        missing = ValueError if sess.target else tf.errors.NotFoundError
        with pytest.raises(missing, match=r"gone; No such file or directory|not a valid checkpoint: gone/m"):
            saver.restore(sess, "gone/m")
        with pytest.raises(ValueError, match="The passed save_path is not a valid checkpoint: absent"):
            saver.restore(sess, "absent")


def test_reshaping(target: Target, path: str) -> None:
    with target.session() as sess:
        made(sess, v=[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
        tf.train.Saver().save(sess, path)
    tf.reset_default_graph()
    with target.session(container=f"{target.container}/again") as sess:
        v, w = tf.Variable(tf.zeros([3, 2]), name="v"), tf.Variable(tf.zeros([5]), name="w")
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"Assign requires shapes of both tensors to match\."):
            tf.train.Saver([v]).restore(sess, path)
        tf.train.Saver([v], reshape=True).restore(sess, path)
        assert sess.run(v).tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
        with pytest.raises(tf.errors.InvalidArgumentError):
            tf.train.Saver({"v": w}, reshape=True).restore(sess, path)


def test_partitioned_variables_are_saved_as_the_whole(target: Target, path: str) -> None:
    value = np.arange(30.0, dtype=np.float32).reshape(10, 3)

    def variables(parts: int, start: Any) -> list[Any]:
        if not parts:
            return [tf.Variable(start, name="p")]
        return [tf.get_variable("p", initializer=tf.constant(start), partitioner=tf.fixed_size_partitioner(parts))]

    for saved_parts, restored_parts in ((2, 0), (2, 2), (2, 3), (0, 3)):
        with tf.Graph().as_default(), target.session(container=f"{target.container}/{saved_parts}") as sess:
            (v,) = variables(saved_parts, value)
            sess.run(tf.global_variables_initializer())
            tf.train.Saver([v]).save(sess, path)
        with (
            tf.Graph().as_default(),
            target.session(container=f"{target.container}/{saved_parts}{restored_parts}x") as sess,
        ):
            (w,) = variables(restored_parts, np.zeros_like(value))
            tf.train.Saver({"p": w}).restore(sess, path)
            found = sess.run(w if isinstance(w, tf.Variable) else w.as_tensor())
            np.testing.assert_array_equal(found, value)
            with pytest.raises(tf.errors.NotFoundError, match="Key q not found in checkpoint"):
                tf.train.Saver({"q": w}).restore(sess, path)
            names = [each.name for each in sess.client.list_variables()]
            assert not [name for name in names if "restoring-" in name]


def test_what_is_in_parts_has_one_name() -> None:
    parts = tf.get_variable("p", [4, 5], partitioner=tf.fixed_size_partitioner(2))
    v0, v1, v2 = (tf.Variable([1.0], name=f"v{i}") for i in range(3))
    v2._set_save_slice_info(tf.Variable.SaveSliceInfo("v1", [1], [0], [1]))
    for listed in ([v0, v1, v2], [parts, parts]):
        with pytest.raises(ValueError, match=r"(same name: p|Mixing slices and non-slices|same name: v1)"):
            tf.train.Saver(listed)
    found = tf.train.Saver([parts, v2, v0]).as_saver_def().saved
    assert [(each.name, each.shape) for each in found] == [("p", (4, 5)), ("v0", (1,)), ("v1", (1,))]
    assert [each.name for each in tf.train.Saver(list(parts)).as_saver_def().saved] == ["p"]
    tf.train.Saver({"vee1": v1, "other": [v2]})
    for odd, error in (({"a": [v0]}, ValueError), ({"a": []}, TypeError), ({"a": [3]}, TypeError),
                       ({"a": [v2, next(iter(parts))]}, ValueError), ([3], TypeError)):  # fmt: skip
        with pytest.raises(error):
            tf.train.Saver(odd)


def test_strings_and_local_variables_are_saved_here(tmp_path: Path) -> None:
    prefix = str(tmp_path / "m")
    text = tf.Variable([["a", "b\0c"], ["", "\u26a3"]], name="text")
    local = tf.Variable([1, 2], name="local", collections=["local_variables"])
    with tf.Session() as sess:
        sess.run([text.initializer, local.initializer])
        tf.train.Saver([text, local]).save(sess, prefix)
        sess.run([text.assign([["", ""], ["", ""]]), local.assign([0, 0])])
        tf.train.Saver([text, local]).restore(sess, prefix)
        assert sess.run(text).tolist() == [[b"a", b"b\0c"], [b"", "\u26a3".encode()]]
        assert sess.run(local).tolist() == [1, 2]
    assert tf.train.list_variables(prefix) == [("local", [2]), ("text", [2, 2])]
    assert tf.train.load_variable(prefix, "text").tolist()[0] == [b"a", b"b\0c"]


def test_on_a_server_what_lives_in_the_session_cannot_be_saved(graph_server: Any) -> None:
    local = tf.Variable([1.0], name="l", collections=["local_variables"])
    with tf.Session(graph_server.url, container="locals") as sess:
        sess.run(local.initializer)
        with pytest.raises(ValueError, match="lives in the session and cannot be saved on a server"):
            tf.train.Saver([local]).save(sess, "locals/m")


# The state file and the functions around it


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    v = tf.Variable([1.0], name="v")
    with tf.Session() as sess:
        sess.run(v.initializer)
        yield sess


def test_paths_in_the_state_file(here: tf.Session, tmp_path: Path) -> None:
    saver = tf.train.Saver(max_to_keep=2)
    for step in (1, 2, 3):
        saver.save(here, "rel/m", step)
    text = 'model_checkpoint_path: "m-3"\nall_model_checkpoint_paths: "m-2"\nall_model_checkpoint_paths: "m-3"\n'
    assert (tmp_path / "rel/checkpoint").read_text() == text
    saver.save(here, str(tmp_path / "abs/m"))
    assert (tmp_path / "abs/checkpoint").read_text().splitlines()[0] == f'model_checkpoint_path: "{tmp_path}/abs/m"'
    moved = tf.train.Saver(save_relative_paths=True)
    moved.save(here, str(tmp_path / "one/m"))
    assert (tmp_path / "one/checkpoint").read_text() == 'model_checkpoint_path: "m"\nall_model_checkpoint_paths: "m"\n'
    os.rename("one", "two")
    assert tf.train.latest_checkpoint("two") == "two/m"
    assert tf.train.latest_checkpoint(str(tmp_path / "two")) == str(tmp_path / "two/m")
    saver.save(here, "other/m", latest_filename="mine", write_meta_graph=False)
    assert tf.train.latest_checkpoint("other", "mine") == "other/m"
    assert tf.train.latest_checkpoint("other") is None
    saver.save(here, "quiet/m", write_state=False)
    assert os.listdir("quiet") == ["m"]
    Path("a_file").touch()
    with pytest.raises(ValueError, match=r"Parent directory of a_file/m doesn't exist, can't save\."):
        saver.save(here, "a_file/m")


def test_what_is_the_latest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert tf.train.latest_checkpoint("nothing") is None
    assert tf.train.get_checkpoint_state("nothing") is None
    for text in ("rubbish", 'model_checkpoint_path: "a', "model_checkpoint_path: 3"):
        Path("checkpoint").write_text(text)
        assert tf.train.latest_checkpoint(".") is None
    Path("checkpoint").write_bytes(b"\xff\xfe")
    assert tf.train.get_checkpoint_state(".") is None
    Path("checkpoint").write_text('model_checkpoint_path: "m"\nall_model_checkpoint_timestamps: 1.5e9\n')
    assert tf.train.latest_checkpoint(".") is None
    Path("checkpoint").write_text(f'model_checkpoint_path: "{tmp_path}/gone/m"\n')
    with pytest.raises(tf.errors.NotFoundError, match="No such file or directory"):
        tf.train.latest_checkpoint(".")
    Path("checkpoint").write_text("")
    with pytest.raises(ValueError, match="Invalid checkpoint state loaded from"):
        tf.train.get_checkpoint_state(".")


def test_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    absolute = str(tmp_path / "model-0")
    make = tf.train.generate_checkpoint_state_proto
    for paths in (None, [], ["model-2"]):
        state = make(str(tmp_path), absolute, all_model_checkpoint_paths=paths)
        assert (state.model_checkpoint_path, state.all_model_checkpoint_paths[-1]) == (absolute, absolute)
        assert len(state.all_model_checkpoint_paths) == 1 + len(paths or [])
    assert make("train", "train/model-0").all_model_checkpoint_paths == ["model-0"]
    tf.train.update_checkpoint_state("train", "train/model-2", all_model_checkpoint_paths=[absolute, "train/model-2"])
    found = tf.train.get_checkpoint_state("train")
    assert found == tf.train.CheckpointState("train/model-2", [absolute, "train/model-2"])
    tf.train.update_checkpoint_state("train", 'train/odd"\\name')
    assert tf.train.get_checkpoint_state("train").all_model_checkpoint_paths == ['train/odd"\\name']  # type: ignore[union-attr]
    with pytest.raises(RuntimeError, match="conflicts with path used for checkpoint state"):
        tf.train.update_checkpoint_state(str(tmp_path), str(tmp_path / "checkpoint"))


def test_looking_into_checkpoints(here: tf.Session) -> None:
    made(here, w=[[1, 2]], scalar=3.0)
    prefix = str(tf.train.Saver().save(here, "dir/m", 1))
    assert (
        tf.train.list_variables("dir") == tf.train.list_variables(prefix) == [("scalar", []), ("v", [1]), ("w", [1, 2])]
    )
    assert tf.train.load_variable("dir", "w:0").tolist() == [[1, 2]]
    reader = tf.train.NewCheckpointReader(prefix)
    assert (reader.has_tensor("v"), reader.has_tensor("x")) == (True, False)
    assert reader.get_variable_to_shape_map()["w"] == [1, 2]
    assert reader.get_variable_to_dtype_map()["w"] == tf.int32
    assert reader.debug_string().splitlines()[0] == b"scalar (float32) []"
    reader.get_tensor("v")[0] = 7.0
    assert reader.get_tensor("v").tolist() == [1.0]
    with pytest.raises(tf.errors.NotFoundError, match="Key x not found in checkpoint"):
        reader.get_tensor("x")
    with pytest.raises(tf.errors.NotFoundError, match="Failed to find any matching files for gone"):
        tf.train.load_checkpoint("gone")
    os.mkdir("empty")
    with pytest.raises(ValueError, match="Couldn't find 'checkpoint' file or checkpoints in given directory empty"):
        tf.train.list_variables("empty")
    assert tf.train.meta_graph_filename("a/m-00000-of-00002") == "a/m.meta"
    tf.train.remove_checkpoint(prefix)
    tf.train.remove_checkpoint(prefix)
    assert not tf.train.checkpoint_exists(prefix)


def test_starting_from_a_checkpoint(here: tf.Session) -> None:
    with tf.variable_scope("old"):
        a, b = tf.get_variable("a", initializer=[1.0, 2.0]), tf.get_variable("b", initializer=[3.0, 4.0, 5.0])
    here.run(tf.global_variables_initializer())
    prefix = str(tf.train.Saver().save(here, "dir/m"))
    with tf.Graph().as_default(), tf.Session() as sess:
        cut = tf.fixed_size_partitioner(2)
        with tf.variable_scope("new"):
            a, b = tf.get_variable("a", [2]), tf.get_variable("b", [3], partitioner=cut)
        c, d = tf.get_variable("c", [2]), tf.Variable([0.0])
        parts = tf.get_variable("d", [3], partitioner=cut)
        whole = tf.get_variable("v", [1])
        tf.train.init_from_checkpoint("dir", {"old/": "new/", "old/a": "c", "v": d, "old/b": list(parts)})
        tf.train.init_from_checkpoint(prefix, {"v": whole})
        sess.run(tf.global_variables_initializer())
        found = sess.run([a, b.as_tensor(), c, d, parts.as_tensor(), whole])
        assert [each.tolist() for each in found] == [
            [1.0, 2.0],
            [3.0, 4.0, 5.0],
            [1.0, 2.0],
            [1.0],
            [3.0, 4.0, 5.0],
            [1.0],
        ]
        for wrong, words in (
            ({"gone": c}, "Tensor gone is not found in"), ({"old/b": c}, "doesn't match with shape of tensor old/b"),
            ({"old/": "nowhere/"}, "names no variable and no scope"), ({"old/a": "new"}, "should map to scope only"),
            ({"/": "new/"}, "is not found in"),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=words):
                tf.train.init_from_checkpoint(prefix, wrong)
