from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from paramserver_client import encoding, errors
from paramserver_client.files import FileSource
from paramserver_wire import frame
from paramserver_wire.messages import OPERATIONS, Message
from paramserver_wire.tensors import Tensor, Untyped

HEX = "6c0f3a9d5be71284"


def sent(operation: str, **arguments: Any) -> tuple[encoding.Encoded, dict[str, str], bytes]:
    encoded = encoding.encode(Message(operation, arguments, "c-1" if OPERATIONS[operation].mutates else None))
    return encoded, {name.lower(): value for name, value in encoded.all_fields}, b"".join(encoded.views)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_can_be_rendered(name: str) -> None:
    operation = OPERATIONS[name]
    file = FileSource(__file__)
    examples: dict[str, Any] = {"file": file, "value": Untyped(1.0), "updates": [], "names": ["w"], "shape": [2]}
    encoded, fields, body = sent(name, **{argument: examples.get(argument, "w") for argument in operation.places})
    assert encoded.method == operation.method
    assert encoded.target.startswith("/v1/")
    assert "{" not in encoded.target
    assert ("idempotency-key" in fields) is operation.mutates
    assert bool(body) is any(place in ("body", "tensor", "document") for place in operation.places.values())
    sent_nbytes = file.nbytes if "file" in operation.places.values() else len(body)
    assert fields.get("content-length", "0") == str(sent_nbytes)


def test_what_was_not_given_is_left_out() -> None:
    encoded, _, body = sent("initialize", names=None, prefix=None, seed=7)
    assert json.loads(body) == {"seed": 7}
    assert sent("list_variables", prefix=None)[0].target == "/v1/variables"
    assert encoded.target == "/v1/variables:initialize"


def test_a_query() -> None:
    encoded, _, _ = sent("list_variables", prefix="a b&c", initialized=False, page_size=7)
    assert encoded.target == "/v1/variables?prefix=a%20b%26c&initialized=false&page_size=7"


def test_a_field_by_its_name_on_the_wire() -> None:
    _, _, body = sent("push", updates=[{"name": "w", "op": "assign", "value": Untyped(1)}], returns=["w"])
    assert json.loads(body) == {"updates": [{"name": "w", "op": "assign", "value": 1}], "return": ["w"]}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("conv1/weight", "conv1/weight"),
        ("..", "%2E%2E"),
        ("a/../b", "a/%2E%2E/b"),
        ("./a", "%2E/a"),
        ("a//b", "a//b"),
        ("a b?c#d%e", "a%20b%3Fc%23d%25e"),
        ("é", "%C3%A9"),
        ("\ud800", "%3F"),
    ],
)
def test_a_name_in_a_path_reaches_the_server_as_it_is(name: str, path: str) -> None:
    assert sent("get_variable", name=name)[0].target == f"/v1/variables/{path}"


@pytest.mark.parametrize("name", ["", "a:b", "w:assign", 5, None.__class__])
def test_a_name_that_has_no_path(name: Any) -> None:
    with pytest.raises(errors.InvalidNameError, match="Wanted a name"):
        sent("get_variable", name=name)


@pytest.mark.parametrize("tag", [f"{HEX}-3", f'"{HEX}-3"', "3", 3])
def test_conditions_are_quoted_once(tag: Any) -> None:
    _, fields, _ = sent("assign", name="w", value=Untyped(1), if_match=tag)
    assert fields["if-match"] == '"' + str(tag).strip('"') + '"'
    assert sent("read", name="w", if_none_match=tag)[1]["if-none-match"] == fields["if-match"]


@pytest.mark.parametrize(
    ("untyped", "body"),
    [
        (Untyped(1.5), '{"value":1.5}'),
        (Untyped([1, [True]]), '{"value":[1,[true]]}'),
        (Untyped([], "float32", (0, 3)), '{"value":[],"dtype":"float32","shape":[0,3]}'),
        (Untyped([np.float32(0.5), np.int8(3)]), '{"value":[0.5,3]}'),
        (Untyped(float("nan")), '{"value":"NaN"}'),
        (Untyped([[float("inf")], [-float("inf")]]), '{"value":[["Infinity"],["-Infinity"]]}'),
        (Untyped(10**30), f'{{"value":{10**30}}}'),
    ],
)
def test_numbers_travel_as_json(untyped: Untyped, body: str) -> None:
    _, fields, found = sent("assign", name="w", value=untyped)
    assert (fields["content-type"], found.decode()) == ("application/json", body)


def test_not_a_number_deep_in_a_push() -> None:
    _, _, body = sent("push", updates=[{"name": "w", "op": "assign", "value": Untyped([float("nan"), 1])}])
    assert json.loads(body)["updates"][0]["value"] == ["NaN", 1]


def test_any_mapping_will_do() -> None:
    _, _, found = sent("save", metadata=MappingProxyType({"a": MappingProxyType({"b": np.int8(1)})}))
    assert json.loads(found) == {"metadata": {"a": {"b": 1}}}


@pytest.mark.parametrize("value", [Untyped([1j]), Untyped([np.zeros(2)]), Untyped([object()])])
def test_what_json_has_no_form_for(value: Untyped) -> None:
    with pytest.raises(errors.InvalidRequestError, match="Wanted numbers"):
        sent("assign", name="w", value=value)


def test_arrays_travel_as_a_frame_without_a_copy() -> None:
    array = np.arange(100_000, dtype=np.float32)
    encoded, fields, body = sent("assign", name="w", value=array)
    assert fields["content-type"] == frame.MEDIA_TYPE
    assert any(np.shares_memory(np.frombuffer(view, np.uint8), array) for view in encoded.views)
    np.testing.assert_array_equal(frame.decode(body).array, array)


def test_arrays_and_numbers_in_one_push() -> None:
    updates = [
        {"name": "a", "op": "assign", "value": np.ones(2, np.float32)},
        {"name": "b", "op": "assign_add", "value": Untyped(2.0), "if_version": "3"},
    ]
    _, fields, body = sent("push", updates=updates)
    assert fields["content-type"] == frame.MEDIA_TYPE
    first, second = frame.decode(body)["updates"]
    np.testing.assert_array_equal(first["value"].array, [1, 1])
    assert second == {"name": "b", "op": "assign_add", "value": 2.0, "if_version": "3"}


def test_an_array_that_no_variable_can_hold() -> None:
    with pytest.raises(errors.DtypeMismatchError, match="object"):
        sent("assign", name="w", value=np.array([object()]))


@pytest.mark.parametrize(
    ("operation", "arguments", "tensors"),
    [
        ("read", {"name": "w"}, True),
        ("pull", {}, True),
        ("push", {"updates": []}, False),
        ("push", {"updates": [], "returns": ["w"]}, True),
        ("assign", {"name": "w", "value": Untyped(1)}, False),
        ("assign", {"name": "w", "value": Untyped(1), "return_representation": True}, True),
        ("server", {}, False),
    ],
)
def test_tensors_are_asked_for_as_frames(operation: str, arguments: dict[str, Any], tensors: bool) -> None:
    fields = sent(operation, **arguments)[1]
    assert fields["accept"] == (frame.MEDIA_TYPE if tensors else "application/json")
    assert ("prefer" in fields) is bool(arguments.get("return_representation"))


def body(tree: Any) -> memoryview:
    return memoryview(bytearray(b"".join(frame.encode(tree))))


def test_a_frame_is_decoded_into_views() -> None:
    received = body({"commit": 3, "tensors": {"w": Tensor(np.arange(3.0), {"version": 2})}})
    answer = encoding.decode(200, {"content-type": frame.MEDIA_TYPE}, received)
    array = answer.body["tensors"]["w"].array
    assert np.shares_memory(array, np.frombuffer(received, np.uint8))
    assert array.flags.writeable


def test_a_large_answer_may_have_a_large_header() -> None:
    tensors = {f"layer{i:05}/weight": Tensor(np.zeros(1, np.float32), {"incarnation": HEX}) for i in range(10_000)}
    received = body({"tensors": tensors})
    assert len(received) > 2**20
    assert len(encoding.decode(200, {"content-type": frame.MEDIA_TYPE}, received).body["tensors"]) == 10_000


def test_json_is_decoded() -> None:
    fields = {"content-type": "Application/JSON; charset=utf-8", "idempotent-replayed": "true"}
    answer = encoding.decode(201, fields, memoryview(b'{"a":1}'))
    assert (answer.body, answer.status, answer.replayed) == ({"a": 1}, 201, True)


@pytest.mark.parametrize("status", [204, 304])
def test_nothing_is_decoded(status: int) -> None:
    answer = encoding.decode(status, {}, memoryview(b""))
    assert (answer.body, answer.status, answer.replayed) == (None, status, False)


@pytest.mark.parametrize(
    ("media_type", "received"),
    [("application/json", b"{"), ("application/json", b"\xff"), (frame.MEDIA_TYPE, b"PSF1\xff\xff\xff\xff")],
)
def test_a_damaged_answer_says_that_it_was_applied(media_type: str, received: bytes) -> None:
    with pytest.raises(errors.UnexpectedAnswerError, match="cannot be decoded") as raised:
        encoding.decode(200, {"content-type": media_type}, memoryview(received))
    assert raised.value.outcome == "applied"


def test_an_answer_of_another_program() -> None:
    with pytest.raises(errors.UnexpectedAnswerError, match="text/html: '<h1>hello"):
        encoding.decode(200, {"content-type": "text/html"}, memoryview(b"<h1>hello</h1>"))


def problem(
    status: int, document: Any, media_type: str = encoding.PROBLEM, **fields: str
) -> errors.ParameterServerError:
    received = document if isinstance(document, bytes) else json.dumps(document).encode()
    return encoding.problem(status, {"content-type": media_type, **fields}, memoryview(received), "c-1")


def test_a_problem_becomes_the_class_of_its_code() -> None:
    listed = [{"name": "w", "code": "shape_mismatch", "detail": "wanted [2], got [3]"}]
    found = problem(422, {"code": "shape_mismatch", "detail": "wanted [2], got [3]", "errors": listed})
    assert type(found) is errors.ShapeMismatchError
    assert (found.detail, found.errors) == ("wanted [2], got [3]", listed)
    assert (found.status, found.request_id, found.outcome) == (422, "c-1", "not applied")


def test_a_code_of_a_newer_server() -> None:
    found = problem(409, {"code": "quorum_lost", "title": "The quorum is lost"})
    assert type(found) is errors.FailedPreconditionError
    assert (found.code, found.detail) == ("quorum_lost", "The quorum is lost")


@pytest.mark.parametrize("document", [b"<html>no</html>", b"{", b"[]", b'{"detail": "x"}'])
def test_a_problem_without_a_code(document: bytes) -> None:
    found = problem(404, document)
    assert type(found) is errors.NotFoundError
    assert found.code == "unexpected_answer"
    assert "without a problem code" in found.detail


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(502, "unknown"), (504, "unknown"), (500, "unknown"), (503, "not applied"), (404, "not applied")],
)
def test_what_a_proxys_page_says_about_the_outcome(status: int, outcome: str) -> None:
    assert problem(status, b"<html>", "text/html").outcome == outcome


def test_a_redirect_is_an_error() -> None:
    found = problem(307, b"", "text/plain", location="http://elsewhere/")
    assert type(found) is errors.UnexpectedAnswerError
    assert "http://elsewhere/" in found.detail
    assert found.outcome == "not applied"
