"""The reference, section "Session": fetches, feeds, default sessions, callables, and all they refuse."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf
from support.graph_target import Target

Pair = namedtuple("Pair", ["a", "b"])


class Attrs:
    """As a class made with attrs: fields listed in `__attrs_attrs__`."""

    __attrs_attrs__ = (namedtuple("Field", "name")("first"), namedtuple("Field", "name")("second"))

    def __init__(self, first: Any, second: Any) -> None:
        self.first, self.second = first, second


# Fetches


def test_every_form_of_a_fetch(sess: tf.Session) -> None:
    a, v = tf.constant(42.0, name="a"), tf.Variable([1.0], name="v")
    op = tf.no_op(name="nothing")
    sess.run(v.initializer)
    assert sess.run(a) == 42.0
    assert sess.run(a.op) is sess.run("nothing") is sess.run(op) is sess.run("v") is None
    for name in ("a:0", b"a:0"):
        assert sess.run(name) == 42.0
    assert sess.run([a, op, "v:0"]) == [42.0, None, [1.0]]
    assert sess.run((a, a)) == (42.0, 42.0)
    assert sess.run({"k": a, 3: [op]}) == {"k": 42.0, 3: [None]}
    assert sess.run(Pair(a, Pair(a, op))) == Pair(42.0, Pair(42.0, None))
    ordered = sess.run(OrderedDict([(3, a), (2, op), (1, a)]))
    assert (type(ordered), list(ordered.items())) == (OrderedDict, [(3, 42.0), (2, None), (1, 42.0)])
    assert sess.run(defaultdict(list, {"a": a}))["b"] == []
    assert [sess.run([]), sess.run(()), sess.run({}), sess.run([[], (), {}, a])] == [[], (), {}, [[], (), {}, 42.0]]
    found = sess.run(Attrs(a, Attrs(a, [a])))
    assert (found.first, found.second.second) == (42.0, [42.0])


def test_fetched_types(sess: tf.Session) -> None:
    for kind in (np.int32, np.int64, np.float16, np.float32, np.float64, np.bool_, np.complex64):
        assert type(sess.run(tf.constant(kind(1)))) is kind
    assert sess.run(tf.constant("text")) == b"text"
    assert type(sess.run(tf.constant([1]))) is np.ndarray
    assert sess.run(tf.constant([["a", b"b\0c"]])).tolist() == [[b"a", b"b\0c"]]


def test_rows_are_fetched_and_fed_as_rows(sess: tf.Session) -> None:
    rows = tf.IndexedSlices(tf.placeholder(tf.float32, [2]), tf.placeholder(tf.int64, [2]), tf.constant([7]))
    found = sess.run(rows, {rows: ([1.0, 2.0], [3, 4], [9])})
    assert isinstance(found, tf.IndexedSlicesValue)
    assert [each.tolist() for each in found] == [[1.0, 2.0], [3, 4], [9]]
    shapeless = tf.IndexedSlices(rows.values, rows.indices)
    given = tf.IndexedSlicesValue(np.ones(2), np.zeros(2), None)
    assert sess.run([shapeless], {shapeless: given})[0].dense_shape is None
    assert (rows.dtype, rows.graph, rows.name, rows.device) == (tf.float32, sess.graph, "Placeholder:0", "")
    assert sess.run((-rows).values, {rows: ([1.0, 2.0], [3, 4], [9])}).tolist() == [-1.0, -2.0]
    assert str(rows).startswith("IndexedSlices(indices=Tensor(")


@pytest.mark.parametrize(
    "odd", [None, 37.0, np.ones(2), {1}, object(), (each for each in [1])], ids=lambda odd: type(odd).__name__
)
def test_what_cannot_be_fetched(odd: Any, sess: tf.Session) -> None:
    a = tf.constant(1.0)
    for fetch in (odd, [odd], {"a": a, "b": odd}):
        with pytest.raises(TypeError, match=r"Fetch argument .* has invalid type <class"):
            sess.run(fetch)
    if odd is None:
        with pytest.raises(TypeError, match="Fetch argument None has invalid type <class 'NoneType'>"):
            sess.run(None)


def test_names_that_cannot_be_fetched(sess: tf.Session) -> None:
    a = tf.constant(1.0, name="a")
    for name in ("b", "b:0", "a:1", "a:b", ":0", ""):
        with pytest.raises(ValueError, match=f"Fetch argument '{name}' cannot be interpreted as a Tensor"):
            sess.run(name)
    with tf.Graph().as_default():
        foreign = tf.constant(1.0)
    for fetch in (foreign, foreign.op):
        with pytest.raises(ValueError, match="is not an element of this graph"):
            sess.run(fetch)
    tf.get_default_graph().prevent_fetching(a.op)
    with pytest.raises(ValueError, match="has been marked as not fetchable"):
        sess.run(a)


# Feeds


def test_anything_may_be_fed_and_keys_may_be_names(sess: tf.Session) -> None:
    c, v, p = tf.constant([1.0, 1.0], name="c"), tf.Variable([1.0], name="v"), tf.placeholder(tf.float32, name="p")
    assert sess.run([c * 2.0, v * 3.0, p], {"c:0": [2, 3], v: [4.0], p: 5})[0].tolist() == [4.0, 6.0]
    assert sess.run(c, {c: [7.0, 8.0]}).tolist() == [7.0, 8.0]
    nested = (((c,), v), p)
    assert sess.run([c, v, p], {nested: ((([1, 2],), [3]), 4)})[2] == 4.0
    tf.get_default_graph().prevent_feeding(c)
    with pytest.raises(ValueError, match="may not be fed"):
        sess.run(c, {c: [1.0, 2.0]})


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "uint8", "int16", "int8", "int64", "bool",
                                   "complex64", "complex128"])  # fmt: skip
def test_every_type_goes_in_and_out(dtype: str, run: Callable[..., Any]) -> None:
    for shape in ((3, 4), (5,), (2, 0, 6), (0, 0)):
        given = np.random.default_rng(0).integers(-10, 10, shape).astype(dtype)
        p = tf.placeholder(dtype, shape)
        for got in run([p, tf.identity(p)], {p: given}):
            np.testing.assert_array_equal(got, given)
            assert got.dtype == given.dtype


def test_missing_and_misshapen_feeds(sess: tf.Session) -> None:
    p, q = tf.placeholder(tf.float32, [2], name="p"), tf.placeholder(tf.int64, name="q")
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match=r"You must feed a value for placeholder tensor 'p' with dtype float and shape \[2\]",
    ) as caught:
        sess.run(tf.identity(p))
    assert caught.value.op is p.op
    with pytest.raises(tf.errors.InvalidArgumentError, match="placeholder tensor 'q' with dtype int64"):
        sess.run(q)
    with pytest.raises(
        ValueError, match=r"Cannot feed value of shape \(3,\) for Tensor 'p:0', which has shape '\(2,\)'"
    ):
        sess.run(p, {p: [1.0, 2.0, 3.0]})


def test_what_cannot_be_fed(sess: tf.Session) -> None:
    p, i, t = tf.placeholder(tf.float32, name="p"), tf.placeholder(tf.int32), tf.constant(1.0, name="t")
    for value in (None, "a", [[1.0], [1.0, 2.0]], object()):
        with pytest.raises(ValueError):
            sess.run(p, {p: value})
    with pytest.raises(TypeError, match=r"The value of a feed cannot be a tf\.Tensor object"):
        sess.run(p, {p: t})
    for key in ("nothing:0", "t", 3, object(), None):
        with pytest.raises(TypeError, match="Cannot interpret feed_dict key as Tensor"):
            sess.run(t, {key: 1.0})
    with pytest.raises(TypeError, match="feed_dict must be a dictionary"):
        sess.run(t, [p])
    with pytest.raises(TypeError, match="is not compatible with Tensor type int32"):
        sess.run(i, {i: 2**40})
    with pytest.raises(ValueError, match="as 2 values"):
        sess.run(p, {(p, i): (1.0,)})
    with pytest.raises(ValueError, match="is fed twice"):
        sess.run(p, {p: 1.0, "p:0": 2.0})


def test_numbers_fed_into_other_types(run: Callable[..., Any]) -> None:
    i, f = tf.placeholder(tf.int32), tf.placeholder(tf.float32)
    assert [run(i, {i: 1.5}), run(i, {i: 2.9}), run(f, {f: True})] == [1, 2, 1.0]
    assert run(i, {i: [1.5, -2.9]}).tolist() == [1, -2]


def test_strings_are_fed(run: Callable[..., Any]) -> None:
    p = tf.placeholder(tf.string, [2])
    assert run(p, {p: ["a", "\u26a3"]}).tolist() == [b"a", "\u26a3".encode()]
    assert run(tf.identity(p), {p: np.array([b"\n\x01\x00", "x"], object)}).tolist() == [b"\n\x01\x00", b"x"]


def test_strings_keep_their_zero_bytes(run: Callable[..., Any]) -> None:
    x = tf.placeholder(tf.string, [2])
    assert run(tf.identity(x), {x: [b"a\x00", b"\x00"]}).tolist() == [b"a\x00", b"\x00"]
    assert run(tf.constant(["a\x00", b"b"])).tolist() == [b"a\x00", b"b"]
    with pytest.raises(TypeError, match=r"Type of feed value 1 with type <class 'int'> is not compatible"):
        run(x, {x: 1})


def test_a_fed_size_that_does_not_fit_fails_the_run(run: Callable[..., Any]) -> None:
    size = tf.constant([2, 2])
    shaped = tf.reshape(tf.placeholder_with_default([1.0, 2.0, 3.0, 4.0], [4]), size)
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match="Input to reshape is a tensor with 4 values, but the requested shape has 21",
    ):
        run(shaped, {size: [3, 7]})


# Sessions


def test_use_needs_a_session() -> None:
    a = tf.constant(1.0)
    with pytest.raises(ValueError, match=r"Cannot evaluate tensor using `eval\(\)`: No default session is registered"):
        a.eval()
    with pytest.raises(ValueError, match=r"Cannot execute operation using `run\(\)`: No default session is registered"):
        a.op.run()
    with tf.Graph().as_default(), tf.Session(), pytest.raises(ValueError, match="the tensor's graph is different"):
        a.eval()
    sess = tf.Session()
    assert (a.eval(session=sess), a.op.run(session=sess)) == (1.0, None)
    sess.close()


def test_closed_and_empty() -> None:
    with tf.Session() as sess:
        for nothing in ([], (), {}):
            with pytest.raises(
                RuntimeError,
                match=r"The Session graph is empty\.  Add operations to the graph before calling run\(\)\.",
            ):
                sess.run(nothing)
        a = tf.constant(1.0)
        assert sess.run(a) == 1.0
    with pytest.raises(RuntimeError, match=r"Attempted to use a closed Session\."):
        sess.run(a)
    sess.close()


def test_a_with_block_closes_and_as_default_does_not() -> None:
    a, sess = tf.constant(1.0), tf.Session()
    with sess.as_default() as entered:
        assert (entered, tf.get_default_session()) == (sess, sess)
        assert a.eval() == 1.0
    assert tf.get_default_session() is None
    assert sess.run(a) == 1.0
    with sess:
        assert a.eval() == 1.0
    with pytest.raises(RuntimeError, match="closed Session"):
        sess.run(a)


def test_sessions_nest_properly_or_not_at_all() -> None:
    tf.constant(1.0)
    one, two = tf.Session(), tf.Session()
    with pytest.raises(RuntimeError, match="not re-entrant"), one, one:
        pass
    first, second = tf.Session().as_default(), two.as_default()
    first.__enter__()
    second.__enter__()
    with pytest.raises(AssertionError, match="Nesting violated"):
        first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert tf.get_default_session() is not two
    tf.get_default_session().__exit__(None, None, None)
    from paramserver_client.graph import session

    session._defaults.sessions.clear()


def test_interactive_sessions() -> None:
    a = tf.constant(2.0)
    sess = tf.InteractiveSession()
    assert a.eval() == 2.0
    with pytest.warns(UserWarning, match="An interactive session is already active"):
        second = tf.InteractiveSession()
    assert tf.get_default_session() is second
    sess.close()
    second.close()
    second.close()
    assert tf.get_default_session() is None


def test_what_makes_no_session() -> None:
    with pytest.raises(TypeError, match="target must be a string"):
        tf.Session(37)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"config must be a tf\.ConfigProto"):
        tf.Session(config=37)
    with pytest.raises(TypeError, match=r"graph must be a tf\.Graph"):
        tf.Session(graph=37)  # type: ignore[arg-type]
    with pytest.raises(tf.errors.NotFoundError, match="No session factory registered for the given session options"):
        tf.Session("INVALID_TARGET")


def test_settings_are_taken() -> None:
    config = tf.ConfigProto(allow_soft_placement=True, device_count={"CPU": 2}, operation_timeout_in_ms=9000)
    config.gpu_options.allow_growth = True
    a = tf.constant(1.0)
    metadata = tf.RunMetadata()
    with tf.Session(config=config) as sess:
        assert sess.run(a, options=tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE), run_metadata=metadata) == 1.0
        assert sess.client._timeout_s == 9.0
    assert not metadata.HasField("step_stats")
    other = tf.ConfigProto()
    other.CopyFrom(config)
    assert (other.HasField("gpu_options"), repr(tf.GPUOptions(a=1))) == (True, "GPUOptions(a=1)")
    with pytest.raises(AttributeError):
        _ = other._private


def test_processors_are_counted(target: Target) -> None:
    config = tf.ConfigProto(device_count={"CPU": 2, "GPU": 0}, use_per_session_threads=True)
    pool = config.session_inter_op_thread_pool.add()
    pool.num_threads = 1
    assert len(config.session_inter_op_thread_pool) == 1
    with tf.Session(target.url or "", config=config) as session:
        names = [device.name for device in session.list_devices()]
        tf.constant(1.0, name="one")
        assert [node.name for node in session.graph_def.node] == ["one"]
    assert [tf.DeviceSpec.from_string(name).device_index for name in names] == [0, 1]
    assert len(tf.Session().list_devices()) == 1


def test_callables(sess: tf.Session) -> None:
    p, v = tf.placeholder(tf.float32, name="p"), tf.Variable(1.0)
    sess.run(v.initializer)
    add = sess.make_callable([p + 1.0, v.assign_add(1.0).op], [p])
    assert (add(1.0), add(2.0), sess.run(v)) == ([2.0, None], [3.0, None], 3.0)
    assert sess.make_callable(v)() == 3.0
    named = sess.make_callable({"a": p}, ["p:0"], accept_options=True)
    assert named(4.0, options=tf.RunOptions(), run_metadata=None) == {"a": 4.0}
    for wrong in (
        lambda: add(),
        lambda: add(1.0, 2.0),
        lambda: add(1.0, options=None),
        lambda: sess.make_callable(p, p),
    ):
        with pytest.raises(TypeError):
            wrong()


def test_each_embedded_session_has_values_of_its_own(target: Target) -> None:
    v = tf.Variable(1.0)
    with tf.Session() as one, tf.Session() as two:
        one.run(v.initializer)
        with pytest.raises(tf.errors.FailedPreconditionError):
            two.run(v)
    if target.kind == "server":
        with target.session() as one, target.session() as two, target.session(container="elsewhere/") as other:
            one.run(v.initializer)
            two.run(v.assign_add(1.0))
            assert (one.run(v), other.container) == (2.0, "elsewhere")
            with pytest.raises(tf.errors.FailedPreconditionError):
                other.run(v)
            tf.Session.reset(str(target.url), [target.container])
            with pytest.raises(tf.errors.FailedPreconditionError):
                one.run(v)
        with pytest.raises(ValueError, match="wants the names of containers"):
            tf.Session.reset(str(target.url))


def test_initializing_again_starts_again(sess: tf.Session) -> None:
    v = tf.Variable([1.0])
    sess.run(v.initializer)
    sess.run(v.assign_add([5.0]))
    sess.run(v.initializer)
    assert sess.run(v).tolist() == [1.0]


def test_a_session_runs_in_many_threads(sess: tf.Session) -> None:
    v = tf.Variable(0)
    sess.run(v.initializer)
    add = v.assign_add(1)
    threads = [threading.Thread(target=lambda: [sess.run(add.op) for _ in range(5)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sess.run(v) == 40


def test_the_graph_may_grow_between_runs(sess: tf.Session) -> None:
    a = tf.constant([[1.0, 2.0]])
    assert sess.run(a).shape == (1, 2)
    v = tf.Variable(a)
    sess.run(v.initializer)
    assert sess.run(tf.matmul(v, [[1.0], [1.0]])).tolist() == [[3.0]]


def test_errors_say_which_operation(sess: tf.Session) -> None:
    p = tf.placeholder(tf.float32, name="here")
    with pytest.raises(tf.errors.OpError) as caught:
        sess.run(p + 1.0)
    assert (caught.value.op, caught.value.node_def) == (p.op, None)
    assert "[[node here (Placeholder)]]" in caught.value.message
    made = tf.errors.OutOfRangeError(None, p.op, "over")
    assert (made.message, made.op, str(made)) == ("over", p.op, "over")


def test_strings_keep_zero_bytes_at_their_end(sess: tf.Session) -> None:
    p = tf.placeholder(tf.string, [2])
    assert sess.run(tf.identity(p), {p: [b"a\x00", "b\x00\x00"]}).tolist() == [b"a\x00", b"b\x00\x00"]
    assert sess.run(tf.constant([b"\x00"])).tolist() == [b"\x00"]
    with pytest.raises(TypeError, match="Failed to convert"):
        tf.constant(["a", 1])
