"""What the forms of all subjects are made of: the strict model, and the types of their fields.

Every field has a description and an example; a form whose fields are not all given at once has whole `examples` too.
"""

from __future__ import annotations

from types import NoneType
from typing import Annotated, Any, Final, get_args, get_origin

import numpy as np
import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from paramserver_wire.tensors import Tensor

LONG_POLL_LIMIT_S: Final = 60
INT64: Final = 2**63 - 1
MAX_FIELDS: Final = 100
# An error is made for each entry that does not fit, of a kilobyte and more: so many are, and no others.
_PIECE: Final = 100

FORM: Final = "x-form"


def described_as(form: type[BaseModel]) -> WithJsonSchema:
    """Say in the description that a field holds `form`, though its validator takes more.

    `FORM` becomes a `$ref` in the document: pydantic drops one it has not made itself.
    """
    return WithJsonSchema({FORM: form.__name__})


def _recipe(given: Any) -> Any:
    """An initializer's arguments may be tensors too; below, they are plain arrays."""
    if isinstance(given, dict):
        return _sendable({key: value.array if isinstance(value, Tensor) else value for key, value in given.items()})
    return given


def _sendable(given: Any) -> Any:
    """What is kept as it came must be of a kind that every answer can carry: no integer over 64 bits, for one."""
    try:
        orjson.dumps(given, default=_unseen_array)
    except TypeError as error:
        raise PydanticCustomError("sendable", "it cannot be kept: {reason}", {"reason": str(error)}) from None
    return given


def _unseen_array(value: Any) -> None:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"a {type(value).__name__} is no plain value")


class Initializer(BaseModel):
    """How a first value is made: a type, and its parameters beside it."""

    model_config = ConfigDict(
        extra="allow", json_schema_extra={"examples": [{"type": "random_normal", "stddev": 0.1, "seed": 7}]}
    )

    type: str = Field(description="Which initializer; see the reference for all of them.", examples=["random_normal"])


def few_fields(given: Any) -> Any:
    """What an object of a form has at the most: each field that is not known makes an error."""
    if isinstance(given, dict) and len(given) > MAX_FIELDS:
        raise PydanticCustomError("few", "at most {most} fields, got {got}", {"most": MAX_FIELDS, "got": len(given)})
    return given


def _plain(given: Any) -> Any:
    """What JSON can say; the first thing that it cannot is told."""
    waiting = [given]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif not isinstance(value, (str, int, float, NoneType)):
            raise PydanticCustomError("plain", "wanted plain values, got one of {kind}", {"kind": type(value).__name__})
    return given


def _piece_by_piece(given: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """A long list or map in pieces: what is wrong in the first bad one is told, and the rest not looked at."""
    if not isinstance(given, (list, dict)) or len(given) <= _PIECE:
        return validate(given)
    if isinstance(given, dict):
        entries, fitting = list(given.items()), {}
        for begin in range(0, len(entries), _PIECE):
            fitting.update(validate(dict(entries[begin : begin + _PIECE])))
        return fitting
    listed: list[Any] = []
    for end in range(_PIECE, len(given) + _PIECE, _PIECE):
        try:
            listed += validate(given[end - _PIECE : end])
        except ValidationError:
            # From the start, so that places are told as they are in the whole.
            return validate(given[:end])
    return listed


def _flag(given: Any) -> Any:
    if given in ("true", "false"):
        return given == "true"
    raise PydanticCustomError("flag", "true or false is wanted")


def _whole(given: Any) -> Any:
    if isinstance(given, str) and given.isascii() and given.isdigit() and len(given) < 19:
        return int(given)
    raise PydanticCustomError("whole", "a whole number is wanted")


def _version(given: Any) -> Any:
    return str(given) if type(given) is int else given


PIECEWISE: Final = WrapValidator(_piece_by_piece)
"""For every list and map in a request: see `_piece_by_piece`."""
Recipe = Annotated[dict[str, Any], BeforeValidator(_recipe), described_as(Initializer)]
Plain = Annotated[dict[str, JsonValue], BeforeValidator(_plain)]
Kept = Annotated[Plain, AfterValidator(_sendable)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Whole = Annotated[int, BeforeValidator(_whole)]
Version = Annotated[
    str,
    BeforeValidator(_version),
    Field(max_length=64),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]}),
]
Name = Annotated[str, Field(description="Name of a variable.", examples=["conv1/weight"])]
Texts = Annotated[list[str], PIECEWISE]
Names = Annotated[Texts, Field(description="Names of variables.", examples=[["conv1/weight", "conv1/bias"]])]
Prefix = Annotated[
    str, Field(description="A scope: itself and everything below it, by whole segments.", examples=["conv1"])
]
Collection = Annotated[str, Field(description="Key of a collection.", examples=["trainable_variables"])]
Commit = Annotated[int, Field(description="Number of the store's transaction.", examples=[42])]
VersionNumber = Annotated[int, Field(description="Writes to the variable so far.", examples=[17])]
Incarnation = Annotated[
    str, Field(description="64 random bits of this life of the variable.", examples=["6c0f3a9d5be71284"])
]
DtypeName = Annotated[str, Field(description="A dtype by numpy's name, or bfloat16.", examples=["float32"])]
Shape = Annotated[list[int], PIECEWISE, Field(description="Extent of each axis.", examples=[[5, 5, 1, 8]])]


class Model(BaseModel):
    """Strict and closed, and it never changes."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


def shown_by(*examples: dict[str, Any]) -> ConfigDict:
    """The `model_config` of a form with whole examples: for one whose fields are not all given at once."""
    return ConfigDict(json_schema_extra={"examples": list(examples)})


def examples_of(model: type[BaseModel]) -> list[Any]:
    """Whole examples of a form: its own, or else one that is made of its required fields' examples."""
    extra = model.model_config.get("json_schema_extra")
    if isinstance(extra, dict) and isinstance(extra.get("examples"), list):
        return list(extra["examples"])  # type: ignore[arg-type]
    return [{name: _example(field) for name, field in model.model_fields.items() if field.is_required()}]


def _example(field: FieldInfo) -> Any:
    """The example of a field: that of the form it holds, alone or not at all, in a list or by name; else the one beside
    it."""
    held = field.annotation
    inner = [argument for argument in get_args(held) if isinstance(argument, type) and issubclass(argument, BaseModel)]
    if isinstance(held, type) and issubclass(held, BaseModel):
        return examples_of(held)[0]
    if inner and get_origin(held) is list:
        return examples_of(inner[0])
    if inner and NoneType in get_args(held):
        return examples_of(inner[0])[0]
    if inner:
        return {"conv1/bias": examples_of(inner[0])[0]}
    return field.examples[0] if field.examples else None


class NoFields(Model):
    """Nothing may be given."""


class SelectionBody(Model):
    model_config = shown_by({"prefix": "conv1"}, {"names": ["conv1/weight", "conv1/bias"]})

    names: Names | None = None
    prefix: Prefix | None = None
    collection: Collection | None = None
