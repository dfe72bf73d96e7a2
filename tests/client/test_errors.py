from __future__ import annotations

import pickle
import re

import pytest

import paramserver_client as ps
from paramserver_client import errors
from paramserver_wire.codes import CODES


def _subclasses(kind: type) -> list[type]:
    return [each for sub in kind.__subclasses__() for each in (sub, *_subclasses(sub))]


def test_every_code_of_the_wire_has_a_class_of_its_own() -> None:
    assert errors.BY_CODE.keys() == CODES.keys()
    assert len(set(errors.BY_CODE.values())) == len(CODES)
    for code, kind in errors.BY_CODE.items():
        assert kind.code == code


@pytest.mark.parametrize("code", CODES)
def test_a_coded_class_stands_under_a_class_with_a_name_of_tensorflow(code: str) -> None:
    family = errors.BY_CODE[code].__mro__[1]
    assert family.__mro__[1] is errors.ParameterServerError


def test_the_tree_at_the_top_of_the_file_is_the_tree() -> None:
    drawn = dict(re.findall(r"(\w+Error)\b *([a-z_]*)", errors.__doc__ or ""))
    built = {kind.__name__ for kind in _subclasses(errors.ParameterServerError)}
    assert drawn.keys() - {"ParameterServerError"} == built
    for code, kind in errors.BY_CODE.items():
        assert drawn[kind.__name__] == code


def test_every_error_is_exported() -> None:
    for kind in _subclasses(errors.ParameterServerError):
        assert getattr(ps, kind.__name__) is kind


def test_exports_are_there() -> None:
    assert len(set(ps.__all__)) == len(ps.__all__)
    for name in ps.__all__:
        assert getattr(ps, name) is not None


def test_an_error_survives_pickling() -> None:
    error = errors.ShapeMismatchError(
        "wanted [2], got [3]",
        errors=[{"name": "w", "code": "shape_mismatch", "detail": "wanted [2], got [3]"}],
        status=422,
        request_id="a-1",
    )
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(again) is errors.ShapeMismatchError
    assert again.__dict__ == error.__dict__
    assert str(again) == str(error)


def test_all_differences_are_shown_when_there_are_several() -> None:
    listed = [{"name": name, "code": "shape_mismatch", "detail": f"{name} is off"} for name in ("a", "b")]
    text = str(errors.ShapeMismatchError("a is off (and 1 more)", errors=listed))
    assert text.splitlines() == ["a is off (and 1 more)", "All 2 differences:", "  a: a is off", "  b: b is off"]


def test_an_unknown_code_falls_back_to_its_status() -> None:
    assert errors.kind_of("from_the_future", 409) is errors.FailedPreconditionError
    assert errors.kind_of("from_the_future", 418) is errors.UnknownError
    assert errors.kind_of("from_the_future") is errors.UnknownError


@pytest.mark.parametrize("code", [code for code, entry in CODES.items() if entry.status != 500])
def test_what_a_refusal_did_is_known(code: str) -> None:
    assert errors.BY_CODE[code]("x").outcome == "not applied"


def test_what_a_failure_did_is_not() -> None:
    assert errors.BY_CODE["internal"]("x").outcome == "unknown"
    assert errors.OutcomeUnknownError("x").outcome == "unknown"
