"""Routes of rows: their answers, and what they refuse, as curl would see it."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest

from paramserver.http.performing import INLINE_NBYTES
from paramserver_wire import frame
from paramserver_wire.messages import Message


@pytest.fixture
def served(shared: Any) -> Any:
    shared.engine.perform(Message("delete_variables", {"confirm": True}))
    shared.create("w", np.arange(6, dtype=np.float32).reshape(3, 2))
    return shared


def test_gather_answers_as_a_read(http: httpx.Client) -> None:
    answer = http.post("/v1/variables/w:gather", json={"indices": [2, 0]})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["value"], body["shape"], body["dtype"], body["version"]) == ([[4, 5], [0, 1]], [2, 2], "float32", 1)
    assert body["name"] == "w"
    spelled = {"indices": {"value": [1], "dtype": "uint8", "shape": [1]}}
    assert http.post("/v1/variables/w:gather?dtype=float64", json=spelled).json()["value"] == [[2, 3]]


def test_scatter_answers_as_an_assign(http: httpx.Client) -> None:
    body = {"indices": [0, 0], "value": [[1, 1], [2, 2]]}
    answer = http.post("/v1/variables/w:scatter_add", json=body, headers={"Prefer": "return=representation"})
    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "return=representation"
    assert (answer.json()["version"], answer.json()["value"]) == (2, [[3, 4], [2, 3], [4, 5]])
    stale = http.post("/v1/variables/w:scatter_sub", json=body, headers={"If-Match": "1"})
    assert (stale.status_code, stale.json()["code"]) == (412, "version_mismatch")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"indices": [3], "value": [[1, 1]]}, "index_out_of_range"),
        ({"indices": [-1], "value": [[1, 1]]}, "index_out_of_range"),
        ({"indices": [0.5], "value": [[1, 1]]}, "dtype_mismatch"),
        ({"indices": [10**30], "value": [[1, 1]]}, "dtype_mismatch"),
        ({"indices": "all", "value": [[1, 1]]}, "dtype_mismatch"),
        ({"indices": {"rows": [0]}, "value": [[1, 1]]}, "invalid_request"),
        ({"indices": None, "value": [[1, 1]]}, "invalid_request"),
        ({"value": [[1, 1]]}, "invalid_request"),
        ({"indices": [0]}, "invalid_request"),
        ({"indices": [0], "value": [[1, 1]], "axis": 1}, "invalid_request"),
        ({"indices": [0], "value": [1, 1]}, "shape_mismatch"),
    ],
)
def test_what_is_refused(http: httpx.Client, body: dict[str, Any], code: str) -> None:
    answer = http.post("/v1/variables/w:scatter_update", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    pushed = {"updates": [{"name": "w", "op": "scatter_update", **body}]}
    assert http.post("/v1/variables:push", json=pushed).json()["code"] == code
    assert http.get("/v1/variables/w").json()["version"] == 1


def test_large_rows_are_gathered_and_scattered_beside_the_loop(served: Any, http: httpx.Client) -> None:
    rows = INLINE_NBYTES // 1024 + 8
    served.create("table", np.zeros((rows, 256), np.float32))
    indices = np.arange(rows)
    value = np.ones((rows, 256), np.float32)
    parts = frame.encode({"indices": indices, "value": value})
    headers = {"content-type": frame.MEDIA_TYPE}
    scattered = http.post("/v1/variables/table:scatter_add", content=b"".join(parts), headers=headers)
    assert scattered.is_success
    gathered = http.post(
        "/v1/variables/table:gather", content=b"".join(frame.encode({"indices": indices})), headers=headers
    )
    tensor = frame.decode(gathered.content)
    np.testing.assert_array_equal(tensor.array, value)


def test_a_gather_may_not_make_more_than_a_variable_may_hold(serve_with: Any) -> None:
    served = serve_with(tensor_limit_nbytes=1024)
    served.create("w", np.zeros((2, 64), np.float32))
    with served.client() as http:
        answer = http.post("/v1/variables/w:gather", json={"indices": [0] * 5})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
        assert "1024" in answer.json()["detail"]
