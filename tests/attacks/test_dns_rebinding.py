"""A page at evil.example lets its name point at 127.0.0.1: to the browser it then is of one origin with our server
(DNS rebinding: C. Jackson and others, "Protecting Browsers from DNS Rebinding Attacks", 2007; CWE-350)."""

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


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_page_with_a_rebound_name_gets_nothing(server: Server, method: str) -> None:
    evil = f"evil.example:{server.url.rpartition(':')[2]}"
    headers = {"host": evil, "origin": f"http://{evil}", "sec-fetch-site": "same-origin"}
    with httpx.Client(base_url=server.url, trust_env=False) as http:
        http.put("/v1/variables/secret?reuse=auto", json={"value": 123456.5})
        answer = http.request(method, "/v1/variables/secret", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (421, "wrong_host")
        assert "123456" not in answer.text
        assert http.get("/v1/variables/secret:read").json()["value"] == 123456.5
