"""The reference, section "Names", and graphs: uniqueness, scopes, lookup, control dependencies, devices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf


def names(*found: Any) -> list[str]:
    return [each.name for each in found]


def test_variables_of_one_name_are_numbered() -> None:
    made = [tf.Variable(1.0, name="w") for _ in range(3)]
    assert names(*made) == ["w:0", "w_1:0", "w_2:0"]
    assert names(*(each.op for each in made)) == ["w", "w_1", "w_2"]
    assert names(tf.Variable(1.0), tf.Variable(1.0)) == ["Variable:0", "Variable_1:0"]
    assert tf.Variable(1.0, name="w_1").name == "w_1_1:0"


def test_all_kinds_share_one_name_space() -> None:
    assert names(tf.constant(1, name="x"), tf.constant(1, name="x"), tf.Variable(1, name="x")) == [
        "x:0",
        "x_1:0",
        "x_2:0",
    ]
    assert tf.Variable(1.0, name="v").name == "v:0"
    assert tf.get_variable("v", [1]).name == "v_1:0"
    with tf.variable_scope("", reuse=True), pytest.raises(ValueError, match="Variable u does not exist"):
        tf.get_variable("u")


def test_uniqueness_does_not_look_at_case() -> None:
    assert names(tf.constant(1, name="X"), tf.constant(1, name="x")) == ["X:0", "x_1:0"]
    a, b = tf.constant(1.0, name="a"), tf.constant(1.0, name="b")
    assert names(a + b, tf.add(a, b)) == ["add:0", "Add_1:0"]


def test_default_names_of_operations() -> None:
    a = tf.constant([[1.0]])
    found = [tf.constant(1), tf.placeholder(tf.float32), a + a, a - a, a * a, a / a, -a, tf.matmul(a, a),
             tf.reduce_sum(a), tf.identity(a)]  # fmt: skip
    assert names(*found) == ["Const_1:0", "Placeholder:0", "add:0", "sub:0", "mul:0", "truediv:0", "Neg:0", "MatMul:0",
                             "Sum:0", "Identity:0"]  # fmt: skip
    v = tf.Variable(1.0, name="v")
    assert names(tf.assign(v, 2.0).op, tf.no_op(), tf.group(v.initializer)) == ["Assign", "NoOp", "group_deps"]
    assert tf.global_variables_initializer().name == "init"
    assert tf.gradients(a * a, a)[0].name.startswith("gradients/")


@pytest.mark.parametrize("bad", ["a b", "a$", "é", "-a", "_a"])
def test_names_that_are_none(bad: str) -> None:
    with pytest.raises(ValueError, match=f"'{bad}' is not a valid scope name".replace("$", r"\$")), tf.name_scope(bad):
        pass
    with pytest.raises(ValueError, match=r"is not a valid (node|scope) name"):
        tf.constant(1, name=bad)
    with pytest.raises(ValueError, match=r"is not a valid (node|scope) name"):
        tf.Variable(1, name=bad)


def test_inside_a_scope_a_leading_underscore_is_allowed() -> None:
    with tf.name_scope("s"), tf.name_scope("_t") as scope:
        assert scope == "s/_t/"
        assert tf.constant(1, name="_c").name == "s/_t/_c:0"


def test_name_scopes_are_numbered_entered_again_and_left() -> None:
    with tf.name_scope("s") as first:
        pass
    with tf.name_scope("s") as second:
        v = tf.Variable(1, name="v")
    with tf.name_scope("s/") as again:
        c = tf.constant(1, name="c")
    assert ([first, second, again], v.name, c.name) == (["s/", "s_1/", "s/"], "s_1/v:0", "s/c:0")
    with tf.name_scope("s/"):
        for root in (None, ""):
            with tf.name_scope(root) as scope:
                assert scope == ""
                assert tf.constant(1, name="r").name in ("r:0", "r_1:0")


def test_slashes_alone_are_scopes() -> None:
    for name in ("/", "//", "a//b/"):
        with tf.name_scope("outer"), tf.name_scope(name) as scope:
            assert scope == name


def test_name_scope_with_a_default_name_and_values() -> None:
    with tf.name_scope(None, "inner", [tf.constant(1)]) as scope:
        assert scope == "inner/"
    with tf.op_scope([tf.constant(1)], "given", "inner") as scope:
        assert scope == "given/"
    with pytest.raises(ValueError, match="At least one of name"):
        tf.name_scope(None, None, [])
    with pytest.raises(TypeError, match="is not a string type"):
        tf.name_scope("a", 5)  # type: ignore[arg-type]
    other = tf.Graph()
    with other.as_default():
        foreign = tf.constant(1.0)
    with pytest.raises(ValueError, match="must be from the same graph as"):
        tf.name_scope("a", values=[tf.constant(1.0), foreign])
    with tf.name_scope("a", values=[foreign]):
        assert tf.get_default_graph() is other


def test_name_scopes_are_for_operations_and_variables_not_for_get_variable() -> None:
    with tf.name_scope("s"):
        assert names(tf.constant(1), tf.Variable(1), tf.get_variable("g", [1])) == ["s/Const:0", "s/Variable:0", "g:0"]


def test_a_variable_scope_opens_a_name_scope_each_time() -> None:
    found = []
    for _ in range(2):
        with tf.variable_scope("foo", reuse=tf.AUTO_REUSE):
            found += names(tf.constant(1, name="c"), tf.Variable(1, name="v"), tf.get_variable("g", [1]))
    assert found == ["foo/c:0", "foo/v:0", "foo/g:0", "foo_1/c:0", "foo_1/v:0", "foo/g:0"]


def test_the_parts_of_a_variable() -> None:
    v = tf.Variable(1.0, name="v")
    g = tf.get_variable("g", [1], initializer=tf.zeros_initializer())
    h = tf.get_variable("h", [1])
    graph = tf.get_default_graph()
    assert names(v.initial_value.op, v.op, v.initializer, v.value().op) == [
        "v/initial_value",
        "v",
        "v/Assign",
        "v/read",
    ]
    assert graph.get_operation_by_name("v").type == "VariableV2"
    assert g.initial_value.op.name == "g/Initializer/zeros"
    assert h.initial_value.op.name == "h/Initializer/random_uniform"
    assert tf.Variable(lambda: 1.0, name="f").initial_value.op.name == "f/Initializer/initial_value"


def test_looking_things_up() -> None:
    graph, a = tf.get_default_graph(), tf.constant(1, name="a")
    assert graph.get_tensor_by_name("a:0") is a
    assert graph.get_operation_by_name("a") is a.op
    with pytest.raises(ValueError, match="The name 'a' refers to an Operation, not a Tensor"):
        graph.get_tensor_by_name("a")
    with pytest.raises(ValueError, match="appears to refer to a Tensor, not a Operation"):
        graph.get_operation_by_name("a:0")
    for missing in ("b:0", "a:1"):
        with pytest.raises(KeyError, match="refers to a Tensor which does not exist"):
            graph.get_tensor_by_name(missing)
    with pytest.raises(KeyError, match="refers to an Operation not in the graph"):
        graph.get_operation_by_name("b")
    with pytest.raises(TypeError, match="Tensor names are strings"):
        graph.get_tensor_by_name(a)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Operation names are strings"):
        graph.get_operation_by_name(3)  # type: ignore[arg-type]


def test_a_finalized_graph_takes_nothing_more() -> None:
    graph = tf.get_default_graph()
    tf.constant(1)
    graph.finalize()
    assert graph.finalized
    graph._unsafe_unfinalize()
    tf.constant(2)
    graph.finalize()
    for make in (lambda: tf.constant(1), lambda: tf.Variable(1), lambda: tf.add_to_collection("a", 1)):
        with pytest.raises(RuntimeError, match=r"Graph is finalized and cannot be modified."):
            make()


def test_default_graphs() -> None:
    with tf.Graph().as_default() as graph:
        assert tf.get_default_graph() is graph
        assert tf.constant(1).graph is graph
        with pytest.raises(AssertionError, match="to clear nested graphs"):
            tf.reset_default_graph()
    before = tf.get_default_graph()
    assert before is not graph
    tf.reset_default_graph()
    assert tf.get_default_graph() is not before


def test_control_dependencies() -> None:
    a, b = tf.constant(1.0), tf.constant(2.0)
    with tf.control_dependencies([a]):
        c = tf.identity(b)
        with tf.control_dependencies([a, b.op]):
            d = tf.constant(1.0)
        with tf.control_dependencies(None):
            e = tf.constant(1.0)
        v = tf.Variable(1.0)
    assert (c.op.control_inputs, d.op.control_inputs, e.op.control_inputs) == ([a.op], [a.op, b.op], [])
    assert v.op.control_inputs == v.initializer.control_inputs == v.value().op.control_inputs == []
    with pytest.raises(TypeError, match="Control inputs must be"), tf.control_dependencies(a):
        pass
    with pytest.raises(TypeError, match="Can not convert a int"), tf.control_dependencies([3]):
        pass


def test_what_an_input_waits_for_already_is_not_waited_for_again() -> None:
    a, b, c = (tf.constant(float(i)) for i in range(3))
    with tf.control_dependencies([a]):
        inner = tf.identity(b)
        assert tf.identity(inner).op.control_inputs == []
        assert tf.identity(a).op.control_inputs == []
        with tf.control_dependencies([c]):
            assert tf.identity(inner).op.control_inputs == [c.op]
            assert tf.identity(b).op.control_inputs == [a.op, c.op]


def test_devices_are_noted_and_change_nothing(run: Any) -> None:
    with tf.device("/job:ps/task:1"):
        v = tf.Variable(1.0, name="v")
        with tf.device("/cpu:0"):
            a = tf.constant(2.0)
        with tf.device(None):
            b = tf.constant(3.0)
    assert [each.device for each in (v, a, b)] == ["/job:ps/task:1", "/job:ps/task:1/device:CPU:0", ""]
    assert str(a) == 'Tensor("Const:0", shape=(), dtype=float32, device=/job:ps/task:1/device:CPU:0)'
    with tf.device("/job:worker/task:7"):
        update = v.assign(1.0)
    assert (update.device, update.op.colocation_groups()) == ("/job:ps/task:1", [b"loc:@v"])
    assert run(a + b) == 5.0
    seen = []
    with tf.device(lambda op: seen.append(op.type) or "/gpu:1"):
        c = tf.constant(1.0)
    assert (seen, c.device) == (["Const"], "/device:GPU:1")
    with tf.colocate_with(c):
        assert tf.constant(1.0).device == "/device:GPU:1"
    with pytest.raises(ValueError, match="Unknown attribute: 'nonsense'"), tf.device("/nonsense:3"):
        pass
    assert tf.DeviceSpec.from_string("/job:a/replica:0/task:1/device:GPU:*").to_string().endswith("/device:GPU:*")


def test_the_first_value_stays_beside_its_variable() -> None:
    with tf.device("/cpu:100"):
        v = tf.Variable(lambda: tf.constant(1.0), name="v")
        g = tf.get_variable("g", [2])
    assert v.op.device == "/device:CPU:100"
    for variable in (v, g):
        group = [f"loc:@{variable.op.name}".encode()]
        assert variable.initializer.colocation_groups() == variable.op.colocation_groups() == group
        assert {tuple(each.op.colocation_groups()) for each in variable.initializer.inputs} == {tuple(group)}


def test_several_things_to_be_beside() -> None:
    with tf.device("/cpu:1"):
        a, b = tf.constant(1, name="a"), tf.constant(2, name="b")
    with tf.colocate_with(a):
        with tf.colocate_with(b.op):
            both = tf.constant(3)
        with tf.colocate_with(b, ignore_existing=True):
            one = tf.constant(4)
        with tf.colocate_with(None, ignore_existing=True):
            none = tf.constant(5, name="none")
    assert (both.op.colocation_groups(), both.device) == ([b"loc:@a", b"loc:@b"], "/device:CPU:1")
    assert (one.op.colocation_groups(), none.op.colocation_groups()) == ([b"loc:@b"], [b"loc:@none"])
    assert none.device == ""
    with pytest.raises(ValueError, match="`ignore_existing` is not True"), tf.colocate_with(None):
        pass


def test_devices_are_left_in_order() -> None:
    outer = tf.device("/cpu:0")
    outer.__enter__()
    with tf.device("/cpu:1"), pytest.raises(RuntimeError, match="without proper scope nesting"):
        outer.__exit__(None, None, None)


def test_a_graph_in_plain_values() -> None:
    a = tf.constant(1.0, name="a")
    _, second = tf.split(tf.constant([1.0, 2.0], name="both"), 2, name="split")
    with tf.device("/cpu:0"), tf.control_dependencies([a]):
        tf.identity(second, name="b")
    nodes = tf.get_default_graph().as_graph_def().node
    assert [(node.name, node.op) for node in nodes][-1] == ("b", "Identity")
    assert (nodes[-1].input, nodes[-1].device) == (["split:1", "^a"], "/device:CPU:0")
    assert a.op.node_def == nodes[0]


def test_fetching_can_be_forbidden() -> None:
    graph, a = tf.get_default_graph(), tf.constant(1.0)
    graph.prevent_fetching(a.op)
    assert (graph.is_fetchable(a), graph.is_fetchable(a.op)) == (False, False)


def test_an_init_scope_waits_for_nothing() -> None:
    with tf.control_dependencies([tf.constant(1)]), tf.init_scope():
        assert tf.constant(2).op.control_inputs == []
    parts = tf.get_variable("p", [2], partitioner=tf.fixed_size_partitioner(2))
    c = tf.constant(1)
    with tf.control_dependencies([c]):
        assert parts.as_tensor().op.control_inputs == []
        assert parts._concat().op.inputs[0].op.control_inputs == [c.op]
    assert tf.get_default_graph().collections == ["variables", "trainable_variables"]


def test_unique_names() -> None:
    graph = tf.get_default_graph()
    found = [graph.unique_name("foo", mark_as_used=used) for used in (False, False, True, False, True, True)]
    assert found == ["foo", "foo", "foo", "foo_1", "foo_1", "foo_2"]
    assert [graph.unique_name("foo_1", mark_as_used=used) for used in (False, True, True)] == [
        "foo_1_1",
        "foo_1_1",
        "foo_1_2",
    ]
    with graph.name_scope("bar"):
        assert [graph.unique_name("foo") for _ in range(2)] == ["bar/foo", "bar/foo_1"]
        with graph.name_scope(None):
            assert graph.unique_name("foo") == "foo_3"
        with graph.name_scope("baz"):
            assert graph.unique_name("foo") == "bar/baz/foo"
        with graph.name_scope("baz"):
            assert graph.unique_name("foo") == "bar/baz_1/foo"
    with graph.name_scope("quux"):
        assert graph.unique_name("foo") == "quux/foo"
    with graph.name_scope("bar"):
        with graph.name_scope("baz"):
            assert graph.unique_name("foo") == "bar_1/baz/foo"
        assert graph.unique_name("foo_1") == "bar_1/foo_1"
        assert graph.unique_name("foo") == "bar_1/foo"


def test_static_shapes_with_unknown_dimensions() -> None:
    p = tf.placeholder(tf.float32, [None, 3])
    assert (p.get_shape().as_list(), p.shape.ndims, tf.placeholder(tf.float32).shape.ndims) == ([None, 3], 2, None)
    p.set_shape([2, None])
    assert p.shape.as_list() == [2, 3]
    with pytest.raises(ValueError, match=r"Shapes \(2, 3\) and \(5, 3\) are not compatible"):
        p.set_shape([5, 3])
    with pytest.raises(ValueError, match=r"Shapes \(2, 3\) and \(\?,\) are not compatible"):
        p.set_shape([None])


def test_tensors_are_compared_by_identity_and_are_no_containers() -> None:
    v, t = tf.Variable([1.0]), tf.constant([1.0])
    assert v == v
    assert t != v
    for use in (bool, list, len):
        with pytest.raises(TypeError):
            use(t)  # type: ignore[operator]
    for use in (bool, list, len):
        with pytest.raises(TypeError):
            use(v)  # type: ignore[operator]


def test_numbers_convert_and_tensors_do_not(run: Any) -> None:
    f, i = tf.constant([7.0]), tf.constant([7])
    with pytest.raises(TypeError, match="has type int32 that does not match type float32"):
        f + i
    assert (f + 1).dtype == tf.float32
    with pytest.raises(TypeError, match="has type float32 that does not match type int32"):
        i + 1.5
    assert (i / i).dtype == tf.float64
    found = run([i / 2, i // 2, -i // 2, -i % 4, abs(-f), f[0], f > 6.0])
    for got, wanted in zip(found, [[3.5], [3], [-4], [1], [7.0], 7.0, [True]], strict=True):
        np.testing.assert_array_equal(got, wanted)
