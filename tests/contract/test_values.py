from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import paramserver_client as ps
from paramserver_wire.messages import Message
from paramserver_wire.tensors import Untyped
from support.contract import f32, refused, value
from support.doors import Door

WRITES = ["assign", "assign_add", "assign_sub"]


def write(client: ps.ParameterClient, op: str, *arguments: Any, **settings: Any) -> ps.Applied:
    applied: ps.Applied = getattr(client, op)(*arguments, **settings)
    return applied


@pytest.mark.parametrize(("op", "expected"), [("assign", [3, 4]), ("assign_add", [4, 6]), ("assign_sub", [-2, -2])])
def test_writes(client: ps.ParameterClient, op: str, expected: list[float]) -> None:
    client.create_variable("w", value=f32(1, 2))
    commit = client.server()["commit"]
    applied = write(client, op, "w", f32(3, 4))
    assert (applied.commit, applied.versions, applied.values, applied.replayed) == (commit + 1, {"w": 2}, {}, False)
    assert value(client, "w") == (expected, 2)


@pytest.mark.parametrize("op", WRITES)
def test_a_write_brings_its_value_back(client: ps.ParameterClient, op: str) -> None:
    client.create_variable("w", value=f32(1, 2))
    applied = write(client, op, "w", [0.5, 0.5], return_value=True)
    assert applied.versions == {"w": 2}
    assert applied.values["w"].tolist() == client.read("w").tolist()


def test_numbers_take_the_variables_dtype(client: ps.ParameterClient) -> None:
    client.create_variable("half", value=np.zeros(2, ml_dtypes.bfloat16))
    client.create_variable("whole", value=np.zeros((), np.uint8))
    client.create_variable("flag", value=np.zeros(1, np.bool_))
    client.assign("half", [0.1, -2])
    client.assign("whole", 255)
    client.assign("flag", [True])
    assert client.read("half").tobytes() == np.array([0.1, -2], ml_dtypes.bfloat16).tobytes()
    assert client.read("whole") == 255
    assert client.read("flag").tolist() == [True]


def test_a_safe_cast_is_made(client: ps.ParameterClient) -> None:
    client.create_variable("w", value=np.zeros(2, np.float64))
    client.assign_add("w", f32(1, 2))
    client.assign_add("w", np.array([1, 2], np.int32))
    assert client.read("w").tolist() == [2, 4]
    assert client.read("w").dtype == np.float64


def test_one_number_fills_a_whole_variable(client: ps.ParameterClient) -> None:
    client.create_variable("w", value=np.zeros((2, 2), np.float32))
    client.assign("w", 7)
    assert client.read("w").tolist() == [[7, 7], [7, 7]]
    with refused(client, ps.ShapeMismatchError, "w"):
        client.assign_add("w", 1)
    with refused(client, ps.ShapeMismatchError, "w"):
        client.assign("w", np.float32(1))


@pytest.mark.parametrize("op", WRITES)
@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (f32(1, 2, 3), ps.ShapeMismatchError),
        (np.float32([[1, 2]]), ps.ShapeMismatchError),
        (f32(1), ps.ShapeMismatchError),
        ([[1.0], [2.0]], ps.ShapeMismatchError),
        ([1.0, [2.0]], ps.ShapeMismatchError),
        (np.ones(2), ps.DtypeMismatchError),
        (np.ones(2, np.int32), ps.DtypeMismatchError),
        (np.ones(2, np.complex64), ps.DtypeMismatchError),
        ([True, False], ps.DtypeMismatchError),
        (["1", "2"], ps.DtypeMismatchError),
        (f32(1, np.nan), ps.NonFiniteError),
        (f32(-np.inf, 1), ps.NonFiniteError),
        ([1.0, float("nan")], ps.NonFiniteError),
        ([1.0, 1e39], ps.NonFiniteError),
        ([1.0, 10**400], ps.NonFiniteError),
    ],
)
def test_what_is_not_written(client: ps.ParameterClient, op: str, given: Any, kind: Any) -> None:
    client.create_variable("w", value=f32(1, 2))
    with refused(client, kind, "w"):
        write(client, op, "w", given)
    with refused(client, kind, "w"):
        client.push({"w": given}, op)


@pytest.mark.parametrize("given", [f32(np.nan, np.inf), [float("nan"), float("inf")]])
def test_what_is_not_finite_may_be_allowed(client: ps.ParameterClient, given: Any) -> None:
    client.create_variable("w", value=f32(1, 2))
    client.assign("w", given, allow_non_finite=True)
    np.testing.assert_array_equal(client.read("w"), f32(np.nan, np.inf))
    client.push({"w": given}, "assign", allow_non_finite=True)
    assert value(client, "w")[1] == 3


def test_results_are_not_checked(client: ps.ParameterClient) -> None:
    client.create_variable("w", value=f32(3e38))
    client.assign_add("w", f32(3e38))
    assert client.read("w").tolist() == [np.inf]


def test_integers_that_do_not_fit(client: ps.ParameterClient) -> None:
    client.create_variable("n", value=np.zeros(1, np.int8))
    for given in ([128], [1.5], [10**400], [-129]):
        with refused(client, ps.DtypeMismatchError, "n"):
            client.assign("n", given)
    client.assign("n", [2.0])
    assert client.read("n").tolist() == [2]


def test_complex_numbers(client: ps.ParameterClient) -> None:
    client.create_variable("z", value=np.array([1 + 2j], np.complex64))
    client.assign_add("z", Untyped([[1, 1]], "complex64"))
    assert client.read("z").tolist() == [2 + 3j]


def test_uninitialized_ones(client: ps.ParameterClient) -> None:
    client.create_variable("w", (2,), "float32", "zeros")
    for call in (
        lambda: client.read("w"),
        lambda: client.pull(["w"]),
        lambda: client.pull(),
        lambda: client.assign_add("w", f32(1, 2)),
        lambda: client.assign_sub("w", f32(1, 2)),
        lambda: client.push({"w": f32(1, 2)}),
    ):
        with refused(client, ps.UninitializedError, "w"):
            call()
    assert client.assign("w", f32(1, 2)).versions == {"w": 1}
    assert value(client, "w") == ([1, 2], 1)


@pytest.mark.parametrize("op", WRITES)
def test_if_version(client: ps.ParameterClient, op: str) -> None:
    made = client.create_variable("w", value=f32(1, 2))
    assert write(client, op, "w", f32(1, 1), if_version=made.tag).versions == {"w": 2}
    assert write(client, op, "w", f32(1, 1), if_version=2).versions == {"w": 3}
    for other in (made.tag, 2, "0123456789abcdef-3"):
        with refused(client, ps.VersionMismatchError, "w"):
            write(client, op, "w", f32(1, 1), if_version=other)


def test_of_two_conditional_writers_one_wins(client: ps.ParameterClient) -> None:
    tag = client.create_variable("w", value=f32(0)).tag
    outcomes: list[str] = []
    barrier = threading.Barrier(4)

    def run() -> None:
        barrier.wait()
        try:
            client.assign_add("w", f32(1), if_version=tag)
        except ps.VersionMismatchError:
            outcomes.append("lost")
        else:
            outcomes.append("won")

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["lost", "lost", "lost", "won"]
    assert value(client, "w") == ([1], 2)


@pytest.mark.parametrize("op", WRITES)
def test_without_the_lock(client: ps.ParameterClient, op: str) -> None:
    client.create_variable("w", value=f32(1, 2))
    assert write(client, op, "w", f32(1, 1), use_locking=False).versions == {"w": 2}
    with refused(client, ps.ShapeMismatchError, "w"):
        write(client, op, "w", f32(1), use_locking=False)


def test_without_the_lock_values_are_never_torn(client: ps.ParameterClient, door: Door) -> None:
    count = 50_000
    client.create_variable("w", value=np.zeros(count, np.float32))
    torn: list[Any] = []
    done = threading.Event()

    def push(sign: int) -> None:
        with door.client() as own:
            for _ in range(20):
                own.assign_add("w", np.full(count, sign, np.float32), use_locking=False)

    def look() -> None:
        with door.client() as own:
            while not done.is_set():
                seen = own.read("w")
                if seen.min() != seen.max():
                    torn.append(seen)

    readers = [threading.Thread(target=look) for _ in range(2)]
    writers = [threading.Thread(target=push, args=(sign,)) for sign in (1, 2, 3)]
    for thread in [*readers, *writers]:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert not torn


def test_reads_parts(client: ps.ParameterClient) -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    client.create_variable("w", value=array)
    for index in (np.s_[0], np.s_[:, 1], np.s_[..., -1], np.s_[::-1, 0:2, 3], np.s_[1, 2, 3], np.s_[0:0]):
        np.testing.assert_array_equal(client.read("w", slice=index), array[index])
    assert client.read("w", slice=" 1 , 0:2").shape == (2, 4)


@pytest.mark.parametrize(
    ("index", "kind"),
    [
        ("2", ps.IndexOutOfRangeError),
        ("-3", ps.IndexOutOfRangeError),
        ("0:1:0", ps.IndexOutOfRangeError),
        ("0,0,0,0", ps.InvalidRequestError),
        ("...,...", ps.InvalidRequestError),
        ("a", ps.InvalidRequestError),
        ("None", ps.InvalidRequestError),
        ("[0]", ps.InvalidRequestError),
        ("1:2:3:4", ps.InvalidRequestError),
        ("0," * 2000, ps.InvalidRequestError),
        ("", ps.InvalidRequestError),
    ],
)
def test_parts_there_are_not(client: ps.ParameterClient, index: str, kind: Any) -> None:
    client.create_variable("w", value=np.zeros((2, 3, 4), np.float32))
    with refused(client, kind):
        client.read("w", slice=index)


def test_reads_in_another_dtype(client: ps.ParameterClient) -> None:
    client.create_variable("w", value=f32(1.5, 2))
    assert client.read("w", dtype="float16").dtype == np.float16
    assert client.read("w", dtype="bfloat16", slice="0") == 1.5
    assert client.pull(dtype="float64")["w"].dtype == np.float64
    for dtype in ("bogus", "int32"):
        with refused(client, ps.DtypeMismatchError):
            client.read("w", dtype=dtype)
        with refused(client, ps.DtypeMismatchError):
            client.pull(dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "bool", "complex64", "int8", "float64"])
def test_reads_into_arrays_of_the_caller(client: ps.ParameterClient, dtype: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    client.create_variable("w", value=array)
    mine = np.zeros_like(array)
    got, tag = client.read("w", out=mine, with_version=True)
    assert got is mine
    np.testing.assert_array_equal(mine, array)
    part = np.zeros((2, 4), array.dtype)
    assert client.read("w", slice=np.s_[:, 1], out=part) is part
    np.testing.assert_array_equal(part, array[:, 1])
    strided = np.zeros((2, 3, 8), array.dtype)
    client.read("w", out=strided[:, :, ::2])
    np.testing.assert_array_equal(strided[:, :, ::2], array)
    assert client.read("w", out=part, after_version=tag) is None
    np.testing.assert_array_equal(part, array[:, 1])


def test_reads_into_arrays_that_do_not_fit(client: ps.ParameterClient) -> None:
    client.create_variable("w", value=f32(1, 2))
    client.create_variable("empty", value=np.zeros((0, 3), np.float32))
    client.create_variable("scalar", value=1.5)
    read_only = np.zeros(2, np.float32)
    read_only.flags.writeable = False
    out: Any
    for out in (np.zeros(3, np.float32), np.zeros(2, np.float64), np.zeros(2, ">f4"), read_only, [0.0, 0.0]):
        with pytest.raises(
            ps.InvalidRequestError, match=r"^out: wanted .* (No array was written to|Nothing was sent)\."
        ):
            client.read("w", out=out)
        assert not np.any(out)
    assert client.read("empty", out=np.zeros((0, 3), np.float32)).shape == (0, 3)
    assert client.read("scalar", out=np.zeros((), np.float32)) == 1.5


def test_what_was_read_belongs_to_the_reader(client: ps.ParameterClient) -> None:
    client.create_variable("w", value=f32(1, 2))
    for array in (client.read("w"), client.pull()["w"]):
        array += 5
    assert value(client, "w") == ([1, 2], 1)


def test_unchanged_since_the_tag(client: ps.ParameterClient) -> None:
    tag = client.create_variable("w", value=f32(1)).tag
    same = client.transport.deliver(Message("read", {"name": "w", "if_none_match": tag}), 10)
    assert (same.status, same.body) == (304, None)
    client.assign("w", f32(2))
    changed = client.transport.deliver(Message("read", {"name": "w", "if_none_match": tag}), 10)
    assert (changed.status, changed.body.array.tolist()) == (200, [2])
    assert changed.body.meta["version"] == 2


def waiting(call: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    return thread, found


def test_a_reader_waits_for_the_next_version(client: ps.ParameterClient, door: Door) -> None:
    tag = client.create_variable("w", value=f32(1)).tag
    with door.client() as other:
        thread, found = waiting(lambda: other.read("w", after_version=tag, wait_s=30, with_version=True))
        client.assign("w", f32(2))
        thread.join(20)
        ((array, seen),) = found
    assert array.tolist() == [2]
    assert seen.endswith("-2")


def test_a_reader_who_is_behind_does_not_wait(client: ps.ParameterClient) -> None:
    tag = client.create_variable("w", value=f32(1)).tag
    client.assign("w", f32(2))
    for after in (tag, 1, 0, "0123456789abcdef-2", "0123456789abcdef-9"):
        found = client.read("w", after_version=after, wait_s=30)
        assert found is not None
        assert found.tolist() == [2]


def test_a_reader_waits_no_longer_than_asked(client: ps.ParameterClient) -> None:
    tag = client.create_variable("w", value=f32(1)).tag
    assert client.read("w", after_version=tag, wait_s=0.05) is None
    assert client.read("w", after_version=tag, wait_s=0) is None
    assert client.read("w", after_version=tag) is None


@pytest.mark.parametrize(
    "arguments",
    [{"wait_s": 61, "after_version": 1}, {"wait_s": -1, "after_version": 1}, {"after_version": "x"}],
)
def test_waits_that_are_refused(client: ps.ParameterClient, arguments: dict[str, Any]) -> None:
    client.create_variable("w", value=f32(1))
    with refused(client, ps.InvalidRequestError):
        client.read("w", **arguments)
