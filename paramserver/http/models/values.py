"""Forms of values: one read or written, many pulled or pushed."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, JsonValue

from paramserver.http.models.base import (
    LONG_POLL_LIMIT_S,
    PIECEWISE,
    Collection,
    Commit,
    DtypeName,
    Flag,
    Incarnation,
    Model,
    Name,
    Names,
    Prefix,
    SelectionBody,
    Shape,
    Version,
    VersionNumber,
    few_fields,
    shown_by,
)
from paramserver.http.models.tensors import Rows, TensorValue


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


class GatherQuery(Model):
    dtype: DtypeName | None = None


class GatherBody(Model):
    indices: Rows = Field(
        description="Rows along the first axis, in any order, repeats included.", examples=[[0, 1, 1]]
    )


class ScatterBody(Model):
    indices: Rows = Field(description="Rows along the first axis to write.", examples=[[1, 0]])
    value: TensorValue = Field(
        description="What is written to them: the shape of the indices, then that of a row.",
        examples=[[0.5, -0.5]],
    )


class PushQuery(Model):
    allow_non_finite: Flag | None = Field(None, description="Take NaN and infinities.", examples=[False])


class PushFileQuery(PushQuery):
    """The query beside a safetensors body."""

    op: str | None = Field(
        None,
        max_length=40,
        description="What is done with every tensor of a safetensors body; other bodies say it for each update.",
        examples=["assign_add"],
    )


class ExportQuery(Model):
    prefix: Prefix | None = None
    collection: Collection | None = None


class ImportQuery(Model):
    create: Flag | None = Field(None, description="Create variables that the server lacks.", examples=[True])
    prefix: str | None = Field(None, description="A scope that is put before every name of the file.", examples=["enc"])
    allow_non_finite: Flag | None = Field(None, description="Take NaN and infinities.", examples=[False])


class Imported(Model):
    commit: Commit
    versions: dict[str, int] = Field(
        description="New version of each variable of the file.", examples=[{"conv1/weight": 1}]
    )
    created: Names


class PullBody(SelectionBody):
    model_config = shown_by(
        {"names": ["conv1/weight", "conv1/bias"]},
        {"prefix": "conv1", "if_versions": {"conv1/weight": "6c0f3a9d5be71284-17"}},
    )

    if_versions: Annotated[dict[str, Version], PIECEWISE] | None = Field(
        None,
        description="What the caller has: variables still of that version or tag are left out.",
        examples=[{"conv1/weight": "6c0f3a9d5be71284-17"}],
    )
    dtype: DtypeName | None = None


class Update(Model):
    """One write of a push."""

    name: Name | None = None
    op: str = Field(
        description="assign, assign_add, assign_sub, scatter_update, scatter_add, scatter_sub or ema.",
        max_length=40,
        examples=["assign_add"],
    )
    value: TensorValue = Field(None, description="What is assigned, added or subtracted.", examples=[[0.5, -0.5]])
    indices: Rows = Field(
        None, description="For the scatter ops: rows along the first axis to write.", examples=[[0, 1, 1]]
    )
    target: str | None = Field(
        None,
        description="For ema, instead of a name: the variable that holds the average.",
        examples=["conv1/bias/ExponentialMovingAverage"],
    )
    source: str | None = Field(None, description="For ema: the variable that is averaged.", examples=["conv1/bias"])
    decay: float | None = Field(None, description="For ema: how much of the average stays, 0 to 1.", examples=[0.999])
    if_version: Version | None = Field(
        None, description="Refuse the push unless the variable has this version or tag.", examples=["17"]
    )


Updates = Annotated[list[Annotated[Update, BeforeValidator(few_fields)]], PIECEWISE]


class PushBody(Model):
    model_config = shown_by(
        {
            "updates": [
                {"name": "conv1/bias", "op": "assign_add", "value": [0.5, -0.5]},
                {"name": "step", "op": "assign_add", "value": 1},
            ],
            "return": ["conv1/bias"],
        }
    )

    updates: Updates = Field(
        description="Writes, applied in order and together.",
        examples=[[{"name": "conv1/bias", "op": "assign_add", "value": [0.5, -0.5]}]],
    )
    returns: Names | None = Field(
        None,
        alias="return",
        description="Variables whose new values the answer shall carry.",
        examples=[["conv1/bias"]],
    )


class TensorAnswer(Model):
    """A tensor with the fields beside it, as JSON writes it."""

    model_config = shown_by(
        {"value": [0.5, -0.5], "dtype": "float32", "shape": [2], "version": 18, "incarnation": "6c0f3a9d5be71284"}
    )

    value: JsonValue = Field(description="Nested lists, or a bare scalar.", examples=[[1.0, 2.0]])
    dtype: DtypeName
    shape: Shape
    version: VersionNumber
    incarnation: Incarnation


class ReadAnswer(TensorAnswer):
    model_config = shown_by(
        {
            "name": "conv1/bias",
            "value": [0.5, -0.5],
            "dtype": "float32",
            "shape": [2],
            "version": 18,
            "incarnation": "6c0f3a9d5be71284",
        }
    )

    name: Name


class Written(Model):
    model_config = shown_by(
        {
            "name": "conv1/bias",
            "version": 18,
            "incarnation": "6c0f3a9d5be71284",
            "shape": [2],
            "dtype": "float32",
            "commit": 42,
        }
    )

    name: Name
    version: VersionNumber
    incarnation: Incarnation
    shape: Shape
    dtype: DtypeName
    commit: Commit
    value: JsonValue = Field(None, description="The new value, with Prefer: return=representation.", examples=[[1.5]])


class Pulled(Model):
    commit: Commit
    tensors: dict[str, TensorAnswer] = Field(description="One cut: all values after the same commit.", examples=[{}])


class Pushed(Model):
    model_config = shown_by({"commit": 42, "versions": {"conv1/bias": 18, "step": 42}})

    commit: Commit
    versions: dict[str, int] = Field(
        description="New version of each variable written.", examples=[{"conv1/weight": 18}]
    )
    tensors: dict[str, TensorAnswer] | None = Field(
        None, description="The values asked for by `return`.", examples=[{}]
    )
