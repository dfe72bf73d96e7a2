"""Who may come in: by the head alone, on both ways to an endpoint, and with every way to be wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from paramserver.http.guard import Guard, hosts_of, keyring_of
from paramserver.http.guesses import Guesses
from paramserver.http.routes import ROUTES
from paramserver.keyring import one_token
from paramserver.settings import Settings
from paramserver.tokens import TokenError
from paramserver_wire.messages import OPERATIONS

TOKEN = "0123456789abcdef-the-token"
BEARER = {"authorization": f"Bearer {TOKEN}"}


def refusal(guard: Guard, *headers: tuple[str, str], path: str = "/v1/server", port: int | None = 80) -> str | None:
    """The code with which the guard refuses a request with these headers."""
    scope = {
        "path": path,
        "server": ("127.0.0.1", port),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    problem = guard.refusal(scope)
    if problem is None:
        return None
    assert TOKEN not in problem.detail
    assert len(problem.detail) > 20
    return problem.code


def plain_of(settings: Settings) -> str | None:
    """The token that the settings hold."""
    keyring = keyring_of(settings)
    return None if keyring is None else keyring.plain


# ---------------------------------------------------------------------------------------------------- the token


@pytest.fixture
def locked(serve_with: Callable[..., Any]) -> Any:
    """A server with a token."""
    return serve_with(token=TOKEN)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_every_route_wants_the_token(locked: Any, route: Any) -> None:
    operation = OPERATIONS[route.operation]
    with locked.client() as http:
        answer = http.request(operation.method, operation.path.format(name="w", id="latest"))
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/nothing", "/v1/variables/", "/healthz/", "/readyz/x"])
def test_what_is_no_operation_wants_it_too(locked: Any, path: str) -> None:
    with locked.client() as http:
        assert http.get(path).status_code == 401
        assert http.get(path, headers=BEARER).status_code in (200, 404)


def test_probes_are_open_and_say_nothing_but_the_state(locked: Any) -> None:
    with locked.client() as http:
        assert http.get("/healthz", headers={"host": "10.1.2.3"}).json() == {"status": "live"}
        assert http.get("/readyz").json() == {"status": "ready"}
        assert http.head("/readyz").status_code == 200


def test_the_token_opens_and_nothing_shows_it(locked: Any, caplog: pytest.LogCaptureFixture) -> None:
    with locked.client(headers=BEARER) as http:
        assert http.put("/v1/variables/w", json={"value": 1.0}).status_code == 201
        assert TOKEN not in http.get("/v1/server").text
        assert TOKEN not in http.get("/v1/nothing").text
    with locked.client() as http:
        assert TOKEN not in http.get("/v1/server").text
    assert TOKEN not in repr(locked.settings)
    assert TOKEN not in str(locked.settings.model_dump())
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_of_any_case(scheme: str) -> None:
    assert (
        refusal(Guard.of(Settings(token=TOKEN)), ("host", "localhost"), ("authorization", f"{scheme} {TOKEN}")) is None
    )


@pytest.mark.parametrize("given", [TOKEN.upper(), TOKEN[:-1], TOKEN + "x", "", "é", "Bearer", "x" * 10_000])
def test_other_tokens_do_not(given: str) -> None:
    guard = Guard.of(Settings(token=TOKEN))
    assert refusal(guard, ("host", "localhost"), ("authorization", f"Bearer {given}")) == "unauthenticated"
    assert refusal(guard, ("host", "localhost"), ("authorization", given)) == "unauthenticated"


def test_other_schemes_and_two_tokens_do_not() -> None:
    guard = Guard.of(Settings(token=TOKEN))
    right = ("authorization", f"Bearer {TOKEN}")
    assert refusal(guard, ("host", "localhost"), right) is None
    assert refusal(guard, ("host", "localhost"), right, right) == "unauthenticated"
    assert refusal(guard, ("host", "localhost"), ("authorization", f"Basic {TOKEN}")) == "unauthenticated"
    assert refusal(guard, ("host", "localhost"), ("authorization", TOKEN)) == "unauthenticated"
    assert refusal(guard, ("host", "localhost"), ("cookie", f"token={TOKEN}")) == "unauthenticated"


def test_guesses_of_one_network_are_one_guessers() -> None:
    guard = Guard(grants=one_token("t" * 32).grants, guesses=Guesses(2))

    def asked(address: str, token: str) -> str | None:
        headers = [(b"authorization", f"Bearer {token}".encode())]
        problem = guard.refusal({"path": "/v1/server", "headers": headers, "client": (address, 1)})
        return None if problem is None else problem.code

    assert [asked(f"2001:db8::{index}", "wrong") for index in range(3)] == ["unauthenticated"] * 2 + ["overloaded"]
    assert asked("2001:db8:0:1::1", "wrong") == "unauthenticated"
    assert asked("10.0.0.1", "wrong") == "unauthenticated"


def test_a_token_in_the_url_is_none(locked: Any) -> None:
    with locked.client() as http:
        for url in (f"/v1/server?token={TOKEN}", f"/v1/variables?prefix=a&access_token={TOKEN}"):
            for headers in ({}, BEARER):
                answer = http.get(url, headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
                assert TOKEN not in answer.text


def test_a_file_goes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARAMSERVER_TOKEN", "of-the-environment")
    assert plain_of(Settings()) == "of-the-environment"
    file = tmp_path / "token"
    file.write_text("of-the-file\n")
    assert plain_of(Settings(token_file=file)) == "of-the-file"
    monkeypatch.setenv("PARAMSERVER_TOKEN_FILE", str(file))
    assert plain_of(Settings()) == "of-the-file"
    file.write_text("\n")
    with pytest.raises(TokenError, match="no token in it"):
        Guard.of(Settings())


# ---------------------------------------------------------------------------------------------------- hosts


def test_the_hosts_of_a_loopback_are_its_names() -> None:
    names = {"localhost", "127.0.0.1", "[::1]"}
    assert hosts_of(Settings()) == names
    assert hosts_of(Settings(host="localhost")) == names
    assert hosts_of(Settings(host="::1")) == names
    assert hosts_of(Settings(host="127.0.0.2")) == names | {"127.0.0.2"}
    assert hosts_of(Settings(host="0.0.0.0")) is None
    assert hosts_of(Settings(host="no such host")) is None
    assert hosts_of(Settings(allowed_hosts="ps.example, [2001:DB8::1],10.0.0.7")) == {
        "ps.example",
        "[2001:db8::1]",
        "10.0.0.7",
    }
    assert hosts_of(Settings(allowed_hosts="*")) is None


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8080", "127.0.0.1:1", "[::1]", "[::1]:8080"])
def test_names_of_ours(host: str) -> None:
    assert refusal(Guard.of(Settings()), ("host", host)) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.7",
        "",
        "localhost:x",
    ],
)
def test_other_names(host: str) -> None:
    assert refusal(Guard.of(Settings()), ("host", host)) == "wrong_host"
    assert refusal(Guard.of(Settings()), ("host", host), port=None) is None, "a Unix socket takes any"
    assert refusal(Guard.of(Settings(allowed_hosts="*")), ("host", host)) is None


def test_no_name_and_two() -> None:
    guard = Guard.of(Settings())
    assert refusal(guard) == "wrong_host"
    assert refusal(guard, ("host", "localhost"), ("host", "localhost")) == "wrong_host"


@pytest.mark.parametrize("names", ["", ",", "a b", "localhost:8080", "http://x", "::1", "a,,b", "x/y", "é"])
def test_allowed_hosts_that_are_none(names: str) -> None:
    with pytest.raises(ValueError, match="without ports"):
        Settings(allowed_hosts=names)


# ---------------------------------------------------------------------------------------------------- origins


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({}, None),
        ({"origin": "http://localhost:8080"}, None),
        ({"origin": "https://localhost:8080"}, None),
        ({"origin": "http://localhost:3000"}, "forbidden"),
        ({"origin": "http://localhost"}, "forbidden"),
        ({"origin": "https://evil.example"}, "forbidden"),
        ({"origin": "null"}, "forbidden"),
        ({"origin": ""}, "forbidden"),
        ({"origin": "file://"}, "forbidden"),
        ({"origin": "chrome-extension://localhost:8080"}, "forbidden"),
        ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}, None),
        ({"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, None),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, None),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, "forbidden"),
        ({"sec-fetch-site": "cross-site"}, "forbidden"),
    ],
)
def test_pages_of_other_sites(headers: dict[str, str], wanted: str | None) -> None:
    assert refusal(Guard.of(Settings()), ("host", "localhost:8080"), *headers.items()) == wanted


def test_two_origins() -> None:
    ours = ("origin", "http://localhost")
    assert refusal(Guard.of(Settings()), ("host", "localhost"), ours, ours) == "forbidden"


def test_no_answer_opens_the_server_to_other_sites(http: httpx.Client) -> None:
    for method in ("GET", "OPTIONS", "PUT"):
        answer = http.request(method, "/v1/variables", headers={"origin": "https://evil.example"})
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert not [name for name in http.get("/v1/server").headers if name.startswith("access-control")]
