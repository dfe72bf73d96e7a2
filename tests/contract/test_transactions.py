from __future__ import annotations

import threading
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import paramserver_client as ps
from paramserver_wire.messages import Message
from support.contract import everything, f32, refused, value
from support.doors import Door


@pytest.fixture(autouse=True)
def _two_variables(client: ps.ParameterClient) -> None:
    client.create_variable("a", value=f32(1, 2))
    client.create_variable("b", value=np.array([10], np.int64))


def test_a_push_is_one_commit(client: ps.ParameterClient) -> None:
    commit = client.server()["commit"]
    applied = client.push({"a": f32(1, 1), "b": [5]})
    assert (applied.commit, applied.versions, applied.values) == (commit + 1, {"a": 2, "b": 2}, {})
    assert (value(client, "a"), value(client, "b")) == (([2, 3], 2), ([15], 2))
    assert client.server()["commit"] == commit + 1


def test_a_push_of_unlike_updates(client: ps.ParameterClient) -> None:
    applied = client.push(
        [ps.Update("a", "assign", [5, 5]), ps.Update("b", "assign_sub", np.int64([3]))], returns=["a", "b"]
    )
    assert {name: array.tolist() for name, array in applied.values.items()} == {"a": [5, 5], "b": [7]}


def test_updates_of_one_variable_apply_in_order(client: ps.ParameterClient) -> None:
    updates = [ps.Update("a", "assign", 3), ps.Update("a", "assign_add", [1, 2]), ps.Update("a", "assign_sub", [0, 1])]
    applied = client.push(updates, returns=["a"])
    assert applied.values["a"].tolist() == [4, 4]
    assert value(client, "a")[0] == [4, 4]


def test_returns_may_name_others(client: ps.ParameterClient) -> None:
    applied = client.push({"a": [1, 1]}, returns=["b"])
    assert applied.values["b"].tolist() == [10]


def test_a_push_may_initialize(client: ps.ParameterClient) -> None:
    client.create_variable("c", (2,))
    assert client.push([ps.Update("c", "assign", [1, 1]), ps.Update("c", "assign_add", [1, 1])]).versions.keys() == {
        "c"
    }
    assert value(client, "c")[0] == [2, 2]


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (ps.Update("nope", "assign_add", [1]), ps.VariableNotFoundError),
        (ps.Update("..", "assign_add", [1]), ps.InvalidNameError),
        (ps.Update("b", "assign_add", [1, 2]), ps.ShapeMismatchError),
        (ps.Update("b", "assign_add", [[1]]), ps.ShapeMismatchError),
        (ps.Update("b", "assign_add", [1.5]), ps.DtypeMismatchError),
        (ps.Update("b", "assign_add", np.float32([1])), ps.DtypeMismatchError),
        (ps.Update("b", "multiply", [1]), ps.InvalidRequestError),
        (ps.Update("b", "assign_add", [1], if_version=7), ps.VersionMismatchError),
    ],
)
def test_a_push_is_refused_whole(client: ps.ParameterClient, bad: ps.Update, kind: Any) -> None:
    good = ps.Update("a", "assign_add", f32(1, 1))
    for updates in ([good, bad], [bad, good], [good, bad, good]):
        with refused(client, kind):
            client.push(updates)


def test_every_difference_is_listed_and_the_first_decides(client: ps.ParameterClient) -> None:
    client.create_variable("u", (2,))
    updates = [
        ps.Update("a", "assign_add", [1.0]),
        ps.Update("nope", "assign_add", [1.0]),
        ps.Update("u", "assign_add", [1.0, 1.0]),
        ps.Update("b", "assign_add", [0.5]),
    ]
    with refused(client, ps.ShapeMismatchError, "a", "nope", "u", "b") as raised:
        client.push(updates)
    codes = [each["code"] for each in raised.value.errors]
    assert codes == ["shape_mismatch", "variable_not_found", "uninitialized", "dtype_mismatch"]
    with refused(client, ps.VariableNotFoundError, "a", "nope", "u", "b"):
        client.push([updates[1], updates[0], updates[3], updates[2]])


def test_returns_of_an_unknown_variable(client: ps.ParameterClient) -> None:
    with refused(client, ps.VariableNotFoundError, "nope"):
        client.push({"a": [1, 1]}, returns=["nope"])


def test_conditions_hold_for_the_whole_push(client: ps.ParameterClient) -> None:
    tags = {name: client.get_variable(name).tag for name in ("a", "b")}
    client.push([ps.Update("a", "assign_add", [1, 1], tags["a"]), ps.Update("b", "assign_add", [1], tags["b"])])
    with refused(client, ps.VersionMismatchError, "a", "b"):
        client.push([ps.Update("a", "assign_add", [1, 1], tags["a"]), ps.Update("b", "assign_add", [1], tags["b"])])


def test_a_push_of_nothing_changes_nothing(client: ps.ParameterClient) -> None:
    before = everything(client)
    assert client.push({}).versions == {}
    assert everything(client) == before


def test_locking_is_no_choice_inside_a_push(client: ps.ParameterClient, door: Door) -> None:
    fields = {"name": "a", "op": "assign_add", "value": f32(1, 1), "use_locking": False}
    if door.kind != "embedded":
        with refused(client, ps.InvalidRequestError):
            client.transport.deliver(Message("push", {"updates": [fields]}, "x-1"), 10)


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("push", {"updates": [{"name": "a", "op": "assign", "value": f32(1, 1), "unknown": 1}]}),
        ("push", {"updates": [{"name": "a", "op": "assign"}]}),
        ("push", {"updates": "all"}),
        ("push", {"updates": [{"name": 5, "op": "assign", "value": f32(1, 1)}]}),
        ("pull", {"names": "a"}),
        ("pull", {"names": [5]}),
        ("create_variable", {"name": "c", "shape": "2"}),
        ("create_variable", {"name": "c", "shape": [1.5]}),
        ("create_variable", {"name": "c", "shape": [True]}),
        ("create_variable", {"name": "c", "shape": [2], "trainable": "yes"}),
        ("create_variable", {"name": "c", "shape": [2], "collections": "mine"}),
        ("list_variables", {"page_size": 0}),
        ("list_variables", {"page_size": 10_000}),
        ("list_variables", {"initialized": "perhaps"}),
        ("initialize", {"seed": "lucky"}),
        ("initialize", {"seed": 1.5}),
    ],
)
def test_requests_without_form(client: ps.ParameterClient, door: Door, operation: str, arguments: Any) -> None:
    if door.kind == "embedded":
        # In process, arguments are Python's own and the type checker's to judge: these never become a message.
        return
    with refused(client, ps.InvalidRequestError):
        client.transport.deliver(Message(operation, arguments, "x-1"), 10)


def test_a_pull_is_one_cut(client: ps.ParameterClient) -> None:
    applied = client.push({"a": f32(1, 1), "b": [1]})
    snapshot = client.pull()
    assert snapshot.commit == applied.commit
    assert {name: array.tolist() for name, array in snapshot.items()} == {"a": [2, 3], "b": [11]}
    assert snapshot.versions == {name: client.get_variable(name).tag for name in ("a", "b")}


def test_a_pull_of_a_choice(client: ps.ParameterClient) -> None:
    client.create_variable("conv1/w", value=1.0, collections=["mine"])
    client.create_variable("conv10", value=1.0)
    assert list(client.pull("b")) == ["b"]
    assert list(client.pull(["b", "a"])) == ["b", "a"]
    assert set(client.pull(prefix="conv1")) == {"conv1/w"}
    assert set(client.pull(collection="mine")) == {"conv1/w"}
    assert set(client.pull(prefix="nothing/here")) == set()
    assert set(client.pull([])) == set()
    with refused(client, ps.InvalidRequestError):
        client.pull(["a"], prefix="conv1")


def test_a_pull_leaves_out_what_stayed_the_same(client: ps.ParameterClient) -> None:
    seen = client.pull()
    client.assign_add("a", [1, 1])
    again = client.pull(if_versions=seen.versions)
    assert list(again) == ["a"]
    assert list(client.pull(if_versions={"a": 2, "b": 2})) == ["b"]


def test_a_variable_that_was_made_anew_has_changed(client: ps.ParameterClient) -> None:
    seen = client.pull()
    client.delete_variable("a")
    client.create_variable("a", value=f32(7, 7))
    assert list(client.pull(if_versions=seen.versions)) == ["a"]


def test_a_pull_into_arrays_of_the_caller(client: ps.ParameterClient) -> None:
    out = {"a": np.zeros(2, np.float32), "b": np.zeros(1, np.int64)}
    assert client.pull(out=out)["b"] is out["b"]
    assert (out["a"].tolist(), out["b"].tolist()) == ([1, 2], [10])
    out["a"][:] = 9
    assert value(client, "a")[0] == [1, 2]


def test_a_pull_into_arrays_that_do_not_fit(client: ps.ParameterClient) -> None:
    out = {"a": np.zeros(3, np.float32), "b": np.zeros(1, np.int32)}
    with pytest.raises(ps.InvalidRequestError, match="No array was written to") as raised:
        client.pull(out=out)
    assert [error["name"] for error in raised.value.errors] == ["a", "b"]
    assert not out["a"].any()
    with pytest.raises(ps.InvalidRequestError, match=r"out\['b'\]: wanted a name that is asked for.* Nothing was sent"):
        client.pull(["a"], out={"b": np.zeros(1, np.int64)})
    for bad in (np.zeros(1, ">i8"), np.frombuffer(bytes(8), np.int64), [0]):
        with pytest.raises(ps.InvalidRequestError, match=r"^out\['b'\]: wanted .* Nothing was sent"):
            client.pull(out={"b": bad})  # type: ignore[dict-item]
    assert client.pull(out={"b": np.zeros(1, np.int64)}).commit == client.pull().commit


def test_a_pull_of_what_is_new_leaves_the_other_arrays_alone(client: ps.ParameterClient) -> None:
    seen = client.pull(["a", "b"])
    client.assign("a", f32(5, 6))
    out = {"a": np.zeros(2, np.float32), "b": np.full(1, -7, np.int64)}
    new = client.pull(out=out, if_versions=seen.versions)
    assert list(new) == ["a"]
    assert new["a"] is out["a"]
    assert (out["a"].tolist(), out["b"].tolist()) == ([5, 6], [-7])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_a_pull_in_another_dtype_into_arrays_of_the_caller(client: ps.ParameterClient, dtype: str) -> None:
    client.create_variable("casts/w", value=f32(1, 2))
    client.create_variable("casts/empty", value=np.zeros((0, 3), np.float32))
    wanted = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    out = {"casts/w": np.zeros(2, wanted), "casts/empty": np.zeros((0, 3), wanted)}
    assert set(client.pull(prefix="casts", out=out, dtype=dtype)) == out.keys()
    assert out["casts/w"].tolist() == [1, 2]


def test_many_variables_in_one_request(client: ps.ParameterClient) -> None:
    names = [f"many/v{number:03}" for number in range(500)]
    for name in names:
        client.create_variable(name, value=np.zeros(3, np.float32))
    applied = client.push({name: np.full(3, number, np.float32) for number, name in enumerate(names)})
    assert len(applied.versions) == 500
    pulled = client.pull(prefix="many")
    assert all(pulled[name].tolist() == [number] * 3 for number, name in enumerate(names))


def test_threads_in_opposite_orders(client: ps.ParameterClient, door: Door) -> None:
    """Exact sums, exact versions, no deadlock, and no reader ever sees one variable ahead of the other."""
    rounds, workers = 200, 8
    for name in ("x", "y"):
        client.create_variable(name, value=np.zeros(100, np.int64))
    start = threading.Barrier(workers + 2)
    done = threading.Event()
    torn: list[Any] = []
    failures: list[BaseException] = []

    def push(number: int) -> None:
        names = ("x", "y") if number % 2 else ("y", "x")
        one = np.ones(100, np.int64)
        try:
            with door.client() as own:
                start.wait()
                for _ in range(rounds):
                    own.push(dict.fromkeys(names, one))
        except BaseException as error:
            failures.append(error)

    def look() -> None:
        with door.client() as own:
            start.wait()
            while not done.is_set():
                seen = own.pull(["x", "y"])
                x, y = seen["x"], seen["y"]
                if x.min() != x.max() or not np.array_equal(x, y):
                    torn.append((x, y))
                if {tag.rpartition("-")[2] for tag in seen.versions.values()} != {str(x[0] + 1)}:
                    torn.append(seen.versions)

    writers = [threading.Thread(target=push, args=(number,)) for number in range(workers)]
    readers = [threading.Thread(target=look) for _ in range(2)]
    for thread in [*writers, *readers]:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert not failures
    assert not torn
    for name in ("x", "y"):
        array, tag = client.read(name, with_version=True)
        assert set(array.tolist()) == {workers * rounds}
        assert tag.endswith(f"-{workers * rounds + 1}")
