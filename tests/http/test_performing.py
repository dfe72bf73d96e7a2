"""The event loop is never blocked: locks, repeats and long polls all wait elsewhere."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from paramserver.http import codecs
from paramserver.http.performing import INLINE_VARIABLES, THREADS


def test_a_taken_lock_makes_others_wait_in_threads_and_the_loop_goes_on(served: Any, http: httpx.Client) -> None:
    served.create("w", np.zeros(4, np.float32))
    served.create("other", np.zeros(4, np.float32))
    writers = 2 * THREADS
    with served.client(limits=httpx.Limits(max_connections=writers)) as many, ThreadPoolExecutor(writers) as pool:
        with served.engine.store._commits.writing(["w"], blocking=True):
            waiting = [pool.submit(many.post, "/v1/variables/w:assign_add", json=[1, 1, 1, 1]) for _ in range(writers)]
            for _ in range(20):
                assert http.get("/v1/variables/w:read").status_code == 200
                assert http.post("/v1/variables/other:assign_add", json=[1, 1, 1, 1]).status_code == 200
            assert not any(future.done() for future in waiting)
        assert {future.result().status_code for future in waiting} == {200}
    assert served.value("w")[0] == writers


def test_repeats_that_come_while_the_first_runs_share_its_fate(served: Any) -> None:
    """More repeats than threads: were each to hold a thread, the one they wait for could not end."""
    served.create("w", np.zeros(4, np.float32))
    repeats = 3 * THREADS
    headers = {"Idempotency-Key": "same-1"}
    with served.client(limits=httpx.Limits(max_connections=repeats + 1)) as many, ThreadPoolExecutor(repeats) as pool:
        with served.engine.store._commits.writing(["w"], blocking=True):
            waiting = [
                pool.submit(many.post, "/v1/variables/w:assign_add", json=[1, 1, 1, 1], headers=headers)
                for _ in range(repeats)
            ]
            assert many.get("/v1/variables/w").json()["version"] == 1
        answers = [future.result() for future in waiting]
    assert {answer.status_code for answer in answers} == {200}
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert len({answer.text for answer in answers}) == 1
    assert served.value("w")[0] == 1


def test_repeats_of_a_refused_request_are_refused_alike(served: Any) -> None:
    served.create("w", np.zeros(4, np.float32))
    headers = {"Idempotency-Key": "same-1"}
    with served.client() as many, ThreadPoolExecutor(4) as pool:
        with served.engine.store._commits.writing(["w"], blocking=True):
            waiting = [
                pool.submit(many.post, "/v1/variables/w:assign_add", json=[1], headers=headers) for _ in range(4)
            ]
            assert many.get("/healthz").status_code == 200
        assert {future.result().json()["code"] for future in waiting} == {"shape_mismatch"}
    assert served.value("w")[0] == 0


@pytest.fixture
def ran_in(served: Any, monkeypatch: Any) -> list[str]:
    """The names of the threads in which requests were performed, one by one."""
    names: list[str] = []
    real = type(served.engine).run

    def run(self: Any, *args: Any, **options: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            names.append(threading.current_thread().name)
        return real(self, *args, **options)

    monkeypatch.setattr(type(served.engine), "run", run)
    return names


def test_many_rows_named_in_json_are_not_gathered_on_the_loop(served: Any, ran_in: list[str]) -> None:
    served.create("w", np.zeros((2, 10_000), np.float32))
    with served.client() as http:
        assert http.post("/v1/variables/w:gather", json={"indices": [0, 1] * 50}).status_code == 200
        assert http.post("/v1/variables/w:gather", json={"indices": 1}).status_code == 200
    assert [name.startswith("paramserver-http") for name in ran_in] == [True, False]


def test_many_variables_are_not_done_on_the_loop_however_small(served: Any, ran_in: list[str]) -> None:
    names = [f"v{number}" for number in range(INLINE_VARIABLES + 1)]
    for name in names:
        served.create(name, np.zeros(1, np.float32))
    updates = [{"name": name, "op": "assign_add", "value": [1]} for name in names]
    gradients = {name: [1] for name in names}
    with served.client() as http:
        http.put("/v1/optimizers/o", json={"type": "gradient_descent", "learning_rate": 1}).raise_for_status()
        ran_in.clear()
        for path, body in (
            ("variables:push", {"updates": updates}),
            ("variables:push", {"updates": updates[1:]}),
            ("optimizers/o:apply_gradients", {"gradients": gradients}),
            ("optimizers/o:apply_gradients", {"gradients": {"v0": [1]}, "then": updates[1:]}),
            ("variables:pull", {"names": names}),
            ("variables:pull", {}),
            ("variables:pull", {"names": names[1:]}),
        ):
            http.post(f"/v1/{path}", json=body).raise_for_status()
        http.get("/v1/scopes").raise_for_status()
        http.get("/v1/variables:export").raise_for_status()
    in_a_thread = [name.startswith("paramserver-http") for name in ran_in]
    assert in_a_thread == [True, False, True, True, True, True, False, True, True]
    assert served.value("v0")[0] == -1


def test_lists_are_made_and_written_in_threads_where_there_are_many(
    served: Any, ran_in: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = ("variables", "optimizers", "collections", "collections/variables", "variables:report_uninitialized")
    written_in: list[str] = []
    encode = codecs.encode

    def encoded(*arguments: Any) -> Any:
        written_in.append(threading.current_thread().name)
        return encode(*arguments)

    monkeypatch.setattr(codecs, "encode", encoded)
    with served.client() as http:
        served.create("w", np.zeros(1, np.float32))
        for path in lists:
            http.get(f"/v1/{path}").raise_for_status()
        assert not any(name.startswith("paramserver") for name in (*ran_in, *written_in))
        monkeypatch.setattr("paramserver.http.performing._MANY", 5)
        for number in range(100):
            served.create(f"v{number:02}", np.zeros(1, np.float32))
        ran_in.clear()
        written_in.clear()
        for path in lists:
            http.get(f"/v1/{path}").raise_for_status()
    assert len(ran_in) == len(lists)
    assert all(name.startswith("paramserver-http") for name in ran_in)
    # The page of a hundred variables and the names of a collection: the others are short.
    assert [name.startswith("paramserver-helper") for name in written_in] == [True, False, False, True, False]


def test_updates_behind_small_gradients_may_be_large(served: Any, ran_in: list[str]) -> None:
    served.create("w", np.zeros(1_000_000, np.float32))
    served.create("v", np.zeros(2, np.float32))
    step: dict[str, Any] = {"gradients": {"v": [1, 1]}}
    fill = [{"name": "w", "op": "assign", "value": 5}]
    with served.client() as http:
        http.put("/v1/optimizers/o", json={"type": "gradient_descent", "learning_rate": 1}).raise_for_status()
        for body in (step, {**step, "then": fill}):
            http.post("/v1/optimizers/o:apply_gradients", json=body).raise_for_status()
    assert [name.startswith("paramserver-http") for name in ran_in] == [False, False, True]


def test_a_number_that_fills_a_large_variable_is_not_done_on_the_loop(served: Any, ran_in: list[str]) -> None:
    served.create("w", np.zeros(1_000_000, np.float32))
    with served.client() as http:
        assert http.post("/v1/variables/w:assign", json=5).status_code == 200
        assert http.get("/v1/variables/w:read?dtype=float64&slice=0:1").json()["value"] == [5.0]
        assert http.get("/v1/variables/w").status_code == 200
    assert [name.startswith("paramserver-http") for name in ran_in] == [True, True, False]


def test_a_long_poll_answers_when_the_variable_is_written(served: Any, http: httpx.Client) -> None:
    served.create("w", np.zeros(4, np.float32))
    with served.client() as waiter, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(waiter.get, "/v1/variables/w:read?after_version=1&wait_s=60")
        _until_watched(served, "w")
        assert http.post("/v1/variables/w:assign_add", json=[1, 1, 1, 1]).status_code == 200
        answer = waiting.result(20)
    assert (answer.status_code, answer.json()["version"]) == (200, 2)
    assert not served.engine.store._commits._watchers


def test_a_long_poll_on_a_deleted_variable_ends(served: Any, http: httpx.Client) -> None:
    served.create("w", np.zeros(4, np.float32))
    with served.client() as waiter, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(waiter.get, "/v1/variables/w:read?after_version=1&wait_s=60")
        _until_watched(served, "w")
        assert http.delete("/v1/variables/w").status_code == 204
        assert waiting.result(20).json()["code"] == "variable_not_found"


def test_a_long_poll_nobody_listens_to_is_forgotten(served: Any) -> None:
    served.create("w", np.zeros(4, np.float32))
    with served.connect() as connection:
        connection.sendall(b"GET /v1/variables/w:read?after_version=1&wait_s=60 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        _until_watched(served, "w")
    _until(lambda: not served.engine.store._commits._watchers)


def test_draining_releases_long_polls_and_refuses_new_requests(served: Any, http: httpx.Client) -> None:
    served.create("w", np.zeros(4, np.float32))
    with served.client() as waiter, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(waiter.get, "/v1/variables/w:read?after_version=1&wait_s=60")
        _until_watched(served, "w")
        served.drain.begin()
        released = waiting.result(20)
    assert (released.status_code, released.json()["code"], released.headers["retry-after"]) == (503, "draining", "1")
    for answer in (http.get("/v1/variables"), http.post("/v1/variables/w:assign", json=1), http.get("/readyz")):
        assert (answer.status_code, answer.json()["code"]) == (503, "draining")
    assert http.get("/healthz").status_code == 200
    assert served.value("w")[0] == 0


def _until_watched(served: Any, name: str) -> None:
    _until(lambda: name in served.engine.store._commits._watchers)


def _until(condition: Any) -> None:
    tick = threading.Event()
    for _ in range(4000):
        if condition():
            return
        tick.wait(0.005)
    raise AssertionError("it did not happen within 20 s")
