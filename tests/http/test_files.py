"""safetensors and npy as request and answer types."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
import safetensors as public
from hypothesis import given
from hypothesis import strategies as st
from safetensors import numpy as public_numpy

from paramserver.http.large_body import LARGE_NBYTES
from paramserver.store import NewVariable
from paramserver_wire import npy, safetensors
from paramserver_wire.dtypes import DTYPES
from paramserver_wire.tensors import wire_array
from support.arrays import QUICK, Array, arrays, same_bits

FILES = {"safetensors": "application/x-safetensors", "npy": "application/x-npy"}
REFUSED = {"safetensors": "complex128", "npy": "bfloat16"}


def one(kind: str, array: Any) -> bytes:
    parts = npy.encode(array) if kind == "npy" else safetensors.file_parts({"whatever": array}, {})
    return b"".join(parts)


def array_in(kind: str, body: bytes) -> Array:
    if kind == "npy":
        return npy.decode(body)
    (array,) = safetensors.decode(body).values()
    return array


def told(body: bytes) -> dict[str, Any]:
    metadata = dict(safetensors.parse(body, len(body)).metadata)
    metadata.pop("format")
    return {key: json.loads(text) for key, text in metadata.items()}


def code(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.json()["code"])


@pytest.fixture(scope="module")
def http(shared: Any) -> Any:
    with shared.client() as client:
        yield client


@pytest.mark.parametrize("kind", FILES)
def test_one_tensor_in_and_out(kind: str, shared: Any, http: httpx.Client) -> None:
    shared.create(f"{kind}/one", np.zeros((2, 3), np.float32))
    value = np.arange(6, dtype=np.float32).reshape(2, 3)
    url, typed = f"/v1/variables/{kind}/one", {"Content-Type": FILES[kind]}
    done = http.post(f"{url}:assign", content=one(kind, value), headers=typed)
    assert (done.status_code, done.headers["content-type"]) == (200, "application/json")
    again = http.post(
        f"{url}:assign_add", content=one(kind, value), headers={**typed, "Prefer": "return=representation"}
    )
    assert again.headers["content-type"] == FILES[kind]
    assert np.array_equal(array_in(kind, again.content), value * 2)
    read = http.get(f"{url}:read", headers={"Accept": FILES[kind]})
    assert read.headers["content-type"] == FILES[kind]
    assert int(read.headers["content-length"]) == len(read.content)
    assert np.array_equal(array_in(kind, read.content), value * 2)
    assert read.headers["etag"] == again.headers["etag"]
    assert read.headers["etag"].endswith('-3"')
    if kind == "safetensors":
        assert told(read.content)["versions"] == {"safetensors/one": 3}
        assert told(again.content)["commit"] == shared.engine.store.commit
    part = http.get(f"{url}:read?slice=:,1", headers={"Accept": FILES[kind]})
    assert np.array_equal(array_in(kind, part.content), [2, 8])
    head = http.head(f"{url}:read", headers={"Accept": FILES[kind]})
    assert (head.status_code, head.content) == (200, b"")


def test_numpys_own_files_in_any_order(shared: Any, http: httpx.Client) -> None:
    shared.create("npy/orders", np.zeros((3, 4), np.float64))
    value = np.arange(12.0).reshape(3, 4)
    for stored in (value, np.asfortranarray(value), value.astype(">f8"), np.asfortranarray(value.astype(">f4"))):
        file = io.BytesIO()
        np.save(file, stored)
        for op, expected in (("assign", value), ("assign_add", value * 2)):
            done = http.post(
                f"/v1/variables/npy/orders:{op}", content=file.getvalue(), headers={"Content-Type": FILES["npy"]}
            )
            assert done.status_code == 200, done.text
            assert np.array_equal(shared.value("npy/orders"), expected)
    read = http.get("/v1/variables/npy/orders:read", headers={"Accept": FILES["npy"]})
    assert np.array_equal(np.load(io.BytesIO(read.content)), value * 2)


@pytest.mark.parametrize("kind", FILES)
def test_a_large_tensor_becomes_the_value_without_a_copy(kind: str, shared: Any, http: httpx.Client) -> None:
    value = np.arange(LARGE_NBYTES, dtype=np.float32)
    shared.create(f"{kind}/large", np.zeros_like(value))
    sent = http.post(
        f"/v1/variables/{kind}/large:assign", content=one(kind, value), headers={"Content-Type": FILES[kind]}
    )
    assert sent.status_code == 200
    held = shared.value(f"{kind}/large")
    assert np.array_equal(held, value)
    assert held.flags.aligned
    assert held.flags.c_contiguous
    # It lies in the block that the body came into.
    assert held.base is not None
    read = http.get(f"/v1/variables/{kind}/large:read", headers={"Accept": FILES[kind]})
    assert np.array_equal(array_in(kind, read.content), value)


def test_a_push_and_a_pull_of_the_public_packages_files(shared: Any, http: httpx.Client) -> None:
    for name in ("m/a", "m/b"):
        shared.create(name, np.zeros(3, np.float32))
    file = public_numpy.save({"m/a": np.ones(3, np.float32), "m/b": np.full(3, 2, np.float32)})
    typed = {"Content-Type": FILES["safetensors"]}
    for query, expected in (("", 2), ("?op=assign_sub", 0), ("?op=assign_add", 2), ("?op=assign", 2)):
        pushed = http.post(f"/v1/variables:push{query}", content=file, headers=typed)
        assert pushed.status_code == 200, pushed.text
        assert pushed.headers["content-type"] == "application/json"
        assert shared.value("m/b")[0] == expected
    pulled = http.post("/v1/variables:pull", json={"prefix": "m"}, headers={"Accept": FILES["safetensors"]})
    found = public_numpy.load(pulled.content)
    assert {name: array[0] for name, array in found.items()} == {"m/a": 1, "m/b": 2}
    versions = {name: shared.engine.store.get(name).version for name in found}
    assert told(pulled.content)["versions"] == versions
    assert told(pulled.content)["commit"] == pushed.json()["commit"]
    assert told(pulled.content)["incarnations"] == {name: shared.engine.store.get(name).incarnation for name in found}
    returned = http.post(
        "/v1/variables:push",
        json={"updates": [{"name": "m/a", "op": "assign", "value": [4, 4, 4]}], "return": ["m/b"]},
        headers={"Accept": FILES["safetensors"]},
    )
    assert list(public_numpy.load(returned.content)) == ["m/b"]
    assert told(returned.content)["versions"].keys() == {"m/a", "m/b"}
    empty = http.post("/v1/variables:pull", json={"names": []}, headers={"Accept": FILES["safetensors"]})
    assert public.deserialize(empty.content) == []


@pytest.mark.parametrize("kind", FILES)
def test_what_a_format_cannot_hold(kind: str, shared: Any, http: httpx.Client) -> None:
    name, before = f"{kind}/unheld", np.ones(2, DTYPES[REFUSED[kind]])
    shared.create(name, before)
    asked = {"Accept": FILES[kind]}
    refused = http.get(f"/v1/variables/{name}:read", headers=asked)
    assert code(refused, 406) == "not_acceptable"
    assert REFUSED[kind] in refused.json()["detail"]
    # A write is refused before it is done, not after.
    writing = {**asked, "Prefer": "return=representation"}
    assert code(http.post(f"/v1/variables/{name}:assign", json=[3, 3], headers=writing), 406) == "not_acceptable"
    if kind == "safetensors":
        body = {"updates": [{"name": name, "op": "assign", "value": [3, 3]}], "return": [name]}
        assert code(http.post("/v1/variables:push", json=body, headers=asked), 406) == "not_acceptable"
        assert code(http.post("/v1/variables:pull", json={"names": [name]}, headers=asked), 406) == "not_acceptable"
    assert np.array_equal(shared.value(name), before)
    cast = http.get(
        f"/v1/variables/{name}:read?dtype={'complex64' if kind == 'safetensors' else 'float32'}", headers=asked
    )
    assert cast.status_code == 200


def _with_dtype(tag: str) -> bytes:
    text = json.dumps({"w": {"dtype": tag, "shape": [1], "data_offsets": [0, 16]}}).encode()
    return len(text).to_bytes(8, "little") + text + bytes(16)


def _npy_of(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("safetensors", _with_dtype("C128")),
        ("safetensors", _with_dtype("F8_E4M3")),
        ("npy", _npy_of(np.ones(2, DTYPES["bfloat16"]))),
        ("npy", _npy_of(np.array([{}], object))),
        ("npy", _npy_of(np.zeros(1, [("a", "f4")]))),
    ],
)
def test_dtypes_that_no_variable_has_are_an_unsupported_media_type(
    kind: str, body: bytes, shared: Any, http: httpx.Client
) -> None:
    answer = http.post("/v1/variables/any:assign", content=body, headers={"Content-Type": FILES[kind]})
    assert code(answer, 415) == "unsupported_media_type"


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("PUT", "/v1/variables/x", "safetensors"),
        ("PUT", "/v1/variables/x", "npy"),
        ("POST", "/v1/variables:push", "npy"),
        ("POST", "/v1/variables:pull", "safetensors"),
        ("POST", "/v1/variables:initialize", "npy"),
        ("POST", "/v1/checkpoints", "safetensors"),
    ],
)
def test_requests_that_no_file_can_carry(method: str, path: str, kind: str, http: httpx.Client) -> None:
    answer = http.request(method, path, content=one(kind, np.ones(1)), headers={"Content-Type": FILES[kind]})
    assert code(answer, 415) == "unsupported_media_type"


def test_answers_that_no_file_can_carry(shared: Any, http: httpx.Client) -> None:
    shared.create("plain", np.zeros(2, np.float32))
    # Many tensors are no npy file; what has no tensors comes as JSON, whichever file was asked for.
    assert code(http.post("/v1/variables:pull", json={}, headers={"Accept": FILES["npy"]}), 406) == "not_acceptable"
    for kind in FILES.values():
        assert http.get("/v1/variables/plain", headers={"Accept": kind}).json()["name"] == "plain"
        assert http.post("/v1/variables/plain:assign", json=[1, 2], headers={"Accept": kind}).json()["name"] == "plain"
    both = http.get("/v1/variables/plain:read", headers={"Accept": f"{FILES['npy']};q=0.1, application/msgpack"})
    assert both.headers["content-type"] == "application/msgpack"


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize(
    "spoil",
    [lambda _: b"", lambda body: body[:5], lambda body: body[:-1], lambda body: body + b"\0", lambda body: body[8:]],
)
def test_files_that_are_not_whole(kind: str, spoil: Callable[[bytes], bytes], shared: Any, http: httpx.Client) -> None:
    answer = http.post(
        "/v1/variables/any:assign", content=spoil(one(kind, np.ones(3))), headers={"Content-Type": FILES[kind]}
    )
    assert answer.json()["code"] in ("malformed_body", "body_too_large"), answer.text


def test_headers_and_counts_keep_to_the_limits(shared: Any, http: httpx.Client) -> None:
    typed = {"Content-Type": FILES["safetensors"]}
    lying = (2**40).to_bytes(8, "little") + b"{}"
    assert code(http.post("/v1/variables/any:assign", content=lying, headers=typed), 413) == "body_too_large"
    many = b"".join(safetensors.file_parts({f"v{at}": np.zeros(0, np.bool_) for at in range(10_001)}, {}))
    assert len(many) < shared.settings.control_limit_nbytes
    refused = http.post("/v1/variables:push", content=many, headers=typed)
    assert code(refused, 422) == "invalid_request"
    assert "10000" in refused.json()["detail"]
    two = b"".join(safetensors.file_parts({"a": np.ones(1), "b": np.ones(1)}, {}))
    assert code(http.post("/v1/variables/any:assign", content=two, headers=typed), 422) == "invalid_request"


def test_op_is_for_files_only_and_must_be_one(shared: Any, http: httpx.Client) -> None:
    shared.create("ops", np.zeros(1, np.float32))
    file, typed = one("safetensors", np.ones(1, np.float32)), {"Content-Type": FILES["safetensors"]}
    assert code(http.post("/v1/variables:push?op=assign", json={"updates": []}), 422) == "invalid_request"
    assert code(http.post("/v1/variables:push?op=no", content=file, headers=typed), 404) == "variable_not_found"
    named = b"".join(safetensors.file_parts({"ops": np.ones(1, np.float32)}, {}))
    assert code(http.post("/v1/variables:push?op=no", content=named, headers=typed), 422) == "invalid_request"


def test_every_difference_of_a_file_is_listed(shared: Any, http: httpx.Client) -> None:
    shared.create("diff/a", np.zeros(2, np.float32))
    body = {"diff/a": np.ones(3, np.float64), "diff/b": np.ones(1), "../c": np.full(1, np.nan)}
    answer = http.post(
        "/v1/variables:push",
        content=b"".join(safetensors.file_parts(body, {})),
        headers={"Content-Type": FILES["safetensors"]},
    )
    found = {(error["name"], error["code"]) for error in answer.json()["errors"]}
    assert {("diff/a", "shape_mismatch"), ("diff/a", "dtype_mismatch"), ("diff/b", "variable_not_found")} <= found


@QUICK
@given(
    st.sampled_from(list(FILES)).flatmap(
        lambda kind: st.tuples(
            st.just(kind), arrays(st.sampled_from([name for name in DTYPES if name != REFUSED[kind]])).map(wire_array)
        )
    )
)
def test_any_value_survives_the_round_trip_over_a_socket(shared: Any, http: httpx.Client, sent: Any) -> None:
    kind, value = sent
    shared.engine.store.create(NewVariable("trip", value=np.zeros_like(value)))
    try:
        url = "/v1/variables/trip"
        done = http.post(
            f"{url}:assign?allow_non_finite=true", content=one(kind, value), headers={"Content-Type": FILES[kind]}
        )
        assert done.status_code == 200, done.text
        assert same_bits(shared.value("trip"), value)
        read = http.get(f"{url}:read", headers={"Accept": FILES[kind]})
        assert same_bits(array_in(kind, read.content), value)
    finally:
        http.delete("/v1/variables/trip").raise_for_status()
