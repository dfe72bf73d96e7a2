"""What the forms of all subjects are made of: the strict model, and the types of their fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import numpy as np
import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, WithJsonSchema
from pydantic_core import PydanticCustomError

from paramserver_wire.tensors import Tensor, Untyped

LONG_POLL_LIMIT_S: Final = 60
INT64: Final = 2**63 - 1

TENSOR_SCHEMA: Final[Mapping[str, Any]] = {
    "anyOf": [
        {
            "type": "object",
            "description": "The value with what cannot be seen in it: its dtype, its shape when a dimension is 0.",
            "properties": {
                "value": {"description": "A number, a bool, or nested lists of them."},
                "dtype": {"type": "string", "examples": ["float32"]},
                "shape": {"type": "array", "items": {"type": "integer"}, "examples": [[2, 2]]},
            },
            "required": ["value"],
            "additionalProperties": False,
        },
        {"type": "array", "items": {}, "description": "Nested lists; the numbers take the variable's dtype."},
        {"type": "number", "description": "A scalar; it takes the variable's dtype."},
        {"type": "boolean", "description": "A scalar of a bool variable."},
        {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"], "description": "With allow_non_finite=true."},
    ],
    "examples": [{"value": [[1.0, 2.0], [3.0, 4.0]]}],
}


def _tensor(given: Any) -> Any:
    """The array or `Untyped` that a tensor of any media type stands for."""
    if isinstance(given, Tensor):
        if given.meta:
            raise PydanticCustomError(
                "tensor", "a tensor has no fields but its own, got {got}", {"got": list(given.meta)}
            )
        return given.array
    if isinstance(given, Untyped):
        return given
    if isinstance(given, dict):
        return _spelled_out(given)
    if given is None or isinstance(given, bytes):
        raise PydanticCustomError("tensor", "a tensor is a number, a list, or an object with a value")
    return Untyped(given)


def _spelled_out(given: dict[str, Any]) -> Untyped:
    unknown = sorted(given.keys() - {"value", "dtype", "shape"})
    if unknown or "value" not in given:
        raise PydanticCustomError(
            "tensor", "a tensor is an object of value, dtype and shape, got {got}", {"got": sorted(given)[:8]}
        )
    dtype, shape = given.get("dtype"), given.get("shape")
    if dtype is not None and not isinstance(dtype, str):
        raise PydanticCustomError("tensor", "the dtype of a tensor is a string such as float32")
    if shape is not None and not (isinstance(shape, list) and all(type(extent) is int for extent in shape)):
        raise PydanticCustomError("tensor", "the shape of a tensor is a list of integers")
    if isinstance(given["value"], Tensor):
        raise PydanticCustomError("tensor", "the value of a tensor is a number or a list, got another tensor")
    return Untyped(given["value"], dtype, None if shape is None else tuple(shape))


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


TensorValue = Annotated[Any, BeforeValidator(_tensor), WithJsonSchema(dict(TENSOR_SCHEMA))]
Rows = Annotated[
    Any,
    BeforeValidator(_tensor),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {}, "description": "Integers, or nested lists of them."},
                {"type": "object", "description": "A tensor of integers: its value, dtype and shape."},
            ],
            "examples": [[0, 2, 2]],
        }
    ),
]
Recipe = Annotated[dict[str, Any], BeforeValidator(_recipe)]
Kept = Annotated[dict[str, JsonValue], AfterValidator(_sendable)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Whole = Annotated[int, BeforeValidator(_whole)]
Version = Annotated[
    str,
    BeforeValidator(_version),
    Field(max_length=64),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]}),
]
Name = Annotated[str, Field(description="Name of a variable.", examples=["conv1/weight"])]
Names = Annotated[list[str], Field(description="Names of variables.", examples=[["conv1/weight", "conv1/bias"]])]
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
Shape = Annotated[list[int], Field(description="Extent of each axis.", examples=[[5, 5, 1, 8]])]


class Model(BaseModel):
    """Strict and closed, and it never changes."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class NoFields(Model):
    """Nothing may be given."""


class SelectionBody(Model):
    names: Names | None = None
    prefix: Prefix | None = None
    collection: Collection | None = None
