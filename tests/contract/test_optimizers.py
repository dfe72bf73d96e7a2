"""Optimizers on the server: TensorFlow's steps, slots as variables, one transaction, behind every door."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import paramserver_client as ps
from paramserver_wire.messages import Message
from support.contract import everything, f32, refused, value
from support.doors import Door
from support.optimizer_traces import START, TRACES, Trace, gradient


@pytest.fixture(autouse=True)
def _no_optimizers(client: ps.ParameterClient) -> None:
    for each in client.optimizers():
        client.delete_optimizer(each.name)


def make(client: ps.ParameterClient, spec: dict[str, Any], name: str = "O") -> ps.OptimizerInfo:
    settings = dict(spec)
    return client.create_optimizer(name, settings.pop("type"), **settings)


# ---------------------------------------------------------------------------------------------------- steps


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.name)
def test_a_live_server_steps_as_tensorflow_did(client: ps.ParameterClient, trace: Trace) -> None:
    client.create_variable("v", value=np.array(START, trace.dtype))
    client.create_variable("global_step", value=np.int64(0))
    info = make(client, trace.spec)
    names = [f"v/O{tail}" for tail in ("", "_1", "_2")]
    for number, expected in enumerate(trace.steps, start=1):
        g = gradient(client.read("v"))
        applied = client.push_gradients({"v": g}, "O", global_step="global_step", returns=["v"])
        np.testing.assert_allclose(applied.values["v"], expected, rtol=0, atol=1e-6)
        assert applied.global_step == number
        assert applied.versions == {"v": number + 1, "global_step": number + 1}
    info = client.get_optimizer("O")
    slots = list(info.slots.get("v", ()))
    assert slots == names[: len(slots)]
    for name in slots:
        slot = client.get_variable(name)
        assert (slot.shape, slot.dtype.name, slot.version) == ((3,), trace.dtype, len(trace.steps))
        assert (slot.trainable, slot.collections) == (False, ("variables",))
    for name in info.scalars:
        assert (client.get_variable(name).shape, client.get_variable(name).version) == ((), len(trace.steps))
    assert len(client.list_variables()) == 2 + len(slots) + len(info.scalars)


def test_variables_of_an_optimizer_may_be_named_by_its_maker(client: ps.ParameterClient) -> None:
    client.create_variable("v", value=f32(1))
    made = client.create_optimizer(
        "O", "adam", slots={"v": ["v/mean", "second/of/v"]}, scalars=["net/beta1_power", "net/beta2_power"]
    )
    assert made.slots == {"v": ("v/mean", "second/of/v")}
    assert [each.name for each in client.list_variables()] == ["v"]
    client.push_gradients({"v": f32(1)}, "O")
    names = ["net/beta1_power", "net/beta2_power", "second/of/v", "v", "v/mean"]
    assert [each.name for each in client.list_variables()] == names
    again = client.create_optimizer("O", "adam", slots={"w": ["w/a", "w/b"]})
    assert again.slots == {"v": ("v/mean", "second/of/v"), "w": ("w/a", "w/b")}
    assert again.scalars == ("net/beta1_power", "net/beta2_power")
    with pytest.raises(ps.SpecMismatchError, match=r"calls the slots of 'v' \['v/mean', 'second/of/v'\] already"):
        client.create_optimizer("O", "adam", slots={"v": ["other", "names"]})
    with pytest.raises(ps.SpecMismatchError, match=r"its scalars \['net/beta1_power'"):
        client.create_optimizer("O", "adam", scalars=["a", "b"])
    assert client.get_optimizer("O") == again
    client.delete_variable("v")
    assert [each.name for each in client.list_variables()] == names[:2]


def test_every_wrong_name_of_a_slot_is_listed(client: ps.ParameterClient) -> None:
    with pytest.raises(ps.InvalidRequestError) as caught:
        client.create_optimizer(
            "O", "momentum", learning_rate=1.0, momentum=0.5, scalars=["x"],
            slots={"v": ["v/a", "v/b"], "w": ["a:b"], "x": ["v/a"], "../y": ["y"]},
        )  # fmt: skip
    told = [each["detail"] for each in caught.value.errors]
    for number, wanted in enumerate(
        (
            "wanted 1 names for momentum, got 2",
            "scalars: wanted 0",
            "cannot be called so",
            "given twice",
            "no variable is",
        )
    ):
        assert wanted in told[number], told
    with pytest.raises(ps.OptimizerNotFoundError):
        client.get_optimizer("O")


def test_adams_scalars_are_powers(client: ps.ParameterClient) -> None:
    client.create_variable("v", value=f32(1))
    make(client, {"type": "adam", "beta1": 0.5, "beta2": 0.25}, "net/Adam")
    client.push_gradients({"v": f32(1)}, "net/Adam")
    assert client.get_optimizer("net/Adam").scalars == ("net/Adam/beta1_power", "net/Adam/beta2_power")
    assert (client.read("net/Adam/beta1_power"), client.read("net/Adam/beta2_power")) == (0.25, 0.0625)


def test_a_push_is_one_commit_over_all(client: ps.ParameterClient) -> None:
    client.create_variable("a", value=f32(1, 2))
    client.create_variable("b", value=np.ones((3, 2)))
    client.create_variable("a/average", value=f32(0, 0), trainable=False)
    make(client, {"type": "momentum", "learning_rate": 0.5, "momentum": 0.5})
    commit = client.server()["commit"]
    applied = client.push_gradients(
        {"a": [1.0, 1.0], "b": (np.ones((2, 2)), [2, 2])},
        "O",
        hyper={"learning_rate": np.float32(1)},
        then=[
            ps.Update("a/average", "ema", source="a", decay=0.5),
            ps.Update("a", "assign_add", f32(10, 10)),
            ps.Update("b/O", "assign_add", np.ones((3, 2))),
        ],
        returns=["a", "b", "a/average", "b/O"],
    )
    assert applied.commit == commit + 1 == client.server()["commit"]
    assert applied.global_step is None
    assert {name: array.tolist() for name, array in applied.values.items()} == {
        "a": [10, 11],
        "b": [[1, 1], [1, 1], [-1, -1]],
        "a/average": [0, 0.5],
        "b/O": [[1, 1], [1, 1], [3, 3]],
    }
    assert applied.versions == {"a": 3, "b": 2, "a/average": 2, "b/O": 2}


class Slices:
    """What frameworks call IndexedSlices."""

    def __init__(self, values: Any, indices: Any) -> None:
        self.values, self.indices = values, indices


@pytest.mark.parametrize("form", [lambda v, i: (v, i), lambda v, i: (v.tolist(), i.tolist()), Slices])
def test_only_touched_rows_move_but_adams(client: ps.ParameterClient, form: Callable[..., Any]) -> None:
    for name in ("v", "w"):
        client.create_variable(name, value=np.ones((4, 2), np.float32))
    make(client, {"type": "adagrad", "learning_rate": 1.0}, "A")
    make(client, {"type": "adam", "learning_rate": 1.0}, "B")
    rows = form(np.ones((2, 2), np.float32), np.array([1, 1]))
    for _ in range(2):
        client.push_gradients({"v": rows}, "A")
        client.push_gradients({"w": rows}, "B")
    assert (client.read("v")[[0, 2, 3]] == 1).all()
    np.testing.assert_allclose(client.read("v/A")[1], [0.1 + 8] * 2, rtol=1e-6)
    client.push_gradients({"w": form(np.ones((1, 2), np.float32), np.array([0]))}, "B")
    moved = client.read("w")
    client.push_gradients({"w": form(np.ones((1, 2), np.float32), np.array([0]))}, "B")
    assert (client.read("w")[1] < moved[1]).all()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_every_float_is_trained(client: ps.ParameterClient, dtype: Any) -> None:
    client.create_variable("v", value=np.ones(2, dtype))
    make(client, {"type": "rmsprop", "learning_rate": 0.5})
    client.push_gradients({"v": [1.0, -1.0]}, "O")
    assert client.read("v/O").dtype == dtype
    np.testing.assert_allclose(client.read("v").astype(float), [0.5, 1.5], rtol=1e-2)


def test_slots_count_for_the_optimizer_they_belong_to(client: ps.ParameterClient) -> None:
    client.create_variable("v", value=f32(1))
    make(client, {"type": "momentum", "learning_rate": 1.0, "momentum": 1.0}, "M")
    make(client, {"type": "adagrad", "learning_rate": 1.0, "initial_accumulator_value": 1.0}, "A")
    for name in ("M", "A", "M"):
        client.push_gradients({"v": f32(1)}, name)
    assert (client.read("v/M").tolist(), client.read("v/A").tolist()) == ([2], [2])


# ---------------------------------------------------------------------------------------------------- the resource


def test_the_life_of_an_optimizer(client: ps.ParameterClient) -> None:
    made = client.create_optimizer("O", "adam", learning_rate=0.5)
    assert (made.name, made.type, made.scalars, made.slots) == ("O", "adam", (), {})
    assert made.hyper == {"learning_rate": 0.5, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    assert client.get_optimizer("O") == made
    assert client.optimizers() == [made]
    commit = client.server()["commit"]
    assert client.create_optimizer("O", "adam", learning_rate=0.5) == made
    assert client.server()["commit"] == commit
    client.create_variable("v", value=f32(1))
    client.push_gradients({"v": f32(1)}, "O")
    changed = client.create_optimizer("O", "adam", learning_rate=0.25)
    assert (changed.hyper["learning_rate"], changed.slots) == (0.25, {"v": ("v/O", "v/O_1")})
    client.delete_optimizer("O")
    assert [each.name for each in client.list_variables()] == ["v"]
    with refused(client, ps.OptimizerNotFoundError, "O"):
        client.get_optimizer("O")
    with refused(client, ps.OptimizerNotFoundError, "O"):
        client.delete_optimizer("O")
    with refused(client, ps.OptimizerNotFoundError, "O"):
        client.push_gradients({"v": f32(1)}, "O")


def test_what_settles_the_slots_stays_while_there_are_any(client: ps.ParameterClient) -> None:
    client.create_variable("v", value=f32(1))
    make(client, {"type": "momentum", "learning_rate": 1.0, "momentum": 0.5})
    make(client, {"type": "rmsprop", "learning_rate": 1.0})
    client.push_gradients({"v": f32(1)}, "O")
    for spec in ({"type": "adam"}, {"type": "rmsprop", "learning_rate": 1.0, "centered": True}):
        with refused(client, ps.SpecMismatchError, "O") as raised:
            make(client, spec)
        assert "delete the optimizer first" in str(raised.value)
    client.delete_variable("v")
    assert client.list_variables() == []
    assert make(client, {"type": "adam"}).type == "adam"


def test_deleting_a_variable_deletes_its_slots(client: ps.ParameterClient) -> None:
    for name in ("net/v", "net/w", "u"):
        client.create_variable(name, value=f32(1))
    make(client, {"type": "adam"}, "A")
    make(client, {"type": "momentum", "learning_rate": 1.0, "momentum": 0.5}, "M")
    for optimizer in ("A", "M"):
        client.push_gradients({name: f32(1) for name in ("net/v", "net/w", "u")}, optimizer)
    client.delete_variable("u")
    assert [each.name for each in client.list_variables(prefix="u")] == []
    gone = client.delete_variables(prefix="net/v", confirm=True)
    assert sorted(gone) == ["net/v", "net/v/A", "net/v/A_1", "net/v/M"]
    assert client.get_optimizer("A").slots == {"net/w": ("net/w/A", "net/w/A_1")}
    client.create_variable("u", value=f32(5))
    assert client.push_gradients({"u": f32(1)}, "M").versions == {"u": 2}
    assert client.read("u/M").tolist() == [1]


def test_a_slot_that_was_deleted_starts_again(client: ps.ParameterClient) -> None:
    client.create_variable("v", value=f32(1))
    make(client, {"type": "momentum", "learning_rate": 1.0, "momentum": 1.0})
    client.push_gradients({"v": f32(1)}, "O")
    client.delete_variable("v/O")
    client.push_gradients({"v": f32(1)}, "O")
    assert client.read("v/O").tolist() == [1]


def test_a_variable_that_could_be_a_slot_is_taken_on(client: ps.ParameterClient) -> None:
    """As after a restore of all variables into a new server, whose optimizers are made anew."""
    client.create_variable("v", value=f32(0))
    client.create_variable("v/O", value=f32(4), trainable=False)
    make(client, {"type": "momentum", "learning_rate": 1.0, "momentum": 0.5})
    client.push_gradients({"v": f32(1)}, "O")
    assert (client.read("v/O").tolist(), client.read("v").tolist()) == ([3], [-3])
    client.delete_optimizer("O")
    assert [each.name for each in client.list_variables()] == ["v"]


@pytest.mark.parametrize(
    "taken",
    [
        {"value": f32(1, 2), "trainable": False},
        {"value": np.ones(1), "trainable": False},
        {"value": f32(1)},
    ],
)
def test_what_stands_where_a_slot_would(client: ps.ParameterClient, taken: dict[str, Any]) -> None:
    client.create_variable("v", value=f32(0))
    client.create_variable("v/O", **taken)
    make(client, {"type": "momentum", "learning_rate": 1.0, "momentum": 0.5})
    with refused(client, ps.SpecMismatchError, "v/O"):
        client.push_gradients({"v": f32(1)}, "O")


def test_two_optimizers_never_share_a_slot(client: ps.ParameterClient) -> None:
    client.create_variable("v", value=f32(0))
    make(client, {"type": "adam"}, "A")
    make(client, {"type": "momentum", "learning_rate": 1.0, "momentum": 0.5}, "A_1")
    client.push_gradients({"v": f32(1)}, "A")
    with refused(client, ps.SpecMismatchError, "v/A_1"):
        client.push_gradients({"v": f32(1)}, "A_1")


def test_slot_names_have_an_end(client: ps.ParameterClient) -> None:
    name, optimizer = "v" * 200, "o" * 60
    client.create_variable(name, value=f32(0))
    make(client, {"type": "momentum", "learning_rate": 1.0, "momentum": 0.5}, optimizer)
    with refused(client, ps.InvalidNameError):
        client.push_gradients({name: f32(1)}, optimizer)


@pytest.mark.parametrize(
    "spec",
    [
        {"type": "sgd", "learning_rate": 0.1},
        {"type": "gradient_descent"},
        {"type": "gradient_descent", "learning_rate": -1.0},
        {"type": "gradient_descent", "learning_rate": float("nan")},
        {"type": "gradient_descent", "learning_rate": True},
        {"type": "gradient_descent", "learning_rate": "0.1"},
        {"type": "gradient_descent", "learning_rate": 0.1, "momentum": 0.5},
        {"type": "gradient_descent", "learning_rate": 0.1, "rate": 0.5},
        {"type": "momentum", "learning_rate": 0.1, "momentum": 0.5, "use_nesterov": 1},
        {"type": "adam", "beta1": 1.0},
    ],
)
def test_what_is_no_optimizer(client: ps.ParameterClient, spec: dict[str, Any]) -> None:
    with refused(client, ps.InvalidRequestError):
        make(client, spec)
    assert client.optimizers() == []


@pytest.mark.parametrize("name", ["..", "a b", "-x", "n" * 201])
def test_an_optimizer_has_a_name(client: ps.ParameterClient, name: str) -> None:
    with refused(client, ps.InvalidNameError):
        client.create_optimizer(name, "adam")


# ---------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "kind", "name"),
    [
        ({"gradients": {"nope": f32(1)}}, ps.VariableNotFoundError, "nope"),
        ({"gradients": {"v": f32(1)}}, ps.ShapeMismatchError, "v"),
        ({"gradients": {"v": 1.0}}, ps.ShapeMismatchError, "v"),
        ({"gradients": {"v": np.ones(2)}}, ps.DtypeMismatchError, "v"),
        ({"gradients": {"v": np.ones(2, np.complex64)}}, ps.DtypeMismatchError, "v"),
        ({"gradients": {"v": f32(1, np.nan)}}, ps.NonFiniteError, "v"),
        ({"gradients": {"n": np.array([1])}}, ps.DtypeMismatchError, "n"),
        ({"gradients": {"c": np.ones(1, np.complex64)}}, ps.DtypeMismatchError, "c"),
        ({"gradients": {"flag": np.array([True])}}, ps.DtypeMismatchError, "flag"),
        ({"gradients": {"u": f32(1)}}, ps.UninitializedError, "u"),
        ({"gradients": {"v": (f32(1), [2])}}, ps.IndexOutOfRangeError, "v"),
        ({"gradients": {"v": (f32(1), [-1])}}, ps.IndexOutOfRangeError, "v"),
        ({"gradients": {"v": (f32(1), f32(0))}}, ps.DtypeMismatchError, "v"),
        ({"gradients": {"v": (f32(1, 2), [0])}}, ps.ShapeMismatchError, "v"),
        ({"gradients": {"scalar": (f32(1), [0])}}, ps.ShapeMismatchError, "scalar"),
        ({"gradients": {}}, ps.InvalidRequestError, ""),
        ({"hyper": {"learning_rate": -1.0}}, ps.InvalidRequestError, "O"),
        ({"hyper": {"learning_rate": float("nan")}}, ps.InvalidRequestError, ""),
        ({"hyper": {"learning_rate": None}, "gradients": {"nope": f32(1)}}, ps.VariableNotFoundError, "nope"),
        ({"hyper": {"rate": 0.1}}, ps.InvalidRequestError, "O"),
        ({"hyper": {"use_nesterov": True}}, ps.InvalidRequestError, "O"),
        ({"hyper": {"type": "adam"}}, ps.InvalidRequestError, "O"),
        ({"global_step": "nope"}, ps.VariableNotFoundError, "nope"),
        ({"global_step": "v"}, ps.DtypeMismatchError, "v"),
        ({"global_step": "n"}, ps.ShapeMismatchError, "n"),
        ({"then": [ps.Update("nope", "assign", f32(1))]}, ps.VariableNotFoundError, "nope"),
        ({"then": [ps.Update("v", "assign", f32(1))]}, ps.ShapeMismatchError, "v"),
        ({"then": [ps.Update("v", "assign_add", f32(1, 1), if_version=1)]}, ps.VersionMismatchError, "v"),
        ({"returns": ["nope"]}, ps.VariableNotFoundError, "nope"),
        ({"returns": ["u"]}, ps.UninitializedError, "u"),
        ({"base_commit": -1, "max_staleness": 1}, ps.InvalidRequestError, ""),
        ({"base_commit": 1, "max_staleness": -1}, ps.InvalidRequestError, ""),
    ],
)
def test_a_push_of_gradients_is_refused_whole(
    client: ps.ParameterClient, arguments: dict[str, Any], kind: Any, name: str
) -> None:
    client.create_variable("v", value=f32(1, 2))
    client.create_variable("w", value=f32(1))
    client.create_variable("n", value=np.array([1]))
    client.create_variable("c", value=np.ones(1, np.complex64))
    client.create_variable("flag", value=np.array([True]))
    client.create_variable("scalar", value=np.float32(1))
    client.create_variable("u", (1,))
    make(client, {"type": "momentum", "learning_rate": 1.0, "momentum": 0.5})
    given = {"gradients": {"v": f32(1, 1), "w": f32(1)}, **arguments}
    if arguments.get("gradients"):
        given["gradients"] = {"w": f32(1), **arguments["gradients"]}
    info = client.get_optimizer("O")
    with refused(client, kind, *([name] if name else [])):
        client.push_gradients(given.pop("gradients"), "O", **given)
    assert client.get_optimizer("O") == info


def test_all_differences_are_listed(client: ps.ParameterClient) -> None:
    client.create_variable("v", value=f32(1, 2))
    client.create_variable("n", value=np.array([1]))
    make(client, {"type": "adam"})
    with refused(client, ps.InvalidRequestError, "O", "v", "n", "nope", "gone", "step") as raised:
        client.push_gradients(
            {"v": f32(1), "n": f32(1), "nope": f32(1)},
            "O",
            hyper={"beta1": 2, "rate": 1},
            global_step="step",
            then=[ps.Update("gone", "assign", [1.0])],
        )
    assert [each["code"] for each in raised.value.errors] == [
        "invalid_request",
        "invalid_request",
        "shape_mismatch",
        "dtype_mismatch",
        "dtype_mismatch",
        "variable_not_found",
        "variable_not_found",
        "variable_not_found",
    ]


def test_what_is_too_old_is_refused(client: ps.ParameterClient) -> None:
    client.create_variable("v", value=f32(0))
    make(client, {"type": "gradient_descent", "learning_rate": 1.0})
    base = client.pull().commit
    for staleness in range(3):
        with refused(client, ps.StaleUpdateError) if staleness else _nothing():
            client.push_gradients({"v": f32(1)}, "O", base_commit=base, max_staleness=staleness - 1 if staleness else 0)
        client.push_gradients({"v": f32(1)}, "O", base_commit=base, max_staleness=10)
        client.push_gradients({"v": f32(1)}, "O", base_commit=base)
        client.push_gradients({"v": f32(1)}, "O", max_staleness=0)
    assert value(client, "v")[0] == [-10]


class _nothing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        return None


def test_what_is_not_finite_may_be_allowed(client: ps.ParameterClient) -> None:
    client.create_variable("v", value=f32(0))
    make(client, {"type": "gradient_descent", "learning_rate": 1.0})
    client.push_gradients({"v": f32(np.inf)}, "O", allow_non_finite=True)
    assert client.read("v").tolist() == [-np.inf]


# ---------------------------------------------------------------------------------------------------- repeats, disks


def test_a_repeat_steps_once(client: ps.ParameterClient) -> None:
    client.create_variable("v", value=f32(0))
    client.create_variable("step", value=np.int32(0))
    make(client, {"type": "adam"})
    arguments = {"name": "O", "gradients": {"v": f32(1)}, "global_step": "step", "returns": ["v"]}
    first = client.transport.deliver(Message("apply_gradients", arguments, "twice-1"), 10)
    before = everything(client)
    again = client.transport.deliver(Message("apply_gradients", arguments, "twice-1"), 10)
    assert (again.replayed, again.body["global_step"], again.body["versions"]) == (True, 1, first.body["versions"])
    assert again.body["tensors"]["v"].array.tolist() == first.body["tensors"]["v"].array.tolist()
    assert everything(client) == before


def test_slots_are_saved_and_restored_with_their_variables(client: ps.ParameterClient) -> None:
    client.create_variable("v", value=f32(0, 0))
    make(client, {"type": "adam", "learning_rate": 0.5})
    client.push_gradients({"v": f32(1, 2)}, "O")
    client.save("mid")
    one = client.push_gradients({"v": f32(2, 1)}, "O", returns=["v", "v/O", "v/O_1"]).values
    saved = {name: array.tolist() for name, array in one.items()}
    assert sorted(client.restore("mid").restored) == ["O/beta1_power", "O/beta2_power", "v", "v/O", "v/O_1"]
    again = client.push_gradients({"v": f32(2, 1)}, "O", returns=["v", "v/O", "v/O_1"]).values
    assert {name: array.tolist() for name, array in again.items()} == saved


def test_initializing_anew_resets_slots(client: ps.ParameterClient) -> None:
    client.create_variable("v", (1,), "float32", "zeros", initialize=True)
    make(client, {"type": "adam", "beta1": 0.5})
    client.push_gradients({"v": f32(1)}, "O")
    assert client.initialize().initialized == ()
    client.initialize(only_uninitialized=False)
    assert (client.read("v/O").tolist(), client.read("O/beta1_power")) == ([0], 0.5)


def test_frames_of_an_app_in_another_language(client: ps.ParameterClient, door: Door) -> None:
    """Gradients as a file, and as JSON with rows: what curl sends."""
    if door.url is None:
        return
    import httpx
    from safetensors.numpy import save

    client.create_variable("v", value=f32(0, 0))
    make(client, {"type": "gradient_descent", "learning_rate": 1.0})
    with httpx.Client(base_url=door.url, trust_env=False) as http:
        path = "/v1/optimizers/O:apply_gradients"
        sent = http.post(path, content=save({"v": f32(1, 2)}), headers={"content-type": "application/x-safetensors"})
        assert sent.status_code == 200, sent.text
        sent = http.post(path, json={"gradients": {"v": {"value": [5], "indices": [1]}}, "return": ["v"]})
        assert sent.json()["tensors"]["v"]["value"] == [-1, -7]
        assert sent.json()["global_step"] is None
        for bad in ({"value": [5], "indices": [1], "axis": 0}, {"indices": [1]}, None):
            answer = http.post(path, json={"gradients": {"v": bad}})
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
