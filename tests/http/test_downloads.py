"""Files of checkpoints over a socket: whole, by ranges, resumed, and while the checkpoint goes away."""

from __future__ import annotations

import socket
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import safetensors.numpy

from paramserver.checkpoint import Disk
from paramserver.checkpoint.downloads import PIECE_NBYTES
from support.raw_http import read_reply

PATH = "/v1/checkpoints/run/1:download"


@pytest.fixture
def served(tmp_path: Path, serve_with: Callable[..., Any]) -> Any:
    served = serve_with(data_dir=tmp_path / "data", checkpoint_every_s=0)
    for number in range(3):
        served.create(f"w{number}", np.full(512, number, np.float32))
    served.engine.checkpoints.save("run/1", step=3)
    served.engine.checkpoints.save("sharded", shard_nbytes=2048)
    return served


@pytest.fixture
def content(served: Any) -> bytes:
    (path,) = served.settings.data_dir.rglob("model.safetensors")
    return bytes(path.read_bytes())


def code(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["code"])


def test_the_whole_file(http: httpx.Client, content: bytes, tmp_path: Path) -> None:
    answer = http.get(PATH)
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["content-type"] == "application/x-safetensors"
    assert answer.headers["content-length"] == str(len(content))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["etag"] == f'"{sha256(content).hexdigest()}"'
    assert answer.headers["content-disposition"] == 'attachment; filename="model.safetensors"'
    assert "content-range" not in answer.headers
    (tmp_path / "copy").write_bytes(answer.content)
    assert safetensors.numpy.load_file(tmp_path / "copy")["w2"].tolist() == [2] * 512
    assert http.get("/v1/checkpoints/latest:download").status_code == 422


def test_head_tells_without_sending(http: httpx.Client, content: bytes) -> None:
    answer = http.head(PATH, headers={"Range": "bytes=0-3"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(content))
    assert answer.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize("accept", ["*/*", "application/octet-stream", "text/html", "application/x-safetensors"])
def test_whatever_is_accepted_the_file_is_what_it_is(http: httpx.Client, content: bytes, accept: str) -> None:
    assert http.get(PATH, headers={"Accept": accept}).content == content


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=5-", 5, None),
        ("bytes=0-999999999999", 0, None),
        ("bytes=-7", -7, None),
        ("bytes=-999999999", 0, None),
        ("BYTES = 1-2", 1, 3),
    ],
)
def test_one_range(http: httpx.Client, content: bytes, text: str, begin: int, end: int | None) -> None:
    answer = http.get(PATH, headers={"Range": text})
    wanted = content[begin:end]
    assert (answer.status_code, answer.content) == (206, wanted)
    start = begin % len(content) if begin < 0 else begin
    assert answer.headers["content-range"] == f"bytes {start}-{start + len(wanted) - 1}/{len(content)}"
    assert answer.headers["content-length"] == str(len(wanted))


def test_a_range_outside_the_file(http: httpx.Client, content: bytes) -> None:
    for text in (f"bytes={len(content)}-", "bytes=999999999-9999999999", "bytes=-0"):
        answer = http.get(PATH, headers={"Range": text})
        assert (answer.status_code, code(answer)) == (416, "range_not_satisfiable")
        assert answer.headers["content-range"] == f"bytes */{len(content)}"


@pytest.mark.parametrize(
    "text",
    [
        "bytes=0-1,3-4",
        "bytes=-",
        "bytes=9-5",
        "bytes=a-b",
        "lines=1-2",
        "bytes",
        "bytes=1-2-3",
        "bytes=" + "9" * 5000 + "-",
    ],
)
def test_what_is_no_single_range_is_passed_over(http: httpx.Client, content: bytes, text: str) -> None:
    answer = http.get(PATH, headers={"Range": text})
    assert (answer.status_code, answer.content) == (200, content)


def test_going_on_after_a_break(http: httpx.Client, content: bytes) -> None:
    etag = http.head(PATH).headers["etag"]
    rest = http.get(PATH, headers={"Range": "bytes=100-", "If-Range": etag})
    assert (rest.status_code, rest.content) == (206, content[100:])
    for other in ('"other"', f"W/{etag}", "Wed, 21 Oct 2015 07:28:00 GMT"):
        assert http.get(PATH, headers={"Range": "bytes=100-", "If-Range": other}).status_code == 200
        # A range outside does not matter when it does not count.
        assert http.get(PATH, headers={"Range": "bytes=999999999-", "If-Range": other}).status_code == 200


def test_what_the_reader_has_is_not_sent_again(http: httpx.Client) -> None:
    etag = http.head(PATH).headers["etag"]
    for tags in (etag, f'"x", W/{etag}', "*"):
        answer = http.get(PATH, headers={"If-None-Match": tags})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    assert http.get(PATH, headers={"If-None-Match": '"x"'}).status_code == 200


def test_several_files_by_name(http: httpx.Client, served: Any) -> None:
    info = http.get("/v1/checkpoints/sharded").json()
    for file in info["files"]:
        answer = http.get("/v1/checkpoints/sharded:download", params={"file": file["name"]})
        assert answer.status_code == 200
        assert sha256(answer.content).hexdigest() == file["sha256"]
        assert len(answer.content) == file["nbytes"]
    assert answer.headers["content-type"] == "application/json"
    refused = http.get("/v1/checkpoints/sharded:download")
    assert code(refused) == "invalid_request"
    assert "model-00001-of-00003.safetensors" in refused.json()["detail"]


@pytest.mark.parametrize(
    "name",
    ["manifest.json", "../checkpoint.json", "/etc/passwd", "..", "", "model.safetensors/", "%2e%2e", "x" * 300, "\x00"],
)
def test_no_other_file_can_be_had(http: httpx.Client, name: str) -> None:
    assert code(http.get(PATH, params={"file": name})) == "invalid_request"


def test_what_is_not_there(http: httpx.Client) -> None:
    assert code(http.get("/v1/checkpoints/none:download")) == "checkpoint_not_found"
    assert http.head("/v1/checkpoints/none:download").status_code == 404


def test_a_file_of_another_size_is_refused(http: httpx.Client, served: Any, content: bytes) -> None:
    (path,) = served.settings.data_dir.rglob("model.safetensors")
    path.write_bytes(content[:-1])
    assert code(http.get(PATH)) == "checkpoint_corrupt"
    path.unlink()
    assert code(http.get(PATH)) == "checkpoint_corrupt"


def test_it_goes_on_though_the_checkpoint_is_deleted(served: Any) -> None:
    """A reader that does not read holds up its own download only, and gets all of it in the end."""
    value = np.random.default_rng(1).integers(0, 255, 24 * PIECE_NBYTES, np.uint8)
    served.create("big", value)
    served.engine.checkpoints.save("big", names=["big"])
    with served.connect() as slow, served.client() as http:
        slow.sendall(b"GET /v1/checkpoints/big:download HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert slow.recv(1, socket.MSG_PEEK)
        assert http.delete("/v1/checkpoints/big").status_code == 204
        assert http.get("/v1/checkpoints/big:download").status_code == 404
        assert not list(served.settings.data_dir.glob("checkpoints/big*"))
        # The others are served meanwhile.
        assert http.get(PATH).status_code == 200
        reply = read_reply(slow)
    assert reply.status == 200
    assert f'"{sha256(reply.body).hexdigest()}"' == reply.headers["etag"]


def test_a_disk_that_fails_meanwhile_ends_the_connection(served: Any, http: httpx.Client) -> None:
    class Failing(Disk):
        def read_into(self, file: Any, buffer: memoryview) -> int:
            raise OSError(5, "broken")

    served.engine.checkpoints._disk = Failing()
    with pytest.raises(httpx.RemoteProtocolError):
        http.get(PATH)
    served.engine.checkpoints._disk = Disk()
    assert http.get(PATH).status_code == 200
