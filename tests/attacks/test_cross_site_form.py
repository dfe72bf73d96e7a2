"""A page elsewhere posts a form, or fetches with a `simple` content type, to the server on its visitor's machine
(cross-site request forgery: CWE-352; "simple" as the Fetch standard has it)."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from support.server import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server as anybody starts it."""
    with Server() as server:
        yield server


EVIL = {"origin": "https://evil.example", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
PUSH = '{"updates": [{"name": "w", "op": "assign", "value": 666}]}'


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", "application/json", None],
)
@pytest.mark.parametrize("browser", [True, False], ids=["browser", "without-origin"])
def test_it_changes_nothing(server: Server, content_type: str | None, browser: bool) -> None:
    headers = (EVIL if browser else {}) | ({} if content_type is None else {"content-type": content_type})
    with httpx.Client(base_url=server.url, trust_env=False) as http:
        http.put("/v1/variables/w?reuse=auto", json={"shape": [], "dtype": "float32"})
        http.post("/v1/variables/w:assign", json={"value": 1.0})
        answer = http.post("/v1/variables:push", content=PUSH, headers=headers)
        if browser:
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        elif content_type != "application/json":
            # The old browsers that send no Origin with a form cannot send our content types either.
            assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
        else:
            assert answer.status_code == 200, "this one is no attack"
            return
        assert http.get("/v1/variables/w:read").json()["value"] == 1.0


def test_a_preflight_is_not_granted(server: Server) -> None:
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    answer = httpx.request("OPTIONS", f"{server.url}/v1/variables:push", headers=EVIL | asks, trust_env=False)
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]
