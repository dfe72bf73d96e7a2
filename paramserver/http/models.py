"""The form of every request and answer. Requests are checked against these models; answers are documented by them.

All are strict and closed: a field that is not listed, or has another type, is refused by its path. What a field means for
the variables (does the shape fit, may the name be) is the engine's to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import numpy as np
import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, WithJsonSchema
from pydantic_core import PydanticCustomError

from paramserver_wire.tensors import Tensor, Untyped

LONG_POLL_LIMIT_S: Final = 60
_INT64: Final = 2**63 - 1

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


# Queries: everything arrives as text.


class ListQuery(Model):
    prefix: Prefix | None = None
    collection: Collection | None = None
    initialized: Flag | None = Field(None, description="Only those with, or without, a value.", examples=[True])
    trainable: Flag | None = Field(None, description="Only those that are, or are not, trainable.", examples=[True])
    page_size: Whole | None = Field(None, ge=1, le=1000, description="Most variables in this page.", examples=[100])
    page_token: str | None = Field(
        None, max_length=1000, description="next_page_token of the page before.", examples=["conv1/weight"]
    )


class CreateQuery(Model):
    reuse: Literal["false", "true", "auto"] | None = Field(
        None, description="false: it must be new; true: it must exist; auto: either.", examples=["auto"]
    )
    initialize: Flag | None = Field(None, description="Run the initializer at once.", examples=[True])


class DeleteQuery(Model):
    prefix: Prefix | None = None
    confirm: Flag | None = Field(None, description="Must be true.", examples=[True])


class ReadQuery(Model):
    slice: str | None = Field(None, max_length=1000, description="A part, as numpy writes it.", examples=["0:10,:,3"])
    dtype: DtypeName | None = None
    after_version: Version | None = Field(
        None, description="Answer only with another version than this one (a version or a tag).", examples=["17"]
    )
    wait_s: float | None = Field(
        None, ge=0, le=LONG_POLL_LIMIT_S, description="Seconds to wait for that version.", examples=[30.0]
    )


class WriteQuery(Model):
    use_locking: Flag | None = Field(None, description="false: Hogwild; updates may be lost.", examples=[True])
    allow_non_finite: Flag | None = Field(None, description="Take NaN and infinities.", examples=[False])


class PushQuery(Model):
    allow_non_finite: Flag | None = Field(None, description="Take NaN and infinities.", examples=[False])


class ReportQuery(Model):
    collection: Collection | None = None
    prefix: Prefix | None = None


# Bodies of requests.


class CreateBody(Model):
    shape: Shape | None = None
    dtype: DtypeName | None = None
    initializer: Recipe | None = Field(
        None,
        description="How the first value is made: a type and its parameters.",
        examples=[{"type": "random_normal", "stddev": 0.1, "seed": 7}],
    )
    value: TensorValue = Field(None, description="The first value itself, instead of an initializer.")
    trainable: bool | None = Field(None, description="Whether optimizers should change it.", examples=[True])
    collections: list[str] | None = Field(
        None, description="Collections it belongs to, instead of `variables`.", examples=[["variables"]]
    )


class UpdateBody(Model):
    trainable: bool | None = Field(None, description="Whether optimizers should change it.", examples=[False])
    collections: list[str] | None = Field(
        None, description="The collections it shall belong to.", examples=[["variables", "losses"]]
    )


class SelectionBody(Model):
    names: Names | None = None
    prefix: Prefix | None = None
    collection: Collection | None = None


class InitializeOneBody(Model):
    only_uninitialized: bool | None = Field(
        None, description="Leave a variable that has a value alone.", examples=[True]
    )
    seed: int | None = Field(
        None, ge=-_INT64 - 1, le=2**64 - 1, description="Seed that wins over the initializer's own.", examples=[7]
    )


class InitializeBody(SelectionBody, InitializeOneBody):
    pass


class PullBody(SelectionBody):
    if_versions: dict[str, Version] | None = Field(
        None,
        description="What the caller has: variables still of that version or tag are left out.",
        examples=[{"conv1/weight": "6c0f3a9d5be71284-17"}],
    )
    dtype: DtypeName | None = None


class Update(Model):
    """One write of a push."""

    name: Name
    op: str = Field(description="assign, assign_add or assign_sub.", max_length=40, examples=["assign_add"])
    value: TensorValue = Field(description="What is assigned, added or subtracted.")
    if_version: Version | None = Field(
        None, description="Refuse the push unless the variable has this version or tag.", examples=["17"]
    )


class PushBody(Model):
    updates: list[Update] = Field(
        description="Writes, applied in order and together.",
        examples=[[{"name": "conv1/bias", "op": "assign_add", "value": [0.5, -0.5]}]],
    )
    returns: Names | None = Field(
        None, alias="return", description="Variables whose new values the answer shall carry."
    )


class SaveBody(SelectionBody):
    id: str | None = Field(
        None, description="Name of the checkpoint; ckpt-<commit> unless given.", examples=["mnist/epoch-3"]
    )
    step: int | None = Field(None, ge=0, le=_INT64, description="The training step it stands for.", examples=[1200])
    series: str | None = Field(
        None, max_length=200, description="Checkpoints that are counted and retired together.", examples=["mnist"]
    )
    max_to_keep: int | None = Field(
        None, ge=0, le=_INT64, description="Newest of the series that are kept.", examples=[5]
    )
    metadata: Kept | None = Field(
        None, description="Whatever should stand beside the values.", examples=[{"loss": 0.31}]
    )


class RestoreBody(Model):
    names: Names | None = None
    rename: dict[str, str] | None = Field(
        None, description="Variable to the name it was saved by.", examples=[{"new/weight": "old/weight"}]
    )
    strict: bool | None = Field(None, description="Refuse the whole when anything does not fit.", examples=[True])
    create: bool | None = Field(None, description="Create variables that the server lacks.", examples=[True])


# Answers.


class Metadata(Model):
    name: Name
    shape: Shape
    dtype: DtypeName
    version: VersionNumber
    incarnation: Incarnation
    initialized: bool = Field(description="Whether it has a value.", examples=[True])
    trainable: bool = Field(description="Whether optimizers should change it.", examples=[True])
    collections: list[str] = Field(description="The collections it belongs to.", examples=[["variables"]])
    initializer: dict[str, JsonValue] | None = Field(
        description="How its first value is made.", examples=[{"type": "zeros"}]
    )
    nbytes: int = Field(description="Bytes its value takes.", examples=[800])
    updated_at: str = Field(
        description="Time of its last change, RFC 3339 in UTC.", examples=["2026-11-24T08:07:06.123456Z"]
    )


class VariableList(Model):
    variables: list[Metadata] = Field(description="In the order of their names.", examples=[[]])
    next_page_token: str | None = Field(description="For the page that follows; null on the last.", examples=[None])


class Deleted(Model):
    deleted: Names


class TensorAnswer(Model):
    """A tensor with the fields beside it, as JSON writes it."""

    value: JsonValue = Field(description="Nested lists, or a bare scalar.", examples=[[1.0, 2.0]])
    dtype: DtypeName
    shape: Shape
    version: VersionNumber
    incarnation: Incarnation


class ReadAnswer(TensorAnswer):
    name: Name


class Written(Model):
    name: Name
    version: VersionNumber
    incarnation: Incarnation
    shape: Shape
    dtype: DtypeName
    commit: Commit
    value: JsonValue = Field(None, description="The new value, with Prefer: return=representation.", examples=[[1.5]])


class Initialized(Model):
    commit: Commit
    initialized: Names
    skipped: Names
    seed: int | None = Field(None, description="The seed that was drawn, when none was given.", examples=[7])


class IsInitialized(Model):
    initialized: bool = Field(description="Whether it has a value.", examples=[True])


class NameList(Model):
    names: Names


class Pulled(Model):
    commit: Commit
    tensors: dict[str, TensorAnswer] = Field(description="One cut: all values after the same commit.", examples=[{}])


class Pushed(Model):
    commit: Commit
    versions: dict[str, int] = Field(
        description="New version of each variable written.", examples=[{"conv1/weight": 18}]
    )
    tensors: dict[str, TensorAnswer] | None = Field(
        None, description="The values asked for by `return`.", examples=[{}]
    )


class CheckpointFile(Model):
    name: str = Field(description="Name of the file.", examples=["model.safetensors"])
    nbytes: int = Field(description="Its size in bytes.", examples=[103000])
    sha256: str = Field(description="Its SHA-256, in hex.", examples=["9f86d081884c7d65"])


class CheckpointInfo(Model):
    id: str = Field(description="Name of the checkpoint.", examples=["ckpt-42"])
    state: str = Field(description="`complete` when it can be restored.", examples=["complete"])
    commit: Commit
    step: int | None = Field(description="The training step it stands for.", examples=[1200])
    created: str = Field(description="RFC 3339 in UTC.", examples=["2026-11-24T08:07:06.123456Z"])
    nbytes: int = Field(description="Bytes of all its files.", examples=[103000])
    variables: int = Field(description="How many variables it holds.", examples=[8])
    skipped: list[str] = Field(description="Variables that had no value to save.", examples=[[]])
    files: list[CheckpointFile] = Field(description="Its files.", examples=[[]])
    series: str = Field(description="The series it is counted and retired in.", examples=["default"])
    full: bool = Field(description="Whether a start of the server can restore it.", examples=[True])
    metadata: dict[str, JsonValue] = Field(description="What was put beside the values.", examples=[{"loss": 0.31}])


class CheckpointList(Model):
    checkpoints: list[CheckpointInfo] = Field(description="Newest first.", examples=[[]])


class Restored(Model):
    commit: Commit
    restored: Names
    missing: Names
    unexpected: Names


class Memory(Model):
    used_nbytes: int = Field(description="Bytes of all values.", examples=[102400])
    limit_nbytes: int | None = Field(description="The most they may take; null: no limit.", examples=[None])
    idle_nbytes: int = Field(description="Bytes kept warm for the next request.", examples=[0])


class ServerInfo(Model):
    name: str = Field(description="What this is.", examples=["paramserver"])
    version: str = Field(description="Version of the server.", examples=["0.1.0"])
    protocol_version: int = Field(description="Version of the REST surface.", examples=[1])
    python: str = Field(description="Version of Python.", examples=["3.11.7"])
    numpy: str = Field(description="Version of numpy.", examples=["2.4.6"])
    state: str = Field(description="ready or draining.", examples=["ready"])
    durability: str = Field(description="What a crash may lose.", examples=["none"])
    checkpoints: bool = Field(description="Whether there is a data directory to save to.", examples=[True])
    started_at: str = Field(description="RFC 3339 in UTC.", examples=["2026-11-24T08:07:06.123456Z"])
    commit: Commit
    variables: int = Field(description="How many variables there are.", examples=[8])
    memory: Memory = Field(description="What the values take.", examples=[{}])
    limits: dict[str, int | None] = Field(
        description="What a request may be, in bytes or counts.", examples=[{"body_limit_nbytes": 1073741824}]
    )


class ProblemError(Model):
    name: str = Field(description="The variable, or the path of the field.", examples=["conv1/weight"])
    code: str = Field(description="Problem code of this difference.", examples=["shape_mismatch"])
    detail: str = Field(description="What was wanted, what came, what to do.", examples=["wants shape [2], got [3]"])


class ProblemDocument(Model):
    """RFC 9457, with a stable code."""

    type: str = Field(description="Names the kind of problem.", examples=["urn:paramserver:problem:shape_mismatch"])
    title: str = Field(description="The kind of problem, for humans.", examples=["The shape does not fit"])
    status: int = Field(description="The HTTP status.", examples=[422])
    detail: str = Field(description="What was wanted, what came, what to do.", examples=["wants shape [2], got [3]"])
    code: str = Field(description="Stable name of the kind of problem.", examples=["shape_mismatch"])
    errors: list[ProblemError] = Field(description="Every single difference.", examples=[[]])
    instance: str | None = Field(None, description="Id under which the server logged it.", examples=[None])
