from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from paramserver_client import errors
from paramserver_client.transport import SILENCE_S, HttpTransport
from paramserver_wire import frame
from paramserver_wire.messages import Message
from paramserver_wire.tensors import Tensor, Untyped
from support.driven import Loop, driven_http
from support.fake_server import FakeServer, Peer

ADD = Message("assign_add", {"name": "w", "value": np.ones(3, np.float32)}, "c-1")
SERVER = Message("server")
DONE = {"name": "w", "version": 2, "commit": 3}


@pytest.fixture(autouse=True, params=["threads", "asyncio"])
def _both_kinds(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, loop: Loop) -> None:
    """Every test of this file is for both kinds of client."""
    if request.param == "asyncio":
        monkeypatch.setitem(globals(), "HttpTransport", driven_http(loop))


class Line:
    """A transport whose tries go as the test wrote them down, on a clock that only sleeping moves."""

    def __init__(self, *tries: Any, draw: float = 0.5) -> None:
        self.tries = list(tries)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.timeouts: list[dict[str, float]] = []
        self.slept: list[float] = []
        self.now = 100.0
        self.http = HttpTransport(
            "http://server:1",
            token="secret",
            transport=httpx.MockTransport(self._answer),
            clock=lambda: self.now,
            sleep=self._sleep,
            draw=lambda: draw,
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append((str(request.url), dict(request.headers), request.read()))
        self.timeouts.append(request.extensions["timeout"])
        found = self.tries.pop(0)
        if callable(found):
            found = found(self)
        if isinstance(found, Exception):
            raise found
        assert isinstance(found, httpx.Response)
        return found

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def ok(body: Any = DONE, **headers: str) -> httpx.Response:
    return httpx.Response(200, json=body, headers=headers)


def refused(status: int, code: str, **headers: str) -> httpx.Response:
    document = {"code": code, "detail": f"{code}, says the server"}
    return httpx.Response(status, json=document, headers={"content-type": "application/problem+json", **headers})


def too_late(line: Line) -> Exception:
    line.now += 1000
    return httpx.ReadTimeout("nothing came")


def test_a_message_is_delivered() -> None:
    line = Line(ok(**{"idempotent-replayed": "true"}))
    answer = line.http.deliver(ADD, 10)
    assert (answer.body, answer.status, answer.replayed) == (DONE, 200, True)
    url, fields, body = line.requests[0]
    assert url == "http://server:1/v1/variables/w:assign_add"
    assert fields["host"] == "server:1"
    assert fields["authorization"] == "Bearer secret"
    assert fields["idempotency-key"] == "c-1"
    np.testing.assert_array_equal(frame.decode(body).array, [1, 1, 1])


def test_tensors_of_an_answer_are_the_callers_own() -> None:
    parts = frame.encode(Tensor(np.arange(3.0), {"version": 1}))
    line = Line(httpx.Response(200, content=b"".join(parts), headers={"content-type": frame.MEDIA_TYPE}))
    assert line.http.deliver(Message("read", {"name": "w"}), 10).body.array.flags.writeable


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("slow"),
        httpx.ReadError("reset"),
        httpx.ReadTimeout("slow"),
        httpx.WriteError("broken"),
        httpx.RemoteProtocolError("left without a word"),
        refused(503, "draining"),
        refused(503, "restoring"),
        refused(429, "overloaded"),
        httpx.Response(502, text="bad gateway"),
        httpx.Response(504, text="gateway time-out"),
    ],
)
def test_a_failure_for_now_is_tried_again_with_the_same_id_and_bytes(failure: Any) -> None:
    line = Line(failure, failure, ok())
    assert line.http.deliver(ADD, 10).body == DONE
    assert len(line.requests) == 3
    assert line.requests[0] == line.requests[1] == line.requests[2]
    assert line.slept == [pytest.approx(0.05), pytest.approx(0.1)]


@pytest.mark.parametrize(
    ("status", "code"),
    [(422, "shape_mismatch"), (404, "variable_not_found"), (409, "too_old"), (500, "internal"), (507, "disk_full")],
)
def test_a_refusal_for_good_is_not(status: int, code: str) -> None:
    line = Line(refused(status, code))
    with pytest.raises(errors.BY_CODE[code]) as raised:
        line.http.deliver(ADD, 10)
    assert len(line.requests) == 1
    assert (raised.value.status, raised.value.request_id) == (status, "c-1")
    assert raised.value.outcome == ("unknown" if status == 500 else "not applied")


def test_a_read_that_failed_changed_nothing() -> None:
    with pytest.raises(errors.InternalError) as raised:
        Line(refused(500, "internal")).http.deliver(SERVER, 10)
    assert raised.value.outcome == "not applied"


def test_retry_after_is_obeyed() -> None:
    line = Line(refused(503, "draining", **{"retry-after": "3"}), ok())
    line.http.deliver(ADD, 10)
    assert line.slept == [pytest.approx(3.05)]


def test_waiting_past_the_deadline_is_not_worth_it() -> None:
    line = Line(refused(503, "draining", **{"retry-after": "30"}))
    with pytest.raises(errors.DrainingError) as raised:
        line.http.deliver(ADD, 10)
    assert not line.slept
    assert raised.value.outcome == "not applied"


def test_the_deadline_holds_over_all_tries() -> None:
    line = Line(*[httpx.ConnectError("refused") for _ in range(100)])
    with pytest.raises(errors.UnreachableError) as raised:
        line.http.deliver(ADD, 5)
    assert line.now <= 105
    assert 5 <= len(line.requests) < 20
    assert raised.value.outcome == "not applied"
    assert isinstance(raised.value.__cause__, httpx.ConnectError)


def test_each_try_waits_for_silence_no_longer_than_the_deadline_allows() -> None:
    line = Line(httpx.ReadError("reset"), ok(), draw=1.0)
    line.http.deliver(ADD, 60)
    assert line.timeouts[0] == {"connect": 5.0, "write": SILENCE_S, "read": SILENCE_S, "pool": 60}
    line = Line(ok())
    line.http.deliver(ADD, 2)
    assert line.timeouts[0] == {"connect": 2, "write": 2, "read": 2, "pool": 2}


def test_a_long_poll_may_be_silent_longer() -> None:
    line = Line(httpx.Response(204))
    line.http.deliver(Message("read", {"name": "w", "after_version": "1", "wait_s": 30.0}), 90)
    assert line.timeouts[0]["read"] == SILENCE_S + 30


def test_a_lost_answer_leaves_the_outcome_unknown() -> None:
    with pytest.raises(errors.OutcomeUnknownError) as raised:
        Line(too_late).http.deliver(ADD, 10)
    assert (raised.value.outcome, raised.value.request_id) == ("unknown", "c-1")


def test_a_refusal_after_a_lost_answer_does_too() -> None:
    line = Line(httpx.ReadError("reset"), *[refused(503, "draining") for _ in range(100)])
    with pytest.raises(errors.OutcomeUnknownError, match="draining, says the server"):
        line.http.deliver(ADD, 3)


def test_too_old_after_a_lost_answer_does_too() -> None:
    with pytest.raises(errors.OutcomeUnknownError, match="too_old, says the server"):
        Line(httpx.ReadError("reset"), refused(409, "too_old")).http.deliver(ADD, 10)


@pytest.mark.parametrize("first", [httpx.ConnectError("refused"), refused(503, "draining"), httpx.WriteError("cut")])
def test_too_old_after_tries_that_did_nothing_is_itself(first: Any) -> None:
    with pytest.raises(errors.TooOldError) as raised:
        Line(first, refused(409, "too_old")).http.deliver(ADD, 10)
    assert raised.value.outcome == "not applied"


def test_a_read_that_got_no_answer_in_time() -> None:
    with pytest.raises(errors.DeadlineExceededError) as raised:
        Line(too_late).http.deliver(SERVER, 10)
    assert raised.value.outcome == "not applied"


def test_a_damaged_answer_is_not_asked_for_again() -> None:
    line = Line(httpx.Response(200, content=b"{", headers={"content-type": "application/json"}))
    with pytest.raises(errors.UnexpectedAnswerError) as raised:
        line.http.deliver(ADD, 10)
    assert (raised.value.outcome, raised.value.request_id) == ("applied", "c-1")


def test_a_redirect_is_not_followed() -> None:
    line = Line(httpx.Response(307, headers={"location": "http://elsewhere/"}))
    with pytest.raises(errors.UnexpectedAnswerError, match="elsewhere"):
        line.http.deliver(ADD, 10)
    assert len(line.requests) == 1


def test_the_environments_proxies_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with FakeServer(lambda peer: (peer.request(), peer.answer())[1]) as server:
        transport = HttpTransport(server.url)
        assert transport.deliver(SERVER, 10).body == {}
        transport.close()


def test_an_outage_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    line = Line(*[httpx.ConnectError("refused") for _ in range(3)], ok(), httpx.ConnectError("refused"), ok())
    with caplog.at_level(logging.WARNING, "paramserver_client"):
        line.http.deliver(ADD, 10)
        assert len(caplog.records) == 1
        assert "refused" in caplog.text
        line.http.deliver(ADD, 10)
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    "url", ["", "localhost:8080", "ftp://h", "http://", "http://u:p@h", "http://h?x=1", "http://h/#f", "http://h:x", 5]
)
def test_urls_that_are_none_of_a_server(url: Any) -> None:
    with pytest.raises(ValueError, match="Wanted a URL"):
        HttpTransport(url)


@pytest.mark.parametrize(
    "url", ["http://u:SECRET@h", "http://u:SECRET@h:x", "http://h?token=SECRET", "http://h/#SECRET"]
)
def test_what_may_be_secret_in_a_url_is_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="Wanted a URL") as raised:
        HttpTransport(url)
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize("url", ["http://h:1", "http://h:1/", "http://h:1/base", "https://[::1]:1/base/"])
def test_a_url_may_have_a_path(url: str) -> None:
    urls: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        urls.append(str(request.url))
        return ok({})

    HttpTransport(url, transport=httpx.MockTransport(answer)).deliver(SERVER, 10)
    assert urls == [url.rstrip("/") + "/v1/server"]


@pytest.mark.parametrize("token", ["a\nb", "é"])
def test_a_token_with_a_line_end(token: str) -> None:
    with pytest.raises(ValueError, match="token"):
        HttpTransport("http://h", token=token)


def test_an_argument_that_would_break_a_header_is_refused() -> None:
    with FakeServer(lambda peer: peer.answer()) as server:
        transport = HttpTransport(server.url)
        message = Message("assign", {"name": "w", "value": Untyped(1), "if_match": "1\r\nX: y"}, "c-1")
        with pytest.raises(errors.InvalidRequestError, match="If-Match"):
            transport.deliver(message, 10)
        assert server.connections == 0


def over_a_socket(script: Callable[[Peer], None], message: Message, timeout_s: float) -> Any:
    with FakeServer(script) as server:
        transport = HttpTransport(server.url)
        try:
            return transport.deliver(message, timeout_s).body
        finally:
            transport.close()


def test_a_try_that_was_never_whole_did_nothing() -> None:
    def script(peer: Peer) -> None:
        peer.read(100)
        peer.reset()

    message = Message("assign", {"name": "w", "value": np.zeros(20_000_000, np.uint8)}, "c-1")
    # Which of the two depends on whether the last try had the time to find out.
    with pytest.raises((errors.UnreachableError, errors.DeadlineExceededError)) as raised:
        over_a_socket(script, message, 0.3)
    assert raised.value.outcome == "not applied"


def test_an_answer_that_is_cut_says_applied() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    with pytest.raises(errors.DeadlineExceededError) as raised:
        over_a_socket(script, ADD, 0.3)
    assert raised.value.outcome == "applied"


def test_no_http_at_all_is_told_at_once() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")

    with pytest.raises(errors.UnexpectedAnswerError, match="SSH"):
        over_a_socket(script, ADD, 60)
