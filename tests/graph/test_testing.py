"""`tf.test`, `tf.gfile`, `tf.compat`: what tests and programs of TensorFlow 1 use beside the graph."""

# ruff: noqa: PT009, PT027, UP005 - the inner tests are written as TensorFlow's own.

from __future__ import annotations

import os
import unittest
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf
from support.graph_target import Target


class Inner(tf.test.TestCase):
    """Written as TensorFlow's own tests are; run below, on each target."""

    __test__ = False

    def testVariables(self) -> None:
        with self.cached_session():
            v = tf.Variable([1.0, 2.0])
            self.assertEqual("Variable:0", v.name)
            with self.assertRaisesOpError("Attempting to use uninitialized value"):
                self.evaluate(v)
            self.evaluate(tf.global_variables_initializer())
        with self.test_session():
            self.assertAllEqual([1.0, 2.0], v)
            self.assertAllClose({"a": [1.0, 2.0]}, {"a": self.evaluate(v)})
            self.assertAllClose([[1.0], [2.0, 3.0]], [[1.0], [2.0, 3.0]])
            self.assertShapeEqual(np.zeros(2), v)
        self.assertAllCloseAccordingToType(np.float16(1.0), np.float16(1.0005))

    def testOwnSessions(self) -> None:
        with self.session(graph=tf.Graph()) as sess:
            self.assertAllEqual(sess.run(tf.constant(1)), 1)
        with self.cached_session(graph=tf.Graph()), self.test_session(graph=tf.Graph()):
            self.assertAllEqual(tf.constant(1), 1)
        self.assertTrue(os.path.isdir(self.get_temp_dir()))

    def testComparisons(self) -> None:
        self.assertNear(1.0, 1.01, 0.1)
        self.assertArrayNear([1.0], [1.01], 0.1)
        self.assertStartsWith("abc", "ab")
        self.assertDeviceEqual("/cpu:0", "/device:CPU:0")
        self.assertItemsEqual([1, 2], [2, 1])
        self.assertEquals(1, 1)
        with self.assertRaisesRegexp(ValueError, "odd"):
            raise ValueError("odd")
        with self.assertRaisesWithPredicateMatch(ValueError, lambda error: "odd" in str(error)):
            raise ValueError("odd")
        with self.assertRaises(AssertionError), self.assertRaisesWithPredicateMatch(ValueError, "odd"):
            pass
        for wrong in (
            lambda: self.assertAllEqual([1], [2]), lambda: self.assertAllEqual([1], [[1]]),
            lambda: self.assertAllClose([1.0], [1.1]), lambda: self.assertNear(1.0, 2.0, 0.1),
            lambda: self.assertAllClose({"a": 1}, {"b": 1}), lambda: self.assertStartsWith("abc", "b"),
        ):  # fmt: skip
            with self.assertRaises(AssertionError):
                wrong()

    def testCachedSession(self) -> None:
        v = tf.Variable(1.0)
        with self.cached_session() as sess:
            sess.run(v.initializer)
        thread = self.checkedThread(lambda: self.assertEqual(1.0, self.evaluate(v)))  # Its default graph is another.
        thread.start()
        thread.join()
        with self.assertRaisesRegexp(ValueError, "different"), self.cached_session(graph=tf.Graph()):
            pass

    def testThreads(self) -> None:
        for work, fails in ((lambda: self.assertEqual(1, 1), False), (lambda: self.fail("no"), True)):
            thread = self.checkedThread(target=work)
            thread.start()
            if fails:
                with self.assertRaises(AssertionError):
                    thread.join()
            else:
                thread.join()
            self.assertFalse(thread.is_alive())


@pytest.mark.parametrize(
    "name", ["testVariables", "testOwnSessions", "testComparisons", "testThreads", "testCachedSession"]
)
def test_tests_run_as_they_are(name: str, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Inner, "target", target.url or "")
    if target.url:
        monkeypatch.setattr(
            tf.test, "Session", lambda url, **settings: tf.Session(url, container=target.container, **settings)
        )
    result = unittest.TestResult()
    Inner(name).run(result)
    assert result.wasSuccessful(), result.failures + result.errors
    assert result.testsRun == 1


def test_the_session_of_a_test_is_no_test() -> None:
    result = unittest.TestResult()
    Inner("test_session").run(result)
    assert [why for _, why in result.skipped] == ["Not a test."]


def test_there_is_no_gpu() -> None:
    assert (tf.test.is_gpu_available(), tf.test.is_built_with_cuda(), tf.test.gpu_device_name()) == (False, False, "")
    with pytest.raises(SystemExit):
        tf.test.main(["program", "--help"])


def test_files(tmp_path: Path) -> None:
    gfile, path = tf.gfile, str(tmp_path / "a" / "b")
    gfile.MakeDirs(path)
    gfile.MkDir(f"{path}/c")
    with gfile.GFile(f"{path}/one", "w") as file:
        file.write("text")
    with gfile.Open(f"{path}/one", "rb") as file:
        assert file.read() == b"text"
    assert (gfile.Exists(path), gfile.IsDirectory(path), gfile.ListDirectory(path)) == (True, True, ["c", "one"])
    assert gfile.Glob(f"{path}/o*") == gfile.Glob([f"{path}/o*"]) == [f"{path}/one"]
    gfile.Copy(f"{path}/one", f"{path}/two")
    for again in (gfile.Copy, gfile.Rename):
        with pytest.raises(FileExistsError):
            again(f"{path}/one", f"{path}/two")
    gfile.Rename(f"{path}/one", f"{path}/two", overwrite=True)
    gfile.Remove(f"{path}/two")
    gone: list[Any] = [gfile.Remove, gfile.DeleteRecursively, gfile.ListDirectory, gfile.Open]
    for missing in gone:
        with pytest.raises(tf.errors.NotFoundError):
            missing(f"{path}/two")
    gfile.DeleteRecursively(path)
    assert not gfile.Exists(path)


def test_texts() -> None:
    compat = tf.compat
    compat.v1.disable_v2_behavior()
    compat.v1.disable_eager_execution()
    assert not compat.v1.executing_eagerly()
    assert tf.OpError is tf.errors.OpError
    assert (compat.as_bytes("a"), compat.as_bytes(b"a"), compat.as_text(b"a"), compat.as_str("a")) == (
        b"a",
        b"a",
        "a",
        "a",
    )
    assert (compat.as_str_any(b"a"), compat.as_str_any(3)) == ("a", "3")
    for convert in (compat.as_bytes, compat.as_text):
        with pytest.raises(TypeError, match="Expected binary or unicode string"):
            convert(3)
    assert compat.v1 is tf
    with pytest.raises(AttributeError):
        _ = compat.v3
