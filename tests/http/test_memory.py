"""One budget for values, requests and answers; beyond it 507 before memory is taken, and nothing changed."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from paramserver.http import codecs
from paramserver.keyring import hashed_line
from paramserver.settings import MIB
from paramserver_wire import frame, packed, safetensors
from paramserver_wire.tensors import Tensor
from support.raw_http import eventually, read_reply

FRAME = {"content-type": frame.MEDIA_TYPE}


@pytest.fixture
def small(serve_with: Callable[..., Any]) -> Any:
    """A server with 8 MiB, of which one variable takes 2."""
    served = serve_with(memory_limit_nbytes=8 * MIB)
    served.create("w", np.zeros(512 * 1024, np.float32))
    return served


def used(served: Any) -> int:
    nbytes: int = served.engine.store.budget.used_nbytes
    return nbytes


def test_a_body_counts_while_it_is_received_and_no_longer(small: Any) -> None:
    head = f"POST /v1/variables/w:assign HTTP/1.1\r\nHost: localhost\r\nContent-Type: {frame.MEDIA_TYPE}\r\n"
    with small.connect() as first, small.client() as http:
        # Invited, so its buffer is there; then nothing more comes.
        first.sendall((head + f"Content-Length: {4 * MIB}\r\nExpect: 100-continue\r\n\r\n").encode())
        assert first.recv(100).startswith(b"HTTP/1.1 100")
        assert used(small) == 6 * MIB
        refused = http.post("/v1/variables/w:assign", content=bytes(3 * MIB), headers=FRAME)
        assert (refused.status_code, refused.json()["code"]) == (507, "memory_limit_exceeded")
        assert http.get("/v1/server").json()["memory"] == {
            "used_nbytes": 6 * MIB,
            "limit_nbytes": 8 * MIB,
            "idle_nbytes": 0,
        }
        first.sendall(bytes(4 * MIB))
        assert read_reply(first).status == 400
        assert used(small) == 2 * MIB
        body = b"".join(frame.encode(np.ones(512 * 1024, np.float32)))
        assert http.post("/v1/variables/w:assign", content=body, headers=FRAME).status_code == 200
    assert used(small) == 2 * MIB
    assert small.value("w")[0] == 1


def test_an_invitation_is_not_sent_when_there_is_no_memory(small: Any) -> None:
    with small.connect() as connection:
        connection.sendall(
            f"POST /v1/variables/w:assign HTTP/1.1\r\nHost: localhost\r\nContent-Type: {frame.MEDIA_TYPE}\r\n"
            f"Content-Length: {7 * MIB}\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert read_reply(connection).json()["code"] == "memory_limit_exceeded"
    assert used(small) == 2 * MIB


def test_what_text_grows_to_counts(small: Any) -> None:
    text = b'{"value": [' + b"1.5," * 100_000 + b"1.5]}"
    with small.client() as http:
        refused = http.put("/v1/variables/v", content=text, headers={"content-type": "application/json"})
        assert (refused.status_code, refused.json()["code"]) == (507, "memory_limit_exceeded")
        assert http.get("/v1/variables/v").status_code == 404
    assert used(small) == 2 * MIB
    assert codecs.decoded_nbytes("json", 3) == 72
    assert codecs.decoded_nbytes("msgpack", 64 * MIB) == 64 * MIB + 72 * packed.MAX_ITEMS
    assert codecs.decoded_nbytes("frame", 64 * MIB) == 0


def test_an_answer_that_is_a_copy_counts_until_it_is_sent(serve_with: Callable[..., Any]) -> None:
    served = serve_with(memory_limit_nbytes=8 * MIB + 4)
    served.create("w", np.zeros(512 * 1024, np.float32))
    served.create("v", np.zeros(256 * 1024, np.float32))
    with served.client() as http:
        for media_type, status in ((packed.MEDIA_TYPE, 507), (frame.MEDIA_TYPE, 200), ("application/json", 200)):
            answer = http.post("/v1/variables:pull", json={"prefix": ""}, headers={"accept": media_type})
            assert answer.status_code == status
        for _ in range(3):
            assert http.get("/v1/variables/w:read", headers={"accept": packed.MEDIA_TYPE}).status_code == 200
            assert http.head("/v1/variables/w:read", headers={"accept": packed.MEDIA_TYPE}).status_code == 200
    assert used(served) == 3 * MIB


def test_the_answer_of_a_write_is_asked_for_before_anything_is_written(serve_with: Callable[..., Any]) -> None:
    served = serve_with(memory_limit_nbytes=8 * MIB + 4)
    served.create("w", np.zeros(512 * 1024, np.float32))
    served.create("v", np.zeros(256 * 1024, np.float32))
    headers = {"content-type": packed.MEDIA_TYPE}
    served.create("step", np.zeros((), np.float32))
    push = {"updates": [{"name": "step", "op": "assign_add", "value": 1.0}]}
    with served.client() as http:
        for returns, status, value in ((["w", "v"], 507, 0), (["v"], 200, 1)):
            pushed = http.post("/v1/variables:push", content=packed.pack({**push, "return": returns}), headers=headers)
            assert (pushed.status_code, served.value("step")) == (status, value)
    assert used(served) == 3 * MIB + 4


def test_what_a_slow_reader_still_looks_at_counts(serve_with: Callable[..., Any]) -> None:
    """Superseded values are memory for as long as somebody is being sent them."""
    served = serve_with(memory_limit_nbytes=128 * MIB)
    served.create("w", np.zeros(4 * MIB, np.float32))
    head = f"GET /v1/variables/w:read HTTP/1.1\r\nHost: localhost\r\nAccept: {frame.MEDIA_TYPE}\r\n\r\n"
    body = b"".join(frame.encode(np.ones(4 * MIB, np.float32)))
    with socket.socket() as reader, served.client() as http:
        # More than the kernel takes in for somebody who does not read.
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", served.port))
        reader.sendall(head.encode())
        assert reader.recv(12) == b"HTTP/1.1 200"
        for _ in range(3):
            assert http.post("/v1/variables/w:assign", content=body, headers=FRAME).status_code == 200
        # The one that is read, and the newest.
        eventually(lambda: 32 * MIB <= used(served) < 33 * MIB)
    eventually(lambda: used(served) == 16 * MIB)


def test_lists_count_as_what_they_become(serve_with: Callable[..., Any]) -> None:
    served = serve_with(memory_limit_nbytes=64 * 1024)
    for index in range(300):
        served.create(f"v{index}", np.zeros(1, np.float32))
    with served.client() as http:
        assert http.get("/v1/variables?page_size=300").json()["code"] == "memory_limit_exceeded"
        assert len(http.get("/v1/variables?page_size=100").json()["variables"]) == 100


def test_nobody_holds_more_than_half_by_bodies_that_do_not_come(serve_with: Callable[..., Any], tmp_path: Path) -> None:
    """Who may write one variable may not keep all others from working, however many bodies it announces."""
    file = tmp_path / "tokens"
    tokens = {"one": "a" * 32, "two": "b" * 32}
    file.write_text("\n".join(hashed_line(token, name, f"write:{name}/*") for name, token in tokens.items()))
    served = serve_with(memory_limit_nbytes=8 * MIB, token_file=file)
    served.create("one/w", np.zeros(256 * 1024, np.float32))
    served.create("two/w", np.zeros(256 * 1024, np.float32))

    def head(name: str, path: str, media_type: str) -> bytes:
        return (
            f"{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\nContent-Length: {3 * MIB}\r\n"
            f"Authorization: Bearer {tokens[name]}\r\nExpect: 100-continue\r\n\r\n"
        ).encode()

    assign = "POST /v1/variables/{}/w:assign"
    with served.connect() as first, served.connect() as second, served.connect() as other:
        first.sendall(head("one", assign.format("one"), frame.MEDIA_TYPE))
        assert first.recv(100).startswith(b"HTTP/1.1 100")
        second.sendall(head("one", assign.format("one"), frame.MEDIA_TYPE))
        refused = read_reply(second)
        assert (refused.status, refused.json()["code"]) == (507, "memory_limit_exceeded")
        assert "'one'" in refused.json()["detail"]
        other.sendall(head("two", assign.format("two"), frame.MEDIA_TYPE))
        assert other.recv(100).startswith(b"HTTP/1.1 100")
    eventually(lambda: used(served) == 2 * MIB)
    # A file on its way in is held alike, and is nobody's once its values are the server's.
    file_of_three = b"".join(
        bytes(part) for part in safetensors.encode({"tensors": {"two/x": Tensor(np.ones(640 * 1024, np.float32))}})
    )
    with served.client() as http:
        imported = http.put(
            "/v1/variables:import",
            content=file_of_three,
            headers={"authorization": f"Bearer {tokens['two']}", "content-type": safetensors.MEDIA_TYPE},
        )
        assert imported.status_code == 200, imported.text
    assert used(served) == 4.5 * MIB
    assert not served.engine.store.budget._of_holder


def test_many_at_once_leave_nothing_counted(small: Any) -> None:
    body = b"".join(frame.encode(np.ones(512 * 1024, np.float32)))

    def push(_: int) -> int:
        with small.client() as http:
            return http.post("/v1/variables/w:assign", content=body, headers=FRAME).status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = set(pool.map(push, range(12)))
    assert statuses <= {200, 507}
    assert used(small) == 2 * MIB


def test_without_a_setting_it_is_a_share_of_the_machine_and_told(http: httpx.Client) -> None:
    told = http.get("/v1/server").json()
    assert told["limits"]["memory_limit_nbytes"] == told["memory"]["limit_nbytes"] > MIB
    assert {"head_limit_nbytes", "headers_limit", "body_limit_nbytes", "variables_limit"} <= told["limits"].keys()


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_where_none_is_taken(served: Any, method: str, chunked: bool) -> None:
    served.create("w", np.zeros(2, np.float32))
    content = iter([b"{}"]) if chunked else b"{}"
    with served.client() as http:
        answer = http.request(method, "/v1/variables/w", content=content)
        assert answer.status_code == 422
        assert http.get("/v1/variables/w", headers={"content-length": "0"}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/variables/w:read?dtype=float64", None),
        ("POST", "/v1/variables:pull", {"names": ["w"], "dtype": "float64"}),
        ("POST", "/v1/variables/e:gather", {"indices": [0] * 5}),
        ("POST", "/v1/variables/e:gather?dtype=float64", {"indices": [0] * 2}),
    ],
)
def test_arrays_that_are_made_for_an_answer_count_before_they_are(
    serve_with: Callable[..., Any], method: str, path: str, body: Any
) -> None:
    served = serve_with(memory_limit_nbytes=6 * MIB)
    served.create("w", np.zeros(512 * 1024, np.float32))
    served.create("e", np.zeros((1, 256 * 1024), np.float32))
    with served.client() as http:
        for media_type in (frame.MEDIA_TYPE, "application/json"):
            refused = http.request(method, path, json=body, headers={"accept": media_type})
            assert (refused.status_code, refused.json()["code"]) == (507, "memory_limit_exceeded")
            assert used(served) == 3 * MIB


def test_arrays_that_were_made_for_an_answer_no_longer_count_once_it_is_sent(small: Any) -> None:
    with small.client() as http:
        for _ in range(3):
            headers = {"accept": frame.MEDIA_TYPE}
            assert http.get("/v1/variables/w:read?dtype=float64", headers=headers).status_code == 200
            assert http.head("/v1/variables/w:read?dtype=float64", headers=headers).status_code == 200
            assert http.get("/v1/variables/w:read?dtype=float64&slice=0:3").status_code == 200
            assert http.get("/v1/variables/w:read?dtype=float64&if_none=1").status_code == 422
    assert used(small) == 2 * MIB
