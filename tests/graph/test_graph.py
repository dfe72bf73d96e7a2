"""Names, scopes, look-ups and collections of a graph."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import paramserver_client.graph as tf


def test_names_are_unique_without_regard_to_case() -> None:
    names = [tf.constant(1, name=name).op.name for name in ("x", "x", "X", "x_1")]
    assert names == ["x", "x_1", "X_2", "x_1_1"]


def test_the_reference_pages_case() -> None:
    assert [tf.constant(1, name=name).op.name for name in ("X", "x")] == ["X", "x_1"]


def test_operators_and_functions_have_their_own_default_names() -> None:
    a, b = tf.constant(1.0), tf.constant(2.0)
    assert (a + b).op.name == "add"
    assert tf.add(a, b).op.name == "Add_1"
    assert [t.op.name for t in (a - b, a * b, a / b, -a)] == ["sub", "mul", "truediv", "Neg"]
    assert tf.matmul([[1.0]], [[1.0]]).op.name == "MatMul"
    assert tf.reduce_sum(a).op.name == "Sum"
    assert tf.identity(a).op.name == "Identity"
    assert tf.placeholder(tf.float32).op.name == "Placeholder"
    assert tf.group(a).name == "group_deps"
    assert tf.no_op().name == "NoOp"
    v = tf.Variable(1.0)
    assert (v.op.name, v.name, v.initializer.name) == ("Variable", "Variable:0", "Variable/Assign")
    assert v.assign(2.0).op.name == "Assign"
    assert tf.global_variables_initializer().name == "init"
    assert tf.global_variables_initializer().name == "init_1"


def test_variables_and_operations_share_one_name_space() -> None:
    tf.constant(1, name="x")
    tf.constant(1, name="x")
    assert tf.Variable(1, name="x").op.name == "x_2"
    assert [tf.Variable(1, name="w").op.name for _ in range(3)] == ["w", "w_1", "w_2"]
    assert tf.Variable(1, name="w_1").op.name == "w_1_1"


def test_name_scopes() -> None:
    with tf.name_scope("s") as first, tf.name_scope("inner") as inner:
        assert (first, inner) == ("s/", "s/inner/")
        assert tf.constant(1, name="_hidden").op.name == "s/inner/_hidden"
        with tf.name_scope(None) as root:
            assert root == ""
            assert tf.constant(1, name="c").op.name == "c"
    with tf.name_scope("s") as second:
        assert second == "s_1/"
    with tf.name_scope("s/"):
        assert tf.constant(1, name="c").op.name == "s/c"


@pytest.mark.parametrize("name", ["a b", "_a", "-a", "a:0", "ä"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ValueError, match="is not a valid"):
        tf.constant(1, name=name)
    with pytest.raises(ValueError, match="is not a valid scope name"), tf.name_scope(name):
        pass


def test_looking_up() -> None:
    graph = tf.get_default_graph()
    a = tf.constant(1, name="a")
    assert graph.get_tensor_by_name("a:0") is a
    assert graph.get_operation_by_name("a") is a.op
    assert graph.as_graph_element("a") is a.op
    with pytest.raises(ValueError, match="refers to an Operation, not a Tensor"):
        graph.get_tensor_by_name("a")
    with pytest.raises(ValueError, match="looks a like a Tensor name"):
        graph.get_tensor_by_name("a:b")
    with pytest.raises(KeyError, match="does not exist in the graph"):
        graph.get_tensor_by_name("b:0")
    with pytest.raises(KeyError, match="only has 1 outputs"):
        graph.get_tensor_by_name("a:1")
    with pytest.raises(KeyError, match="not in the graph"):
        graph.get_operation_by_name("b")
    with pytest.raises(ValueError, match="appears to refer to a Tensor"):
        graph.get_operation_by_name("a:0")
    with pytest.raises(TypeError, match="Can not convert a int into a Tensor or Operation"):
        graph.as_graph_element(3)
    with tf.Graph().as_default(), pytest.raises(ValueError, match="is not an element of this graph"):
        tf.get_default_graph().as_graph_element(a)


def test_tensors_print_as_in_tensorflow() -> None:
    p = tf.placeholder(tf.float32, [None, 3], name="p")
    assert str(p) == 'Tensor("p:0", shape=(?, 3), dtype=float32)'
    assert repr(p) == "<tf.Tensor 'p:0' shape=(?, 3) dtype=float32>"
    assert str(tf.placeholder(tf.int32, name="q")) == 'Tensor("q:0", dtype=int32)'
    assert repr(tf.Variable([1.0], name="v")) == "<tf.Variable 'v:0' shape=(1,) dtype=float32_ref>"
    assert repr(p.op) == "<tf.Operation 'p' type=Placeholder>"


def test_finalized() -> None:
    graph = tf.get_default_graph()
    a = tf.constant(1)
    graph.finalize()
    with pytest.raises(RuntimeError, match="Graph is finalized and cannot be modified"):
        tf.constant(1)
    with pytest.raises(RuntimeError, match="finalized"):
        tf.add_to_collection("k", a)
    with tf.Session() as sess:
        assert sess.run(a) == 1


def test_default_graphs() -> None:
    outer = tf.get_default_graph()
    with tf.Graph().as_default() as inner:
        assert tf.get_default_graph() is inner
        with pytest.raises(AssertionError, match="nested graphs"):
            tf.reset_default_graph()
        with outer.as_default():
            assert tf.get_default_graph() is outer
    tf.reset_default_graph()
    assert tf.get_default_graph() is not outer


def test_each_thread_has_its_own_default() -> None:
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(tf.get_default_graph()))
    with tf.Graph().as_default():
        thread.start()
        thread.join()
        assert seen[0] is not tf.get_default_graph()


def test_building_from_several_threads_keeps_names_unique() -> None:
    graph = tf.get_default_graph()
    barrier = threading.Barrier(4)

    def build() -> None:
        barrier.wait()
        with graph.as_default():
            for _ in range(100):
                tf.constant(1, name="c")

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({op.name for op in graph.get_operations()}) == 400


def test_collections() -> None:
    tf.add_to_collection("k", 1)
    tf.add_to_collections(["k", "k", "l"], 1)
    assert tf.get_collection("k") == [1, 1]
    assert tf.get_collection("l") == [1]
    assert tf.get_collection("unknown") == []
    tf.get_collection("k").append(5)
    assert tf.get_collection("k") == [1, 1]
    tf.get_collection_ref("new").append(5)
    assert tf.get_collection("new") == [5]


def test_a_collection_is_filtered_by_a_regular_expression_on_names() -> None:
    for name in ("a/w", "ab/w", "b/w"):
        tf.get_variable(name, [1])
    tf.add_to_collection("variables", "no name")
    assert [v.op.name for v in tf.global_variables(scope="a")] == ["a/w", "ab/w"]
    assert [v.op.name for v in tf.get_collection(tf.GraphKeys.GLOBAL_VARIABLES, "a/")] == ["a/w"]
    assert "no name" not in tf.get_collection("variables", "")
    assert "no name" in tf.get_collection("variables")


def test_the_keys() -> None:
    assert tf.GraphKeys.GLOBAL_VARIABLES == "variables"
    assert tf.GraphKeys.TRAINABLE_VARIABLES == "trainable_variables"
    assert tf.GraphKeys.LOCAL_VARIABLES == "local_variables"


def test_control_dependencies_are_noted_and_cleared() -> None:
    a, b = tf.constant(1, name="a"), tf.constant(2, name="b")
    with tf.control_dependencies([a]), tf.control_dependencies([b, a.op]):
        c = tf.constant(3)
        with tf.control_dependencies(None):
            d = tf.constant(4)
    assert c.op.control_inputs == [a.op, b.op]
    assert d.op.control_inputs == []
    with pytest.raises(TypeError, match="must be a list"):
        tf.control_dependencies(a).__enter__()


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (bool, "as a Python `bool` is not allowed"),
        (iter, "not iterable"),
        (list, "not iterable"),
        (len, "has no len"),
    ],
)
def test_tensors_are_no_python_values(use: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        use(tf.constant([1.0]))


def test_equality_is_identity() -> None:
    a, b = tf.constant(1), tf.constant(1)
    assert a == a
    assert a != b
    assert len({a, b}) == 2
    v = tf.Variable(1)
    assert v == v


def test_inputs_of_another_graph_are_refused() -> None:
    a = tf.constant(1.0)
    with tf.Graph().as_default(), pytest.raises(ValueError, match="must be from the same graph"):
        tf.add(tf.constant(1.0), a)


def test_errors_name_the_operation_and_its_inputs() -> None:
    a, b = tf.placeholder(tf.float32, [2, 3]), tf.placeholder(tf.float32, [4, 5])
    with pytest.raises(
        ValueError, match=r"Dimensions must be equal, but are 3 and 4 for 'm' \(op: 'MatMul'\)"
    ) as error:
        tf.matmul(a, b, name="m")
    assert str(error.value).endswith("with input shapes: [2,3], [4,5].")


def test_ten_thousand_operations_are_built_and_run() -> None:
    x = tf.constant(0.0)
    for _ in range(10_000):
        x = tf.add(x, 1.0)
    with tf.Session() as sess:
        assert sess.run(x) == 10_000.0


def test_parts_of_operations_and_scopes_as_tensorflows_own_tests_ask() -> None:
    first, second = tf.split(tf.constant([1, 2]), 2)
    assert first.op.values() == (first, second)
    with tf.name_scope("foo"), tf.name_scope("/") as scope:
        assert scope == "/"
    graph = tf.get_default_graph()
    graph.prevent_fetching(first.op)
    assert not graph.is_fetchable(first)
    assert not graph.is_fetchable(first.op)
