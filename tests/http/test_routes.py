"""Every route over a real socket: status, headers and form of its answers, in each media type."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from pydantic import BaseModel

from paramserver.http import models
from paramserver.http.routes import ROUTES
from paramserver_wire import frame, packed
from paramserver_wire.messages import OPERATIONS, Message
from paramserver_wire.tensors import Tensor
from support.raw_http import read_reply

FRAME = frame.MEDIA_TYPE
BY_OPERATION = {route.operation: route for route in ROUTES}


@pytest.fixture
def served(shared: Any) -> Any:
    """An empty server, shared by the tests of this file: to start one takes longer than most of them."""
    shared.engine.perform(Message("delete_variables", {"confirm": True}))
    return shared


def problem(answer: httpx.Response) -> str:
    """The code of a problem, which must be a whole document with the status it came with."""
    assert answer.headers["content-type"] == "application/problem+json"
    document = models.ProblemDocument.model_validate_json(answer.content)
    assert document.status == answer.status_code
    return document.code


def answered(answer: httpx.Response, operation: str) -> Any:
    """The body of an answer, which must have the form that its route documents."""
    model = BY_OPERATION[operation].answer
    assert model is not None
    assert answer.is_success, answer.text
    assert answer.headers["content-type"] == "application/json"
    model.model_validate_json(answer.content)
    return answer.json()


# ------------------------------------------------------------------------------------------------- the table itself


def test_there_is_one_route_for_each_operation() -> None:
    assert sorted(route.operation for route in ROUTES) == sorted(OPERATIONS)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_models_and_operations_name_the_same_arguments(route: Any) -> None:
    places = OPERATIONS[route.operation].places
    if "document" in places.values():
        places = {**places, **dict.fromkeys(route.body.model_fields, "body")}
    for model, place in ((route.query, "query"), (route.body, "body")):
        assert set(model.model_fields) == {name for name, where in places.items() if where == place}
        wire_names = {field.alias or name for name, field in model.model_fields.items()}
        renamed = OPERATIONS[route.operation].wire_names
        assert wire_names == {renamed.get(name, name) for name, where in places.items() if where == place}


def _models() -> list[type[BaseModel]]:
    return [kind for kind in vars(models).values() if isinstance(kind, type) and issubclass(kind, models.Model)]


@pytest.mark.parametrize("model", _models(), ids=lambda model: model.__name__)
def test_every_field_is_described_with_an_example(model: type[BaseModel]) -> None:
    for name, schema in model.model_json_schema().get("properties", {}).items():
        described = {**schema, **{key: value for part in schema.get("anyOf", ()) for key, value in part.items()}}
        assert described.get("description"), name
        assert described.get("examples"), name


# ------------------------------------------------------------------------------------------------- one variable


def test_the_life_of_a_variable(http: httpx.Client) -> None:
    made = http.put("/v1/variables/a/w", json={"shape": [2], "dtype": "float64", "initializer": {"type": "ones"}})
    assert made.status_code == 201
    assert made.headers["location"] == "/v1/variables/a/w"
    assert answered(made, "create_variable")["version"] == 0
    again = http.put("/v1/variables/a/w?reuse=auto", json={"shape": [2], "dtype": "float64"})
    assert again.status_code == 200
    assert "location" not in again.headers
    assert problem(http.put("/v1/variables/a/w", json={"shape": [2]})) == "variable_exists"
    assert problem(http.get("/v1/variables/a/w:read")) == "uninitialized"
    assert answered(http.get("/v1/variables/a/w:is_initialized"), "is_initialized") == {"initialized": False}
    assert answered(http.get("/v1/variables:report_uninitialized?prefix=a"), "report_uninitialized") == {
        "names": ["a/w"]
    }
    assert problem(http.post("/v1/variables:assert_initialized")) == "uninitialized"
    assert answered(http.post("/v1/variables/a/w:initialize"), "initialize_variable")["initialized"] == ["a/w"]
    assert answered(http.post("/v1/variables:initialize", json={"prefix": "a"}), "initialize")["skipped"] == ["a/w"]
    done = http.post("/v1/variables:assert_initialized")
    assert (done.status_code, done.content) == (204, b"")
    changed = answered(http.patch("/v1/variables/a/w", json={"trainable": False}), "update_variable")
    assert changed["trainable"] is False
    assert answered(http.get("/v1/variables/a/w"), "get_variable") == changed
    assert answered(http.get("/v1/variables?prefix=a"), "list_variables")["variables"] == [changed]
    gone = http.delete("/v1/variables/a/w")
    assert (gone.status_code, gone.content) == (204, b"")
    assert problem(http.get("/v1/variables/a/w")) == "variable_not_found"


def test_deleting_a_scope_must_be_confirmed(http: httpx.Client) -> None:
    for name in ("a/x", "a/y", "ab"):
        http.put(f"/v1/variables/{name}", json={"value": 1.0})
    assert problem(http.delete("/v1/variables?prefix=a")) == "invalid_request"
    assert problem(http.delete("/v1/variables?prefix=a&confirm=yes")) == "invalid_request"
    assert answered(http.delete("/v1/variables?prefix=a&confirm=true"), "delete_variables") == {
        "deleted": ["a/x", "a/y"]
    }
    assert [v["name"] for v in http.get("/v1/variables").json()["variables"]] == ["ab"]


def test_pages(http: httpx.Client) -> None:
    for name in "edcba":
        http.put(f"/v1/variables/{name}", json={"value": 1.0})
    names, token = [], ""
    while token is not None:
        page = answered(http.get("/v1/variables", params={"page_size": 2, "page_token": token}), "list_variables")
        names.append([variable["name"] for variable in page["variables"]])
        token = page["next_page_token"]
    assert names == [["a", "b"], ["c", "d"], ["e"]]


def test_writes_and_their_preferences(http: httpx.Client) -> None:
    http.put("/v1/variables/w", json={"value": [1.0, 2.0]})
    added = http.post("/v1/variables/w:assign_add", json={"value": [1, 1]})
    tag = f'"{answered(added, "assign_add")["incarnation"]}-2"'
    assert "preference-applied" not in added.headers
    shown = http.post("/v1/variables/w:assign_sub", json=[1, 1], headers={"Prefer": "wait=5, return=representation"})
    assert answered(shown, "assign_sub")["value"] == [1.0, 2.0]
    assert shown.headers["preference-applied"] == "return=representation"
    stale = http.post("/v1/variables/w:assign", json=0, headers={"If-Match": tag})
    assert (problem(stale), stale.status_code) == ("version_mismatch", 412)
    for version, form in enumerate(("{}", '"{}"', "*", "{i}-{}", '"{i}-{}"', 'W/"{i}-{}"'), start=3):
        fresh = form.format(version, i=added.json()["incarnation"])
        assert http.post("/v1/variables/w:assign", json=0, headers={"If-Match": fresh}).status_code == 200, fresh
    assert http.get("/v1/variables/w:read").json()["value"] == [0.0, 0.0]


def test_reading_has_a_tag_and_conditions(http: httpx.Client) -> None:
    http.put("/v1/variables/w", json={"value": [[1.0, 2.0], [3.0, 4.0]]})
    read = http.get("/v1/variables/w:read")
    body = answered(read, "read")
    tag = read.headers["etag"]
    assert tag == f'"{body["incarnation"]}-{body["version"]}"'
    assert (body["value"], body["shape"], body["dtype"]) == ([[1.0, 2.0], [3.0, 4.0]], [2, 2], "float32")
    for known in (tag, tag.strip('"'), f"W/{tag}", "1", f'"x-1", {tag}'):
        unchanged = http.get("/v1/variables/w:read", headers={"If-None-Match": known})
        assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", tag), known
    assert http.get("/v1/variables/w:read", headers={"If-None-Match": "2"}).status_code == 200
    part = http.get("/v1/variables/w:read", params={"slice": ":,1", "dtype": "float64"}).json()
    assert (part["value"], part["dtype"]) == ([2.0, 4.0], "float64")
    assert problem(http.get("/v1/variables/w:read?slice=0:2,5")) == "index_out_of_range"
    assert problem(http.get("/v1/variables/w:read?slice=__import__('os')")) == "invalid_request"
    assert problem(http.get("/v1/variables/w:read?dtype=int8")) == "dtype_mismatch"
    assert problem(http.get("/v1/variables/w:read?wait_s=61&after_version=1")) == "invalid_request"
    newer = http.get("/v1/variables/w:read?after_version=0&wait_s=60")
    assert newer.status_code == 200
    waited = http.get("/v1/variables/w:read?after_version=1&wait_s=0.05")
    assert (waited.status_code, waited.content) == (204, b"")


@pytest.mark.parametrize("path", ["w:read", "w", "w:is_initialized"])
def test_head_is_get_without_a_body(http: httpx.Client, path: str) -> None:
    http.put("/v1/variables/w", json={"value": [1.0]})
    got, head = http.get(f"/v1/variables/{path}"), http.head(f"/v1/variables/{path}")
    assert (head.status_code, head.content) == (200, b"")
    different = {"date"}
    assert {k: v for k, v in head.headers.items() if k not in different} == {
        k: v for k, v in got.headers.items() if k not in different
    }
    assert http.head("/v1/variables/nope:read").status_code == 404
    assert http.head("/v1/server").status_code == http.head("/healthz").status_code == 200


# ------------------------------------------------------------------------------------------------- media types


@pytest.mark.parametrize("sent", ["application/json", packed.MEDIA_TYPE, FRAME])
@pytest.mark.parametrize("wanted", [None, "application/json", packed.MEDIA_TYPE, FRAME])
def test_a_push_and_a_pull_in_every_media_type(http: httpx.Client, sent: str, wanted: str | None) -> None:
    http.put("/v1/variables/w", json={"value": [1.0, 2.0]})
    delta: Any = [0.5, 0.5] if sent == "application/json" else np.full(2, 0.5, np.float32)
    tree = {"updates": [{"name": "w", "op": "assign_add", "value": delta}], "return": ["w"]}
    headers = {"Content-Type": sent, "Accept": "" if wanted is None else wanted}
    answer = http.post("/v1/variables:push", content=_body(sent, tree), headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == (wanted or sent)
    body = _tree(answer)
    commit = body["commit"]
    assert body["versions"] == {"w": 2}
    assert _values(body["tensors"]["w"]) == [1.5, 2.5]
    pulled = http.post("/v1/variables:pull", content=_body(sent, {"names": ["w"]}), headers=headers)
    body = _tree(pulled)
    assert body["commit"] == commit
    assert _values(body["tensors"]["w"]) == [1.5, 2.5]
    assert _meta(body["tensors"]["w"])["version"] == 2
    tag = f"{_meta(body['tensors']['w'])['incarnation']}-2"
    for known in (tag, "2", 2):
        tree = {"names": ["w"], "if_versions": {"w": known}}
        assert _tree(http.post("/v1/variables:pull", content=_body(sent, tree), headers=headers))["tensors"] == {}


def _body(media_type: str, tree: Any) -> bytes:
    if media_type == "application/json":
        return json.dumps(tree).encode()
    return packed.pack(tree) if media_type == packed.MEDIA_TYPE else b"".join(frame.encode(tree))


def _tree(answer: httpx.Response) -> Any:
    media_type = answer.headers["content-type"]
    if media_type == "application/json":
        return answer.json()
    return packed.unpack(answer.content) if media_type == packed.MEDIA_TYPE else frame.decode(answer.content)


def _values(tensor: Any) -> Any:
    return tensor.array.tolist() if isinstance(tensor, Tensor) else tensor["value"]


def _meta(tensor: Any) -> Any:
    return tensor.meta if isinstance(tensor, Tensor) else tensor


def test_pull_and_push_have_their_documented_form(http: httpx.Client) -> None:
    http.put("/v1/variables/w", json={"value": [1.0, 2.0]})
    push = {"updates": [{"name": "w", "op": "assign", "value": 3, "if_version": 1}], "return": ["w"]}
    assert answered(http.post("/v1/variables:push", json=push), "push")["tensors"]["w"]["value"] == [3.0, 3.0]
    answered(http.post("/v1/variables:pull", json={"prefix": ""}), "pull")
    answered(http.post("/v1/variables:pull"), "pull")


def test_json_answers_spell_non_finite_values(http: httpx.Client) -> None:
    http.put("/v1/variables/w", json={"value": [1.0, 2.0, 3.0]})
    refused = http.post("/v1/variables/w:assign", json={"value": ["NaN", "Infinity", 1]})
    assert problem(refused) == "non_finite"
    taken = http.post("/v1/variables/w:assign?allow_non_finite=true", json={"value": ["NaN", "Infinity", 1]})
    assert taken.status_code == 200
    assert http.get("/v1/variables/w:read").json()["value"] == ["NaN", "Infinity", 1.0]


def test_a_large_value_as_json(http: httpx.Client, served: Any) -> None:
    served.create("w", np.arange(500_000, dtype=np.float32))
    read = http.get("/v1/variables/w:read")
    assert read.headers["transfer-encoding"] == "chunked"
    assert answered(read, "read")["value"] == list(map(float, range(500_000)))
    assert http.head("/v1/variables/w:read").status_code == 200


# ------------------------------------------------------------------------------------------------- repeats


def test_a_repeat_gets_the_first_answer(http: httpx.Client) -> None:
    http.put("/v1/variables/w", json={"value": [1.0]})
    key = {"Idempotency-Key": "worker-1"}
    first = http.post("/v1/variables/w:assign_add", json=[1], headers=key)
    again = http.post("/v1/variables/w:assign_add", json=[1], headers=key)
    assert first.json() == again.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert http.get("/v1/variables/w:read").json()["value"] == [2.0]
    for other in (
        http.post("/v1/variables/w:assign_add", json=[2], headers=key),
        http.post("/v1/variables/w:assign_sub", json=[1], headers=key),
        http.post("/v1/variables/w:assign_add?use_locking=false", json=[1], headers=key),
    ):
        assert problem(other) == "idempotency_key_reused"
    assert (
        problem(http.post("/v1/variables/w:assign", json=[1], headers={"Idempotency-Key": "w-0"})) == "invalid_request"
    )
    assert problem(http.post("/v1/variables/w:assign", json=[1], headers={"Idempotency-Key": "new-9999"})) == "too_old"


@pytest.mark.parametrize("key", ["a-1", "b-1"])
def test_a_repeat_of_a_refused_request_is_tried_anew(http: httpx.Client, key: str) -> None:
    headers = {"Idempotency-Key": key}
    assert problem(http.post("/v1/variables/w:assign_add", json=[1], headers=headers)) == "variable_not_found"
    http.put("/v1/variables/w", json={"value": [1.0]})
    assert http.post("/v1/variables/w:assign_add", json=[1], headers=headers).status_code == 200


# ------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/variables/w:assign", "POST"),
        ("POST", "/v1/variables/w", "DELETE, GET, HEAD, PATCH, PUT"),
        ("PUT", "/v1/variables", "DELETE, GET, HEAD"),
        ("POST", "/v1/server", "GET, HEAD"),
        ("PUT", "/v1/checkpoints", "GET, HEAD, POST"),
        ("POST", "/healthz", "GET, HEAD"),
        ("OPTIONS", "/v1/variables:pull", "POST"),
    ],
)
def test_405_lists_every_method_of_the_path(http: httpx.Client, method: str, path: str, allow: str) -> None:
    answer = http.request(method, path)
    assert (problem(answer), answer.headers["allow"]) == ("method_not_allowed", allow)


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v1/", "/v1/variables/", "/v1/variables/:read", "/v1/variables/w:", "/v1/variables/w:READ"],
)
def test_404_of_the_router(http: httpx.Client, path: str) -> None:
    assert problem(http.get(path)) == "not_found"


@pytest.mark.parametrize(
    "name", ["a//b", "../etc/passwd", "a/../b", "%2e%2e/a", "a/", "-a", "a b", "%00", "%ff%fe", "é", "x" * 300, "a\\b"]
)
def test_bad_names(served: Any, name: str) -> None:
    # By hand, because httpx would tidy the dots away.
    target = quote(name, safe="/%\\:").replace("\\", "%5C")
    with served.connect() as connection:
        head = f"PUT /v1/variables/{target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 11"
        connection.sendall(head.encode() + b'\r\n\r\n{"value":1}')
        reply = read_reply(connection)
    assert (reply.status, reply.json()["code"]) == (422, "invalid_name")
    assert not served.engine.store.names()


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("w:assign", {"value": 1, "extra": 2}, ""),
        ("w:assign", {}, ""),
        ("w:assign", {"value": [1], "dtype": 5}, ""),
        ("w:assign", {"value": [1], "shape": [True]}, ""),
        (":push", {}, "updates"),
        (":push", {"updates": {}}, "updates"),
        (":push", {"updates": [{"name": 1, "op": "assign", "value": 1}]}, "updates.0.name"),
        (":push", {"updates": [{"name": "w", "op": "assign"}]}, "w"),
        (":push", {"updates": [{"name": "w", "op": "assign", "value": None}]}, "updates.0.value"),
        (":push", {"updates": [{"name": "w", "op": "assign", "value": 1, "if_version": True}]}, "updates.0.if_version"),
        (":push", {"updates": [], "returns": ["w"]}, "returns"),
        (":pull", {"names": "w"}, "names"),
        (":pull", {"if_versions": {"w": [1]}}, "if_versions.w"),
        (":initialize", {"seed": 2**70}, "seed"),
        (":initialize", {"only_uninitialized": "true"}, "only_uninitialized"),
        (":pull", [], ""),
        (":pull", 3, ""),
    ],
)
def test_bodies_of_another_form(http: httpx.Client, path: str, body: Any, field: str) -> None:
    http.put("/v1/variables/w", json={"value": [1.0]})
    answer = http.post(f"/v1/variables{path if path.startswith(':') else '/' + path}", json=body)
    assert problem(answer) == "invalid_request"
    assert answer.json()["errors"][0]["name"] == field


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("unknown=1", "unknown"),
        ("page_size=0", "page_size"),
        ("page_size=1001", "page_size"),
        ("page_size=1_0", "page_size"),
        ("initialized=1", "initialized"),
        ("prefix=a&prefix=b", ""),
        ("&".join(f"a{n}=1" for n in range(100)), ""),
    ],
)
def test_queries_of_another_form(http: httpx.Client, query: str, field: str) -> None:
    answer = http.get(f"/v1/variables?{query}")
    assert problem(answer) == "invalid_request"
    assert field in json.dumps(answer.json()["errors"])


HOSTILE: list[tuple[str, bytes]] = [
    ("application/json", b"[" * 900_000),
    ("application/json", b'{"value":' + b"[" * 60 + b"1" + b"]" * 60 + b"}"),
    ("application/json", b'{"value": [[1], [1, 2]]}'),
    ("application/json", b'{"value": 1e999}'),
    ("application/json", b'{"value": NaN}'),
    ("application/json", b'{"value": "\\ud800"}'),
    ("application/json", b'{"value": 1, "value": 2}'),
    ("application/json", b'{"value": [], "shape": [4294967296, 4294967296, 0]}'),
    ("application/json", b'{"value": 1, "shape": [-1]}'),
    ("application/json", b'{"value": 1, "shape": [1, 1, 1, 1, 1, 1, 1, 1, 1]}'),
    ("application/json", b'{"value": 1, "shape": [1099511627776]}'),
    ("application/json", b'{"value": 1, "dtype": "object"}'),
    ("application/json", b'{"value": ' + b"9" * 400 + b"}"),
    ("application/json", b"\x80\x81"),
    ("application/json", b""),
    ("application/msgpack", b"\x90" * 900_000),
    ("application/msgpack", b"\xdd\xff\xff\xff\xff"),
    ("application/msgpack", b"\xc7\x01\x01\x00"),
    ("application/msgpack", b"\x83\xa5dtype\xa7float32\xa5shape\x91\x02\xa4data\xc4\x04abcd"),
    (FRAME, b"PSF1"),
    (FRAME, b"PSF1\xff\xff\xff\xff"),
    (FRAME, b"PSF1\x00\x00\x00\x00"),
    (FRAME, b"".join(frame.encode(np.ones(4, np.float32)))[:-1]),
    (FRAME, b"".join(frame.encode(np.ones(4, np.float32))) + b"x"),
    (FRAME, b"".join(frame.encode({"$t": np.ones(4)}))),
    (FRAME, b"".join(frame.encode(Tensor(np.ones(1, np.float32), {"name": "x"})))),
]


@pytest.mark.parametrize(("media_type", "body"), HOSTILE)
@pytest.mark.parametrize("route", ["POST /v1/variables/w:assign", "POST /v1/variables:push", "PUT /v1/variables/new"])
def test_hostile_bodies_are_refused_and_change_nothing(
    http: httpx.Client, media_type: str, body: bytes, route: str
) -> None:
    http.put("/v1/variables/w", json={"value": [1.0]})
    before = http.get("/v1/variables").json()
    method, path = route.split()
    answer = http.request(method, path, content=body, headers={"Content-Type": media_type})
    assert 400 <= answer.status_code < 500, answer.text
    problem(answer)
    assert http.get("/v1/variables").json() == before


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-Type": "text/plain"}, "unsupported_media_type"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "unsupported_media_type"),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, "unsupported_media_type"),
        ({"Content-Type": "application/json", "Accept": "text/html"}, "not_acceptable"),
        ({"Content-Type": "application/json", "If-Match": ""}, "invalid_request"),
    ],
)
def test_headers_that_are_refused_before_anything_changes(
    http: httpx.Client, headers: dict[str, str], code: str
) -> None:
    http.put("/v1/variables/w", json={"value": [1.0]})
    assert problem(http.post("/v1/variables/w:assign", content=b"[5]", headers=headers)) == code
    assert http.get("/v1/variables/w:read").json()["value"] == [1.0]


def test_a_body_without_a_content_type(http: httpx.Client) -> None:
    assert problem(http.post("/v1/variables:pull", content=b"{}")) == "unsupported_media_type"


def test_limits_by_media_type(serve_with: Any) -> None:
    served = serve_with(
        control_limit_nbytes=1024,
        json_limit_nbytes=4096,
        msgpack_limit_nbytes=8192,
        body_limit_nbytes=16384,
        variables_limit=9,
    )
    served.create("w", np.zeros(1, np.float32))
    with served.client() as http:
        for media_type, path, fits in (
            ("application/json", ":pull", 1024),
            ("application/json", "/w:assign", 4096),
            ("application/msgpack", "/w:assign", 8192),
            (FRAME, "/w:assign", 16384),
        ):
            headers = {"Content-Type": media_type}
            taken = http.post(f"/v1/variables{path}", content=b" " * fits, headers=headers)
            assert problem(taken) == "malformed_body", media_type
            refused = http.post(f"/v1/variables{path}", content=b" " * (fits + 1), headers=headers)
            assert problem(refused) == "body_too_large", media_type
        assert problem(http.post("/v1/variables:pull", json={"names": ["w"] * 10})) == "invalid_request"
        limits = http.get("/v1/server").json()["limits"]
        assert (limits["json_limit_nbytes"], limits["variables_limit"]) == (4096, 9)


# ------------------------------------------------------------------------------------------------- the server


def test_the_server_and_its_probes(http: httpx.Client) -> None:
    info = answered(http.get("/v1/server"), "server")
    assert (info["name"], info["protocol_version"], info["durability"]) == ("paramserver", 1, "none")
    assert http.get("/healthz").json() == {"status": "live"}
    assert http.get("/readyz").json() == {"status": "ready"}


def test_checkpoints_need_a_data_directory(http: httpx.Client) -> None:
    for method, path in (
        ("POST", "/v1/checkpoints"),
        ("GET", "/v1/checkpoints"),
        ("GET", "/v1/checkpoints/latest"),
        ("DELETE", "/v1/checkpoints/a"),
        ("POST", "/v1/checkpoints/latest:restore"),
    ):
        assert problem(http.request(method, path)) == "no_data_dir"


def test_checkpoints_have_their_documented_form(serve_with: Any, tmp_path: Any) -> None:
    served = serve_with(data_dir=tmp_path / "data")
    served.create("w", np.arange(3, dtype=np.float32))
    with served.client() as http:
        saved = http.post("/v1/checkpoints", json={"id": "run/1", "step": 7, "metadata": {"loss": 0.5}})
        assert (saved.status_code, saved.headers["location"]) == (201, "/v1/checkpoints/run/1")
        info = answered(saved, "save")
        assert answered(http.get("/v1/checkpoints"), "list_checkpoints")["checkpoints"] == [info]
        assert answered(http.get("/v1/checkpoints/latest"), "get_checkpoint") == info
        http.post("/v1/variables/w:assign", json=0)
        assert answered(http.post("/v1/checkpoints/run/1:restore"), "restore")["restored"] == ["w"]
        assert http.get("/v1/variables/w:read").json()["value"] == [0.0, 1.0, 2.0]
        assert problem(http.post("/v1/checkpoints/none:restore")) == "checkpoint_not_found"
        assert http.delete("/v1/checkpoints/run/1").status_code == 204


@pytest.mark.parametrize("metadata", [{"a": 2**70}, {"a": [{"b": -(2**64)}]}, {"a": float("inf")}])
def test_what_no_answer_could_carry_is_not_kept(serve_with: Any, tmp_path: Any, metadata: Any) -> None:
    """Kept once, it made every later listing of the checkpoints fail."""
    with serve_with(data_dir=tmp_path / "data").client() as http:
        body = json.dumps({"metadata": metadata}).replace("Infinity", "1e999")
        saved = http.post("/v1/checkpoints", content=body, headers={"Content-Type": "application/json"})
        assert problem(saved) == "invalid_request"
        assert http.get("/v1/checkpoints").json() == {"checkpoints": []}
        spec = {"shape": [2], "initializer": {"type": "constant", "value": 2**70}}
        assert problem(http.put("/v1/variables/w", json=spec)) == "invalid_request"


def test_a_variable_larger_than_allowed_is_refused(serve_with: Any) -> None:
    served = serve_with(tensor_limit_nbytes=4096)
    with served.client() as http:
        for body in ({"shape": [1025]}, {"value": 0.0, "shape": [1025]}, {"value": [0.0] * 1025}):
            assert problem(http.put("/v1/variables/w", json=body)) == "shape_mismatch"
        assert http.put("/v1/variables/w", json={"shape": [1024]}).status_code == 201


def test_the_description_holds_together(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    text = json.dumps(document)
    for reference in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert reference in document["components"]["schemas"]
    described = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item if path.startswith("/v1")
    }
    assert described == {(operation.method, operation.path) for operation in OPERATIONS.values()}
    for item in document["paths"].values():
        for operation in item.values():
            assert operation["summary"]
