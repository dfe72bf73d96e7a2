"""Workers that wait: for the next version, for a server, for the one who initializes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import paramserver_client as ps
from support.contract import f32, refused
from support.doors import Door


def in_a_thread(call: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    return thread, found


def test_the_next_version_is_waited_for(client: ps.ParameterClient, door: Door) -> None:
    tag = client.create_variable("w", value=f32(1)).tag
    with door.client() as other:
        thread, found = in_a_thread(lambda: other.wait("w", after_version=tag, timeout_s=30))
        client.assign("w", f32(2))
        thread.join(20)
        ((array, seen),) = found
    assert array.tolist() == [2]
    assert seen == client.get_variable("w").tag


def test_waits_longer_than_one_poll_are_several(client: ps.ParameterClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("paramserver_client.calls.reading", "paramserver_client.aio.calls.reading"):
        monkeypatch.setattr(f"{module}.MAX_POLL_S", 0.01)
    tag = client.create_variable("w", value=f32(1)).tag
    with refused(client, ps.DeadlineExceededError) as raised:
        client.wait("w", after_version=tag, timeout_s=0.05)
    assert tag in str(raised.value)


def test_nothing_to_wait_for_any_more(client: ps.ParameterClient) -> None:
    tag = client.create_variable("w", value=f32(1)).tag
    client.assign("w", f32(2))
    array, _ = client.wait("w", after_version=tag, timeout_s=0)
    assert array.tolist() == [2]


def test_what_cannot_be_waited_for_is_told_at_once(client: ps.ParameterClient) -> None:
    client.create_variable("empty", (1,), "float32")
    with refused(client, ps.VariableNotFoundError):
        client.wait("w", after_version=1, timeout_s=30)
    with refused(client, ps.UninitializedError):
        client.wait("empty", after_version="0123456789abcdef-9", timeout_s=30)


def test_a_first_value_is_waited_for(client: ps.ParameterClient, door: Door) -> None:
    tag = client.create_variable("w", (1,), "float32", "ones").tag
    with door.client() as other:
        thread, found = in_a_thread(lambda: other.wait("w", after_version=tag, timeout_s=30))
        client.initialize()
        thread.join(20)
    ((array, _),) = found
    assert array.tolist() == [1]


def test_a_server_that_is_there_is_ready(client: ps.ParameterClient) -> None:
    assert client.wait_ready(10) == client.server()


def test_the_initializing_of_others_is_waited_for(client: ps.ParameterClient, door: Door) -> None:
    with door.client() as chief:
        thread, found = in_a_thread(lambda: client.wait_until_initialized(["a", "b"], timeout_s=30))
        chief.create_variable("a", (2,), "float32", "zeros")
        chief.create_variable("b", value=f32(1))
        chief.initialize()
        thread.join(20)
    assert found == [None]


@pytest.mark.parametrize(("created", "missing"), [(["a"], {"b"}), (["a", "b"], {"a", "b"})])
def test_what_is_missing_in_the_end_is_named(client: ps.ParameterClient, created: list[str], missing: set[str]) -> None:
    for name in created:
        client.create_variable(name, (2,), "float32", "zeros")
    with refused(client, ps.DeadlineExceededError, *missing) as raised:
        client.wait_until_initialized(["a", "b"], timeout_s=0.5)
    assert "Is the worker" in str(raised.value)
