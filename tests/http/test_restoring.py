"""A restore that is not atomic, over a socket: everybody else is told to come back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import paramserver_client as ps
from paramserver_client.transport import HttpTransport


def test_others_are_told_to_come_back(tmp_path: Path, serve_with: Callable[..., Any]) -> None:
    served = serve_with(data_dir=tmp_path / "data", checkpoint_every_s=0)
    served.create("w", np.zeros(2, np.float32))
    with served.client() as http, served.engine.checkpoints._restoring_alone():
        for method, path in (
            ("GET", "/v1/variables"),
            ("GET", "/v1/variables/w:read"),
            ("POST", "/v1/variables:pull"),
            ("POST", "/v1/variables:push"),
            ("POST", "/v1/checkpoints"),
        ):
            body = {"updates": []} if path.endswith("push") else {}
            answer = http.request(method, path, **({"json": body} if method == "POST" else {}))
            assert (answer.status_code, answer.json()["code"]) == (503, "restoring")
            assert int(answer.headers["retry-after"]) >= 1
        assert http.get("/readyz").json()["code"] == "restoring"
        assert http.get("/healthz").status_code == 200
        assert http.get("/v1/server").json()["state"] == "restoring"
        assert http.get("/v1/checkpoints").status_code == 200
        assert http.get("/v1/checkpoints/latest").json()["code"] == "checkpoint_not_found"
    with served.client() as http:
        assert http.get("/readyz").json() == {"status": "ready"}
        assert http.get("/v1/variables").status_code == 200


def test_the_client_waits_and_goes_on(tmp_path: Path, serve_with: Callable[..., Any]) -> None:
    served = serve_with(data_dir=tmp_path / "data", checkpoint_every_s=0)
    served.create("w", np.zeros(2, np.float32))
    restoring = served.engine.checkpoints._restoring_alone()
    waits: list[float] = []

    def sleep(wait_s: float) -> None:
        waits.append(wait_s)
        restoring.__exit__(None, None, None)

    restoring.__enter__()
    with ps.ParameterClient(transport=HttpTransport(served.url, sleep=sleep)) as client:
        assert client.read("w").tolist() == [0, 0]
    assert len(waits) == 1
    assert waits[0] >= 1
