"""`tf.test`: the base class of TensorFlow 1's tests, so that tests of graphs run with only the import changed."""

# ruff: noqa: PT009, PT027, PT028 - this is the unittest style itself.

from __future__ import annotations

import functools
import random
import shutil
import tempfile
import threading
import unittest
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from paramserver_client.graph.devices import DeviceSpec
from paramserver_client.graph.errors import OpError
from paramserver_client.graph.graph import Graph, reset_default_graph, set_random_seed
from paramserver_client.graph.ops_random import DEFAULT_GRAPH_SEED
from paramserver_client.graph.session import Session, get_default_session

__all__ = ["TestCase", "gpu_device_name", "is_built_with_cuda", "is_gpu_available", "main"]


class TestCase(unittest.TestCase):
    """Starts each test with an empty, seeded default graph. `target` of a subclass is the server its sessions use."""

    __test__ = False  # For collectors: a subclass says for itself that it is a test.
    target = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__test__ = True

    def setUp(self) -> None:
        self._cached: Session | None = None
        self._cached_for: Graph | None = None
        self._temp_dir: str | None = None
        random.seed(DEFAULT_GRAPH_SEED)
        np.random.seed(DEFAULT_GRAPH_SEED)
        reset_default_graph()
        set_random_seed(DEFAULT_GRAPH_SEED)

    def tearDown(self) -> None:
        if self._cached is not None:
            self._cached.close()
        if self._temp_dir is not None:
            shutil.rmtree(self._temp_dir, ignore_errors=True)

    def get_temp_dir(self) -> str:
        """A directory of this test alone, removed after it."""
        if self._temp_dir is None:
            self._temp_dir = tempfile.mkdtemp()
        return self._temp_dir

    @contextmanager
    def session(
        self, graph: Any = None, config: Any = None, use_gpu: bool = False, force_gpu: bool = False
    ) -> Iterator[Session]:
        """A session of its own, the default one inside the block."""
        with Session(self.target, graph=graph, config=config) as sess:
            yield sess

    @contextmanager
    def cached_session(
        self, graph: Any = None, config: Any = None, use_gpu: bool = False, force_gpu: bool = False
    ) -> Iterator[Session]:
        """The session of this test, made once and entered again, from any thread, so that values stay between blocks.

        Raises ValueError when it was made for another `graph`.
        """
        if self._cached is None:
            self._cached, self._cached_for = Session(self.target, graph=graph, config=config), graph
        if self._cached_for is not graph:
            raise ValueError(
                "The graph used to get the cached session is different than the one that was used to create the "
                "session. Maybe create a new session with self.session()"
            )
        with self._cached.graph.as_default(), self._cached.as_default():
            yield self._cached

    def test_session(
        self, graph: Any = None, config: Any = None, use_gpu: bool = False, force_gpu: bool = False
    ) -> Any:
        """`cached_session` without a graph, `session` with one."""
        if self.id().endswith(".test_session"):  # unittest takes its name for a test's
            self.skipTest("Not a test.")
        make = self.cached_session if graph is None else self.session
        return make(graph, config)

    test_session.__test__ = False  # type: ignore[attr-defined]

    def evaluate(self, tensors: Any) -> Any:
        """What the default session, or this test's own, gives for these fetches."""
        sess = get_default_session()
        if sess is not None:
            return sess.run(tensors)
        with self.cached_session() as own:
            return own.run(tensors)

    def checkedThread(self, target: Callable[..., Any], args: Any = (), kwargs: Any = None) -> _CheckedThread:
        """A thread whose failure is this test's: `start`, then `join`."""
        return _CheckedThread(target, args, kwargs or {})

    def _array(self, value: Any) -> np.ndarray[Any, Any]:
        if hasattr(value, "graph"):
            value = self.evaluate(value)
        return np.asarray(value)

    def assertAllEqual(self, a: Any, b: Any, msg: str | None = None) -> None:
        """Raises AssertionError unless shapes and all elements are equal."""
        left, right = self._array(a), self._array(b)
        self.assertEqual(left.shape, right.shape, msg)
        np.testing.assert_array_equal(left, right, err_msg=msg or "")

    def assertAllClose(self, a: Any, b: Any, rtol: float = 1e-6, atol: float = 1e-6, msg: str | None = None) -> None:
        """Raises AssertionError unless both, or the leaves of both structures, are nearly equal."""
        if isinstance(a, Mapping):
            self.assertEqual(set(a), set(b), msg)
            for key in a:
                self.assertAllClose(a[key], b[key], rtol, atol, msg)
            return
        if isinstance(a, list | tuple) and any(isinstance(each, list | tuple | Mapping | np.ndarray) for each in a):
            try:
                left, right = self._array(a), self._array(b)
            except ValueError:
                self.assertEqual(len(a), len(b), msg)
                for x, y in zip(a, b, strict=True):
                    self.assertAllClose(x, y, rtol, atol, msg)
                return
        else:
            left, right = self._array(a), self._array(b)
        self.assertEqual(left.shape, right.shape, msg)
        np.testing.assert_allclose(left, right, rtol=rtol, atol=atol, err_msg=msg or "")

    def assertAllCloseAccordingToType(
        self, a: Any, b: Any, rtol: float = 1e-6, atol: float = 1e-6, half_rtol: float = 1e-3, half_atol: float = 1e-3
    ) -> None:
        """`assertAllClose`, looser for float16."""
        half = np.float16 in (self._array(a).dtype, self._array(b).dtype)
        self.assertAllClose(a, b, half_rtol if half else rtol, half_atol if half else atol)

    def assertNear(self, f1: float, f2: float, err: float, msg: str | None = None) -> None:
        self.assertTrue(f1 == f2 or abs(f1 - f2) <= err, msg or f"{f1} != {f2} +/- {err}")

    def assertArrayNear(self, farray1: Any, farray2: Any, err: float, msg: str | None = None) -> None:
        self.assertEqual(len(farray1), len(farray2), msg)
        for f1, f2 in zip(farray1, farray2, strict=True):
            self.assertNear(float(f1), float(f2), err, msg)

    def assertShapeEqual(self, np_array: Any, tf_tensor: Any, msg: str | None = None) -> None:
        self.assertAllEqual(np_array.shape, tf_tensor.get_shape().as_list(), msg)

    def assertStartsWith(self, actual: str, expected_start: str, msg: str | None = None) -> None:
        self.assertTrue(actual.startswith(expected_start), msg or f"{actual!r} does not start with {expected_start!r}")

    def assertDeviceEqual(self, device1: Any, device2: Any, msg: str | None = None) -> None:
        first, second = (DeviceSpec.from_string(str(each or "")).to_string() for each in (device1, device2))
        self.assertEqual(first, second, msg)

    @contextmanager
    def assertRaisesWithPredicateMatch(self, exception_type: Any, expected_err_re_or_predicate: Any) -> Iterator[Self]:
        """Raises AssertionError unless the block raises this, with a text that matches or that the function approves."""
        try:
            yield self
        except exception_type as error:
            text = error.message if isinstance(error, OpError) else str(error)
            if callable(expected_err_re_or_predicate):
                self.assertTrue(expected_err_re_or_predicate(error), f"not the error wanted: {error}")
            else:
                self.assertRegex(text, expected_err_re_or_predicate)
        else:
            self.fail(f"{exception_type.__name__} not raised")

    def assertRaisesOpError(self, expected_err_re_or_predicate: Any) -> Any:
        return self.assertRaisesWithPredicateMatch(OpError, expected_err_re_or_predicate)

    def assertRaisesRegexp(  # type: ignore[override]
        self, expected_exception: Any, expected_regexp: Any, *args: Any, **kwargs: Any
    ) -> Any:
        return self.assertRaisesRegex(expected_exception, expected_regexp, *args, **kwargs)

    def assertItemsEqual(self, first: Any, second: Any, msg: Any = None) -> None:
        self.assertCountEqual(first, second, msg)

    def assertEquals(self, first: Any, second: Any, msg: Any = None) -> None:
        self.assertEqual(first, second, msg)


class _CheckedThread:
    def __init__(self, target: Callable[..., Any], args: Any, kwargs: Any) -> None:
        self._work: Callable[[], Any] = functools.partial(target, *args, **kwargs)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        """Wait for the end. Raises AssertionError when the thread failed."""
        self._thread.join()
        if self._error is not None:
            raise AssertionError(f"Error in checkedThread: {self._error}") from self._error

    def is_alive(self) -> bool:
        return self._thread.is_alive()


def main(argv: Any = None) -> None:
    """Run the tests of the program."""
    unittest.main(argv=argv)


def is_gpu_available(cuda_only: bool = False, min_cuda_compute_capability: Any = None) -> bool:
    """False: everything runs in numpy."""
    return False


def is_built_with_cuda() -> bool:
    """False: everything runs in numpy."""
    return False


def gpu_device_name() -> str:
    """Empty: there is none."""
    return ""
