"""A tensor in a request: how it is described, and what array or `Untyped` it stands for."""

from __future__ import annotations

from enum import StrEnum
from itertools import islice
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, ConfigDict, Field, RootModel
from pydantic_core import PydanticCustomError

from paramserver.http.models.base import DtypeName, Model, described_as
from paramserver_wire import tensors as wire
from paramserver_wire.tensors import Untyped


class NonFinite(StrEnum):
    """A number that JSON has no word for, as text."""

    NAN = "NaN"
    INFINITY = "Infinity"
    NEGATIVE_INFINITY = "-Infinity"


class TensorObject(Model):
    """A value with what cannot be seen in it: its dtype, and its shape when a dimension is 0."""

    value: list[Any] | float | bool | NonFinite = Field(
        description="A number, a bool, or nested lists of them.", examples=[[[1.0, 2.0], [3.0, 4.0]]]
    )
    dtype: DtypeName | None = None
    shape: list[int] | None = Field(None, description="Extent of each axis, for what is empty.", examples=[[2, 2]])


class Tensor(RootModel[TensorObject | list[Any] | float | bool | NonFinite]):
    """A tensor in JSON: a number, nested lists, or an object that tells dtype and shape besides.

    Without a dtype the numbers take the variable's. NaN and infinities are strings, and need allow_non_finite=true.
    """


class RowIndices(RootModel[TensorObject | list[Any]]):
    """Rows along the first axis: integers from 0, in nested lists or as a tensor that tells its dtype."""

    model_config = ConfigDict(json_schema_extra={"examples": [[0, 1, 1]]})


_SPELLED: Final = frozenset({"value", "dtype", "shape"})


def tensor_of(given: Any) -> Any:
    """The array or `Untyped` that a tensor of any media type stands for."""
    if isinstance(given, wire.Tensor):
        if given.meta:
            raise PydanticCustomError(
                "tensor", "a tensor has no fields but its own, got {got}", {"got": list(islice(given.meta, 8))}
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
    if not given.keys() <= _SPELLED or "value" not in given:
        raise PydanticCustomError(
            "tensor", "a tensor is an object of value, dtype and shape, got {got}", {"got": list(islice(given, 8))}
        )
    dtype, shape = given.get("dtype"), given.get("shape")
    if dtype is not None and not isinstance(dtype, str):
        raise PydanticCustomError("tensor", "the dtype of a tensor is a string such as float32")
    if shape is not None and not (isinstance(shape, list) and all(type(extent) is int for extent in shape)):
        raise PydanticCustomError("tensor", "the shape of a tensor is a list of integers")
    if isinstance(given["value"], wire.Tensor):
        raise PydanticCustomError("tensor", "the value of a tensor is a number or a list, got another tensor")
    return Untyped(given["value"], dtype, None if shape is None else tuple(shape))


Rows = Annotated[Any, BeforeValidator(tensor_of), described_as(RowIndices)]
TensorValue = Annotated[Any, BeforeValidator(tensor_of), described_as(Tensor)]
