from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import numpy as np
import pytest

import paramserver_client as ps
from paramserver_client import calls as call_modules
from paramserver_client import client as client_module
from paramserver_wire.messages import OPERATIONS, Answer, Message
from paramserver_wire.tensors import Tensor


class Recorder:
    """A `Transport` that writes messages down and answers as it was told."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.messages: list[Message] = []
        self.timeouts: list[float] = []
        self.closed = False

    def deliver(self, message: Message, timeout_s: float) -> Answer:
        self.messages.append(message)
        self.timeouts.append(timeout_s)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Answer) else Answer(answer)

    def close(self) -> None:
        self.closed = True


def recorded(*answers: Any, **settings: Any) -> tuple[ps.ParameterClient, Recorder]:
    recorder = Recorder(*answers)
    return ps.ParameterClient(transport=recorder, **settings), recorder


def modules_with_examples() -> Iterator[ModuleType]:
    yield from (ps, client_module)
    for found in pkgutil.iter_modules(call_modules.__path__, f"{call_modules.__name__}."):
        module = importlib.import_module(found.name)
        if ">>> " in inspect.getsource(module):
            yield module


@pytest.mark.parametrize("module", list(modules_with_examples()), ids=lambda module: module.__name__)
def test_the_examples_in_the_docstrings_run(module: ModuleType) -> None:
    failed, run = doctest.testmod(module, extraglobs={"ParameterClient": ps.ParameterClient, "ps": ps})
    assert run > 0
    assert not failed


def test_every_public_method_is_documented() -> None:
    for name, member in inspect.getmembers(ps.ParameterClient):
        if not name.startswith("_"):
            assert inspect.getdoc(member), name


def test_without_a_url_it_is_a_server_of_its_own() -> None:
    with ps.ParameterClient() as one, ps.ParameterClient() as other:
        one.create_variable("w", value=1.0)
        assert other.list_variables() == []


def test_the_environment_gives_url_and_token(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={})

    monkeypatch.setenv("PARAMSERVER_TOKEN", "from-outside")
    ps.ParameterClient(transport=httpx.MockTransport(answer)).server()
    ps.ParameterClient(token="given", transport=httpx.MockTransport(answer)).server()
    assert [request.headers["authorization"] for request in asked] == ["Bearer from-outside", "Bearer given"]
    monkeypatch.setenv("PARAMSERVER_URL", "http://from-outside:7")
    with ps.ParameterClient() as client:
        assert isinstance(client.transport, ps.HttpTransport)
        assert client.transport.url == "http://from-outside:7"


def test_a_data_dir_is_embedded_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PARAMSERVER_URL", "http://from-outside:7")
    with ps.ParameterClient(data_dir=tmp_path / "data") as client:
        client.create_variable("w", value=[1.0, 2.0])
    with ps.ParameterClient(data_dir=tmp_path / "data") as client:
        np.testing.assert_array_equal(client.read("w"), [1, 2])


@pytest.mark.parametrize("given", [{"url": "http://h"}, {"transport": Recorder()}])
def test_a_data_dir_and_a_server_exclude_each_other(given: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got both"):
        ps.ParameterClient(data_dir=tmp_path, **given)


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan")])
def test_a_timeout_is_positive(timeout_s: float) -> None:
    with pytest.raises(ValueError, match="timeout_s"):
        ps.ParameterClient(timeout_s=timeout_s)


def test_closing_closes_the_transport() -> None:
    client, recorder = recorded()
    with client:
        assert not recorder.closed
    assert recorder.closed


def test_writes_carry_ids_and_reads_do_not() -> None:
    written = {"commit": 1, "version": 1}
    client, recorder = recorded(written, {"initialized": True}, written, client_id="me")
    client.assign("w", 1.0)
    client.is_initialized("w")
    client.assign("w", 1.0)
    ids = [message.request_id for message in recorder.messages]
    assert ids[1] is None
    assert str(ids[0]).startswith("me.")
    assert [str(each).rpartition("-")[2] for each in (ids[0], ids[2])] == ["1", "2"]


def test_too_old_on_a_first_try_is_sent_again_as_a_new_client() -> None:
    client, recorder = recorded(ps.TooOldError("forgotten"), {"commit": 1, "version": 1})
    client.assign("w", 1.0)
    first, second = (str(message.request_id) for message in recorder.messages)
    assert first.rpartition("-")[0] != second.rpartition("-")[0]
    assert second.endswith("-1")
    assert recorder.messages[0].arguments == recorder.messages[1].arguments
    assert recorder.timeouts[1] <= recorder.timeouts[0]


def test_too_old_twice_is_raised() -> None:
    client, recorder = recorded(ps.TooOldError("forgotten"), ps.TooOldError("again"))
    with pytest.raises(ps.TooOldError, match="again"):
        client.assign("w", 1.0)
    assert len(recorder.messages) == 2


def test_too_old_on_a_retry_is_not_sent_again() -> None:
    client, recorder = recorded(ps.OutcomeUnknownError("lost"))
    with pytest.raises(ps.OutcomeUnknownError):
        client.assign("w", 1.0)
    assert len(recorder.messages) == 1


def test_a_long_poll_has_its_wait_on_top_of_the_deadline() -> None:
    client, recorder = recorded(Answer(None, 204), timeout_s=5)
    assert client.read("w", after_version="x-1", wait_s=30) is None
    assert recorder.timeouts == [35]


def test_defaults_are_left_to_the_server() -> None:
    client, recorder = recorded({"commit": 1, "version": 1})
    client.assign("w", 1.0)
    assert set(recorder.messages[0].arguments) == {"name", "value"}


def test_lists_follow_their_pages() -> None:
    pages = [{"variables": [], "next_page_token": token} for token in ("a", "b", None)]
    client, recorder = recorded(*pages)
    assert client.list_variables(prefix="p") == []
    assert [message.arguments.get("page_token") for message in recorder.messages] == [None, "a", "b"]


def calls(client: ps.ParameterClient) -> dict[str, Callable[[], Any]]:
    return {
        "list_variables": client.list_variables,
        "create_variable": lambda: client.create_variable("w"),
        "get_variable": lambda: client.get_variable("w"),
        "update_variable": lambda: client.update_variable("w"),
        "delete_variable": lambda: client.delete_variable("w"),
        "delete_variables": lambda: client.delete_variables(prefix=""),
        "read": lambda: client.read("w"),
        "assign": lambda: client.assign("w", 1),
        "assign_add": lambda: client.assign_add("w", 1),
        "assign_sub": lambda: client.assign_sub("w", 1),
        "gather": lambda: client.gather("w", [0]),
        "scatter_update": lambda: client.scatter_update("w", [0], [1]),
        "scatter_add": lambda: client.scatter_add("w", [0], [1]),
        "scatter_sub": lambda: client.scatter_sub("w", [0], [1]),
        "initialize_variable": lambda: client.initialize_variable("w"),
        "initialize": client.initialize,
        "is_initialized": lambda: client.is_initialized("w"),
        "report_uninitialized": client.report_uninitialized,
        "assert_initialized": client.assert_initialized,
        "pull": client.pull,
        "push": lambda: client.push({"w": 1}),
        "list_scopes": client.scopes,
        "get_scope": lambda: client.get_scope("net"),
        "set_scope": lambda: client.set_scope("net", dtype="float64"),
        "delete_scope": lambda: client.delete_scope("net"),
        "list_collections": client.collections,
        "get_collection": lambda: client.get_collection("own"),
        "add_to_collection": lambda: client.add_to_collection("own", "w"),
        "remove_from_collection": lambda: client.remove_from_collection("own", ["w"]),
        "create_optimizer": lambda: client.create_optimizer("O", "adam"),
        "get_optimizer": lambda: client.get_optimizer("O"),
        "list_optimizers": client.optimizers,
        "delete_optimizer": lambda: client.delete_optimizer("O"),
        "apply_gradients": lambda: client.push_gradients({"w": 1.0}, "O"),
        "export_variables": lambda: client.export_safetensors(Path(tempfile.gettempdir()) / "never"),
        "download_checkpoint": lambda: client.download_checkpoint(Path(tempfile.gettempdir()) / "never"),
        "import_variables": lambda: client.import_safetensors(__file__),
        "save": client.save,
        "list_checkpoints": client.checkpoints,
        "get_checkpoint": client.get_checkpoint,
        "delete_checkpoint": lambda: client.delete_checkpoint("a"),
        "restore": client.restore,
        "server": client.server,
    }


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_has_a_method(operation: str) -> None:
    client, recorder = recorded(ps.InvalidRequestError("seen"))
    with pytest.raises(ps.InvalidRequestError, match="seen"):
        calls(client)[operation]()
    (message,) = recorder.messages
    assert message.operation == operation
    assert message.arguments.keys() <= OPERATIONS[operation].places.keys()


def pulled(**arrays: Any) -> dict[str, Any]:
    meta = {"version": 1, "incarnation": "x"}
    return {"commit": 1, "tensors": {name: Tensor(np.asarray(array), meta) for name, array in arrays.items()}}


def test_out_is_filled_and_named() -> None:
    client, recorder = recorded(pulled(a=np.ones(2), b=np.ones(3)))
    out = {"a": np.zeros(2), "b": np.zeros(3)}
    snapshot = client.pull(out=out)
    assert recorder.messages[0].arguments["names"] == ["a", "b"]
    assert snapshot["a"] is out["a"]
    np.testing.assert_array_equal(out["b"], [1, 1, 1])


def test_out_may_be_a_strided_view() -> None:
    client, _ = recorded(pulled(a=np.ones((2, 2))))
    whole = np.zeros((2, 4))
    client.pull(out={"a": whole[:, ::2]})
    np.testing.assert_array_equal(whole, [[1, 0, 1, 0], [1, 0, 1, 0]])


def test_out_is_not_touched_when_anything_is_off() -> None:
    client, _ = recorded(pulled(a=np.ones(2), b=np.ones(3)))
    out = {"a": np.zeros(2), "b": np.zeros(4)}
    with pytest.raises(ps.InvalidRequestError, match=r"out\['b'\]: wanted shape \[3\]"):
        client.pull(["a", "b"], out=out)
    assert not out["a"].any()


def test_what_stayed_the_same_is_not_touched() -> None:
    client, _ = recorded(pulled(a=np.ones(2)))
    out = {"a": np.zeros(2), "b": np.full(3, 7.0)}
    assert list(client.pull(out=out, if_versions={"b": "x-1"})) == ["a"]
    assert out["b"].tolist() == [7, 7, 7]


def test_threads_share_a_client() -> None:
    with ps.ParameterClient() as client:
        client.create_variable("n", value=0)
        threads = [threading.Thread(target=lambda: [client.assign_add("n", 1) for _ in range(100)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.read("n") == 400
        assert client.get_variable("n").version == 401


def test_a_wait_whose_last_question_runs_out_of_time_still_names_what_is_missing() -> None:
    errors = [{"name": "b", "code": "uninitialized", "detail": "it has no value"}]
    unmet = ps.UninitializedError("variable 'b' has no value yet", errors=errors)
    client, _ = recorded(unmet, ps.DeadlineExceededError("too late"))
    with pytest.raises(ps.DeadlineExceededError, match="variable 'b' has no value yet") as raised:
        client.wait_until_initialized(["a", "b"], timeout_s=30)
    assert raised.value.errors == unmet.errors


def test_a_wait_that_never_got_an_answer_says_so() -> None:
    client, _ = recorded(ps.DeadlineExceededError("too late"))
    with pytest.raises(ps.DeadlineExceededError, match="too late"):
        client.wait_until_initialized(["a"], timeout_s=30)
