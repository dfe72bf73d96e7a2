"""Saves that are answered before they are done, over a socket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from paramserver.checkpoint import Disk
from paramserver.http import models


class Gate(Disk):
    def __init__(self) -> None:
        self.open_for_all = threading.Event()

    def write(self, file: FileIO, data: bytes | memoryview) -> None:
        assert self.open_for_all.wait(60)
        super().write(file, data)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def served(tmp_path: Path, serve_with: Callable[..., Any], gate: Gate) -> Iterator[Any]:
    served = serve_with(data_dir=tmp_path / "data", checkpoint_every_s=0)
    served.create("w", np.arange(4, dtype=np.float32))
    served.engine.checkpoints._disk = gate
    yield served
    gate.open_for_all.set()


ASYNC = {"Prefer": "respond-async, wait=10"}


def test_accepted_then_complete(served: Any, http: httpx.Client, gate: Gate) -> None:
    answer = http.post("/v1/checkpoints", json={"id": "run/1"}, headers=ASYNC)
    assert answer.status_code == 202
    assert answer.headers["location"] == "/v1/checkpoints/run/1"
    assert answer.headers["preference-applied"] == "respond-async"
    models.CheckpointInfo.model_validate_json(answer.content)
    shown = http.get(answer.headers["location"])
    assert shown.json() == answer.json()
    assert shown.json()["state"] == "saving"
    assert http.get("/v1/checkpoints").json() == {"checkpoints": [shown.json()]}
    for method, path in (("POST", "/v1/checkpoints"), ("POST", "/v1/checkpoints/run/1:restore")):
        again = http.request(method, path, json={} if path.endswith("restore") else {"id": "run/1"})
        assert (again.status_code, again.json()["code"]) == (409, "checkpoint_busy")
    assert http.delete("/v1/checkpoints/run/1").json()["code"] == "checkpoint_busy"
    gate.open_for_all.set()
    served.engine.checkpoints._background.wait()
    assert http.get("/v1/checkpoints/run/1").json()["state"] == "complete"
    assert http.post("/v1/checkpoints/run/1:restore").json()["restored"] == ["w"]


def test_a_repeat_gets_the_same_answer_and_saves_once(served: Any, http: httpx.Client, gate: Gate) -> None:
    headers = {**ASYNC, "Idempotency-Key": "c-1"}
    first = http.post("/v1/checkpoints", json={"step": 1}, headers=headers)
    again = http.post("/v1/checkpoints", json={"step": 1}, headers=headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    gate.open_for_all.set()
    served.engine.checkpoints._background.wait()
    assert len(http.get("/v1/checkpoints").json()["checkpoints"]) == 1


def test_a_shutdown_finishes_it(tmp_path: Path, serve_with: Callable[..., Any]) -> None:
    served, gate = serve_with(data_dir=tmp_path / "data", checkpoint_every_s=0), Gate()
    served.create("w", np.arange(4, dtype=np.float32))
    manager = served.engine.checkpoints
    manager._disk = gate
    with served.client() as http:
        assert http.post("/v1/checkpoints", json={"id": "x"}, headers=ASYNC).status_code == 202
    closing = threading.Thread(target=served.engine.close)
    closing.start()
    gate.open_for_all.set()
    closing.join()
    listing = (tmp_path / "data" / "checkpoints" / "checkpoint.json").read_text()
    assert '"id": "x"' in listing


def test_a_failure_is_shown_as_a_problem(served: Any, http: httpx.Client, gate: Gate) -> None:
    served.engine.checkpoints._root.rename(served.engine.checkpoints._root.with_name("away"))
    gate.open_for_all.set()
    assert http.post("/v1/checkpoints", json={"id": "x"}, headers=ASYNC).status_code == 202
    served.engine.checkpoints._background.wait()
    shown = http.get("/v1/checkpoints/x")
    models.CheckpointInfo.model_validate_json(shown.content)
    assert shown.json()["state"] == "failed"
    assert shown.json()["problem"]["code"] == "internal"
    served.engine.checkpoints._root.with_name("away").rename(served.engine.checkpoints._root)
    assert http.delete("/v1/checkpoints/x").status_code == 204
    assert http.get("/v1/checkpoints/x").status_code == 404


@pytest.mark.parametrize("prefer", ["respond-asynchronously", "return=minimal", ""])
def test_another_preference_is_passed_over(served: Any, http: httpx.Client, gate: Gate, prefer: str) -> None:
    gate.open_for_all.set()
    answer = http.post("/v1/checkpoints", json={}, headers={"Prefer": prefer})
    assert answer.status_code == 201
    assert "preference-applied" not in answer.headers
