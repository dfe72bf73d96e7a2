"""Export to, and import from, whole files: by hand over a socket, by plain ASGI, and by the real curl."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import ml_dtypes
import numpy as np
import pytest
import safetensors as public
from safetensors import numpy as public_numpy

from paramserver.http.app import create_app
from paramserver.http.large_body import LARGE_NBYTES
from paramserver.settings import Settings
from paramserver_wire import safetensors
from support.raw_http import eventually, read_reply, send_in_pieces

IMPORT = "/v1/variables:import"
EXPORT = "/v1/variables:export"
CURL = shutil.which("curl")


def file_of(**arrays: Any) -> bytes:
    return b"".join(safetensors.file_parts(arrays, {}))


def raw_file(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def put(http: httpx.Client, body: bytes, query: str = "", **headers: str) -> httpx.Response:
    return http.put(f"{IMPORT}{query}", content=body, headers=headers)


def problem(answer: httpx.Response) -> str:
    assert not answer.is_success, answer.text
    return str(answer.json()["code"])


def request(body: bytes, *headers: str, declared: int | None = None) -> bytes:
    head = [
        f"PUT {IMPORT} HTTP/1.1",
        "Host: localhost",
        f"Content-Length: {len(body) if declared is None else declared}",
        *headers,
    ]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


def untouched(served: Any) -> Callable[[], None]:
    """Afterwards nothing is as it should not be: no variable, no commit, no memory still reserved."""
    store = served.engine.store
    before = (store.names(), store.commit, store.budget.used_nbytes)

    def check() -> None:
        eventually(lambda: (store.names(), store.commit, store.budget.used_nbytes) == before)

    return check


# ------------------------------------------------------------------------------------------------- there and back


@pytest.mark.parametrize("size", [3, LARGE_NBYTES], ids=["small", "large"])
def test_a_file_becomes_variables_and_a_file_again(served: Any, http: httpx.Client, size: int) -> None:
    sent = {
        "enc/w": np.arange(size, dtype=np.float32),
        "enc/b": np.ones((2, 3), np.float16),
        "step": np.array(7, np.int64),
        "mask": np.array([True, False]),
        "none": np.zeros((0, 4), np.float64),
    }
    done = put(http, public_numpy.save(sent))
    assert done.status_code == 200, done.text
    assert done.json() == {
        "commit": 1,
        "versions": dict.fromkeys(sent, 1),
        "created": list(done.json()["created"]),
    }
    assert set(done.json()["created"]) == set(sent)
    assert served.engine.store.commit == 1
    for name, array in sent.items():
        held = served.value(name)
        assert np.array_equal(held, array)
        assert held.dtype == array.dtype
        assert not held.flags.writeable
    assert served.engine.store.budget.used_nbytes == sum(array.nbytes for array in sent.values())
    back = http.get(EXPORT)
    assert back.headers["content-type"] == "application/x-safetensors"
    assert int(back.headers["content-length"]) == len(back.content)
    assert back.headers["content-disposition"] == 'attachment; filename="model.safetensors"'
    found = public_numpy.load(back.content)
    assert found.keys() == sent.keys()
    assert all(np.array_equal(found[name], array) for name, array in sent.items())
    head = http.head(EXPORT)
    assert head.headers["content-length"] == back.headers["content-length"]
    assert head.content == b""
    # The same file once more: versions rise, nothing is created.
    again = put(http, back.content)
    assert again.json()["created"] == []
    assert again.json()["versions"] == dict.fromkeys(sent, 2)
    assert served.engine.store.budget.used_nbytes == sum(array.nbytes for array in sent.values())


def test_bfloat16_of_the_public_package_bit_by_bit(served: Any, http: httpx.Client) -> None:
    bits = np.arange(0, 2**15, 7, dtype=np.uint16)
    values = bits[np.isfinite(bits.view(ml_dtypes.bfloat16).astype(np.float32))]
    spec = public.TensorSpec(dtype="bfloat16", shape=[len(values)], data_ptr=values.ctypes.data, data_len=values.nbytes)
    assert put(http, bytes(public.serialize({"w": spec}))).status_code == 200
    assert np.array_equal(served.value("w").view(np.uint16), values)
    ((name, entry),) = public.deserialize(http.get(EXPORT).content)
    assert (name, entry["dtype"], bytes(entry["data"])) == ("w", "BF16", values.tobytes())


def test_a_prefix_is_a_scope_before_every_name(served: Any, http: httpx.Client) -> None:
    body = file_of(**{"layer.0.weight": np.ones(2, np.float32), "b": np.zeros(1)})
    assert put(http, body, "?prefix=enc/a").json()["created"] == ["enc/a/b", "enc/a/layer.0.weight"]
    assert public_numpy.load(http.get(f"{EXPORT}?prefix=enc").content).keys() == {"enc/a/b", "enc/a/layer.0.weight"}
    named = http.get(f"{EXPORT}?prefix=enc/a").headers["content-disposition"]
    assert named == 'attachment; filename="enc_a.safetensors"'
    for prefix in ("a:b", "../x", "/a", "a/"):
        assert problem(put(http, body, f"?prefix={prefix}")) == "invalid_name"


def test_scopes_say_the_rest_about_what_is_created(served: Any, http: httpx.Client) -> None:
    served.engine.store.set_scope("frozen", {"trainable": False, "collections": ["mine"], "dtype": "float64"})
    assert put(http, file_of(**{"frozen/w": np.ones(2, np.float32)})).status_code == 200
    made = http.get("/v1/variables/frozen/w").json()
    assert (made["trainable"], made["collections"], made["dtype"]) == (False, ["mine"], "float32")


def test_values_that_cast_without_loss_are_cast(served: Any, http: httpx.Client) -> None:
    served.create("w", np.zeros(3, np.float64))
    assert put(http, file_of(w=np.ones(3, np.float16))).status_code == 200
    assert served.value("w").dtype == np.float64
    assert served.value("w").tolist() == [1, 1, 1]
    assert served.engine.store.budget.used_nbytes == 24


def test_an_export_is_one_cut_that_skips_what_has_no_value(served: Any, http: httpx.Client) -> None:
    empty = http.get(EXPORT)
    assert public.deserialize(empty.content) == []
    served.create("a/w", np.ones(2, np.float32))
    http.put("/v1/variables/a/u", json={"shape": [2]}).raise_for_status()
    served.create("c", np.ones(2, np.complex128))
    part = http.get(f"{EXPORT}?prefix=a")
    metadata = safetensors.parse(part.content, len(part.content)).metadata
    assert json.loads(metadata["skipped"]) == ["a/u"]
    assert json.loads(metadata["commit"]) == served.engine.store.commit
    assert public_numpy.load(part.content).keys() == {"a/w"}
    refused = http.get(EXPORT)
    assert problem(refused) == "not_acceptable"
    assert "'c'" in refused.json()["detail"]
    assert problem(http.get(f"{EXPORT}?collection=nobodys")) == "collection_not_found"
    assert problem(http.get(EXPORT, headers={"Accept": "application/json"})) == "not_acceptable"


def test_a_repeat_is_answered_whatever_has_changed(served: Any, http: httpx.Client) -> None:
    body = file_of(w=np.ones(LARGE_NBYTES, np.float32))
    first = put(http, body, **{"Idempotency-Key": "me-1"})
    served.engine.store.budget.limit_nbytes = served.engine.store.budget.used_nbytes
    http.delete("/v1/variables/w").raise_for_status()
    served.create("w", np.zeros(1))
    again = put(http, body, **{"Idempotency-Key": "me-1"})
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert served.value("w").shape == (1,)
    other = put(http, file_of(w=np.zeros(LARGE_NBYTES, np.float32)), **{"Idempotency-Key": "me-1"})
    assert problem(other) == "idempotency_key_reused"
    elsewhere = put(http, body, "?prefix=x", **{"Idempotency-Key": "me-1"})
    assert problem(elsewhere) == "idempotency_key_reused"


# ------------------------------------------------------------------------------------------------- what is refused


def test_every_difference_is_listed_before_the_data_is_received(served: Any) -> None:
    served.create("w", np.zeros(3, np.float32))
    served.create("n", np.zeros(2, np.int32))
    same = untouched(served)
    header = {
        "w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
        "n": {"dtype": "F32", "shape": [2], "data_offsets": [16, 24]},
        "a:b": {"dtype": "F32", "shape": [2], "data_offsets": [24, 32]},
        "new": {"dtype": "F32", "shape": [10**6], "data_offsets": [32, 4_000_032]},
    }
    body = raw_file(header)
    with served.connect() as connection:
        connection.sendall(
            request(body, declared=len(body) + 4_000_032).replace(IMPORT.encode(), IMPORT.encode() + b"?create=false")
        )
        reply = read_reply(connection)
    assert reply.status == 422
    found = [(error["name"], error["code"]) for error in reply.json()["errors"]]
    assert found == [
        ("w", "shape_mismatch"),
        ("n", "dtype_mismatch"),
        ("a:b", "invalid_name"),
        ("new", "variable_not_found"),
    ]
    same()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "malformed_body"),
        (b"PK\x03\x04", "malformed_body"),
        (raw_file(b"[]"), "malformed_body"),
        (raw_file(b"{"), "malformed_body"),
        (raw_file({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, bytes(7)), "malformed_body"),
        (raw_file({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, bytes(9)), "malformed_body"),
        (raw_file({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)), "malformed_body"),
        (raw_file({"w": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}, bytes(12)), "malformed_body"),
        (raw_file({"w": {"dtype": "F32", "shape": [2**32, 2**32], "data_offsets": [0, 0]}}), "malformed_body"),
        (
            raw_file({name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for name in "ab"}, bytes(8)),
            "malformed_body",
        ),
        (
            raw_file({"w": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}, bytes(2)),
            "unsupported_media_type",
        ),
        (raw_file({"w": {"dtype": "BOOL", "shape": [2], "data_offsets": [0, 2]}}, b"\1\2"), "malformed_body"),
        ((2**63).to_bytes(8, "little") + bytes(100), "body_too_large"),
        ((10**9).to_bytes(8, "little") + bytes(100), "body_too_large"),
        (file_of(a=np.ones(2), w=np.array([1, np.nan])), "non_finite"),
        (file_of(**{"x" * 300: np.ones(1)}), "invalid_name"),
    ],
)
@pytest.mark.parametrize("long", [False, True])
def test_bad_files_change_nothing(served: Any, http: httpx.Client, body: bytes, code: str, long: bool) -> None:
    same = untouched(served)
    if long and len(body) > 8 and body[8:9] == b"{" and body[:8] != bytes(8):
        # As large as our own way of receiving wants it, by spaces in the header.
        length = int.from_bytes(body[:8], "little")
        body = raw_file(body[8 : 8 + length] + b" " * LARGE_NBYTES, body[8 + length :])
    assert problem(put(http, body)) == code
    same()


def test_non_finite_values_are_taken_when_asked_for(served: Any, http: httpx.Client) -> None:
    assert put(http, file_of(w=np.array([1, np.nan])), "?allow_non_finite=true").status_code == 200
    assert np.isnan(served.value("w")[1])


def test_a_million_tiny_tensors_are_refused_by_the_length_of_their_header(served: Any) -> None:
    same = untouched(served)
    with served.connect() as connection:
        connection.sendall(request((70 * 10**6).to_bytes(8, "little"), declared=10**8))
        reply = read_reply(connection)
    assert (reply.status, reply.json()["code"]) == (413, "body_too_large")
    assert "10000 variables" in reply.json()["detail"]
    same()


def test_more_variables_than_a_request_may_name(serve_with: Any) -> None:
    served = serve_with(variables_limit=3)
    with served.client() as http:
        assert put(http, file_of(**{f"v{at}": np.ones(1) for at in range(3)})).status_code == 200
        refused = put(http, file_of(**{f"v{at}": np.ones(1) for at in range(4)}))
    assert problem(refused) == "invalid_request"


def test_memory_is_reserved_before_it_is_sent_and_given_back(serve_with: Any) -> None:
    # Its header takes a little beside the values.
    served = serve_with(memory_limit_nbytes=4_010_000, tensor_limit_nbytes=2_000_000)
    same = untouched(served)
    with served.client() as http:
        assert problem(put(http, file_of(**{name: np.ones(250_000) for name in "abc"}))) == "memory_limit_exceeded"
        assert problem(put(http, file_of(w=np.ones(250_001)))) == "shape_mismatch"
        same()
        assert put(http, file_of(**{name: np.ones(250_000) for name in "ab"})).status_code == 200
        # A second copy has to stand beside the first for a moment: there is no room for it.
        assert problem(put(http, file_of(a=np.ones(250_000)))) == "memory_limit_exceeded"
        assert served.engine.store.budget.used_nbytes == 4_000_000
    with served.connect() as connection:
        # Declared too long for any budget: refused before the client is told to go on.
        connection.sendall(request(b"", "Expect: 100-continue", declared=2**40))
        reply = read_reply(connection)
        assert (reply.status, reply.headers["connection"]) == (413, "close")


def test_a_body_without_a_length_or_of_another_type(served: Any, http: httpx.Client) -> None:
    assert problem(http.put(IMPORT, content=iter([file_of(w=np.ones(1))]))) == "malformed_body"
    body = file_of(w=np.ones(1))
    for taken in ("application/x-safetensors", "application/octet-stream", "Application/X-Safetensors; v=1"):
        assert put(http, body, **{"Content-Type": taken}).status_code == 200
    for refused in ("application/json", "text/plain", "application/x-npy"):
        assert problem(put(http, body, **{"Content-Type": refused})) == "unsupported_media_type"
    assert problem(put(http, body, **{"Content-Encoding": "gzip"})) == "unsupported_media_type"
    assert problem(put(http, body, "?create=maybe")) == "invalid_request"
    assert problem(put(http, body, Accept="text/html")) == "not_acceptable"


# ------------------------------------------------------------------------------------------------- on the wire


@pytest.mark.parametrize("sizes", [[1 << 20], [65_536], [100, 65_535, 65_537, 3], [300_000, 7]])
def test_a_file_in_odd_pieces_and_the_next_request_behind_it(served: Any, sizes: list[int]) -> None:
    sent = {f"v{at}": np.full(at * 1000, at, np.float32) for at in range(1, 60)}
    with served.connect() as connection:
        follow = f"GET {EXPORT} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        sender = send_in_pieces(connection, request(file_of(**sent)) + follow, sizes)
        assert read_reply(connection).status == 200
        back = public_numpy.load(read_reply(connection).body)
        sender.join()
    assert all(np.array_equal(back[name], array) for name, array in sent.items())


def test_an_answer_before_the_end_leaves_the_connection_usable(served: Any) -> None:
    served.create("w", np.zeros(3, np.float32))
    body = file_of(w=np.ones(2_000_000, np.float32))
    with served.connect() as connection:
        sender = send_in_pieces(connection, request(body) * 2 + request(file_of(w=np.ones(3, np.float32))), [1 << 16])
        assert [read_reply(connection).status for _ in range(3)] == [422, 422, 200]
        sender.join()
    assert served.value("w").tolist() == [1, 1, 1]


@pytest.mark.parametrize("sent", [0, 4, 60, 100, 500_000])
def test_a_file_that_breaks_off_leaves_nothing(served: Any, sent: int) -> None:
    same = untouched(served)
    pool = served.engine.store.pool
    body = file_of(w=np.ones(1_000_000, np.float32))
    head = len(request(body)) - len(body)
    with served.connect() as connection:
        connection.sendall(request(body)[: head + sent])
        if sent == 500_000:
            eventually(lambda: 4_000_000 < served.engine.store.budget.used_nbytes < 4_010_000)
    same()
    eventually(lambda: pool.idle_nbytes >= (4_000_000 if sent == 500_000 else 0))


def test_a_client_that_waits_for_the_invitation_gets_it(served: Any) -> None:
    body = file_of(w=np.ones(LARGE_NBYTES, np.float32))
    with served.connect() as connection:
        connection.sendall(request(b"", "Expect: 100-continue", declared=len(body)))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert read_reply(connection).status == 200


def test_plain_asgi_serves_the_same_route(served: Any) -> None:
    app = create_app(served.engine, Settings())
    sent = {"a": np.arange(300_000, dtype=np.float32), "b": np.ones(3)}

    async def both() -> tuple[httpx.Response, httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
            done = await client.put(IMPORT, content=file_of(**sent))
            return done, await client.get(EXPORT)

    done, back = asyncio.run(both())
    assert done.status_code == 200, done.text
    assert all(np.array_equal(public_numpy.load(back.content)[name], array) for name, array in sent.items())


# ------------------------------------------------------------------------------------------------- curl


def curl(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert CURL is not None, "these tests run curl; install it"
    return subprocess.run(
        [CURL, "-q", "-sS", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("size", [10, 2_000_000])
def test_curl_sends_a_file_and_fetches_one(served: Any, tmp_path: Path, size: int) -> None:
    model, copy = tmp_path / "model.safetensors", tmp_path / "copy.safetensors"
    sent = {"w": np.arange(size, dtype=np.float32), "b": np.ones((2, 2), np.float16)}
    public_numpy.save_file(sent, model)
    done = curl("-T", model, f"{served.url}{IMPORT}")
    assert json.loads(done.stdout)["created"] == ["w", "b"], done.stderr
    assert curl("--fail", "-o", copy, f"{served.url}{EXPORT}").returncode == 0
    found = public_numpy.load_file(copy)
    assert all(np.array_equal(found[name], array) for name, array in sent.items())
    refused = curl("-T", model, f"{served.url}{IMPORT}?prefix=a:b")
    assert json.loads(refused.stdout)["code"] == "invalid_name"
