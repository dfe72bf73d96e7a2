"""Forms of variables as named things: list, create, change, delete, initialize, check."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from paramserver.http.models.base import (
    INT64,
    Collection,
    Commit,
    DtypeName,
    Flag,
    Incarnation,
    Initializer,
    Model,
    Name,
    Names,
    Prefix,
    Recipe,
    SelectionBody,
    Shape,
    Texts,
    VersionNumber,
    Whole,
    described_as,
    shown_by,
)
from paramserver.http.models.tensors import TensorValue


class ListQuery(Model):
    prefix: Prefix | None = None
    collection: Collection | None = None
    initialized: Flag | None = Field(None, description="Only those with, or without, a value.", examples=[True])
    trainable: Flag | None = Field(None, description="Only those that are, or are not, trainable.", examples=[True])
    page_size: Whole | None = Field(
        None,
        ge=1,
        le=1000,
        description="Most variables in this page; 100 unless given.",
        examples=[100],
        # Pydantic does not tell them of a field that is read from text.
        json_schema_extra={"minimum": 1, "maximum": 1000},
    )
    page_token: str | None = Field(
        None, max_length=1000, description="next_page_token of the page before.", examples=["conv1/weight"]
    )


class CreateQuery(Model):
    reuse: Literal["false", "true", "auto"] | None = Field(
        None, description="false: it must be new; true: it must exist; auto: either.", examples=["auto"]
    )
    initialize: Flag | None = Field(None, description="Run the initializer at once.", examples=[True])


class CreateBody(Model):
    model_config = shown_by(
        {
            "shape": [5, 5, 1, 8],
            "dtype": "float32",
            "initializer": {"type": "random_normal", "mean": 0.0, "stddev": 0.1, "seed": 7},
            "collections": ["variables", "model_variables"],
        },
        {"value": [0.5, -0.5], "trainable": False},
    )

    shape: Shape | None = None
    dtype: DtypeName | None = None
    initializer: Recipe | None = Field(
        None,
        description="How the first value is made: a type and its parameters.",
        examples=[{"type": "random_normal", "stddev": 0.1, "seed": 7}],
    )
    value: TensorValue = Field(
        None, description="The first value itself, instead of an initializer.", examples=[[0.5, -0.5]]
    )
    trainable: bool | None = Field(None, description="Whether optimizers should change it.", examples=[True])
    collections: Texts | None = Field(
        None, description="Collections it belongs to, instead of `variables`.", examples=[["variables"]]
    )


class UpdateBody(Model):
    model_config = shown_by({"trainable": False, "collections": ["variables", "losses"]})

    trainable: bool | None = Field(None, description="Whether optimizers should change it.", examples=[False])
    collections: Texts | None = Field(
        None, description="The collections it shall belong to.", examples=[["variables", "losses"]]
    )


class DeleteQuery(Model):
    prefix: Prefix | None = None
    confirm: Flag | None = Field(None, description="Must be true.", examples=[True])


class InitializeOneBody(Model):
    model_config = shown_by({"only_uninitialized": False, "seed": 7})

    only_uninitialized: bool | None = Field(
        None, description="Leave a variable that has a value alone.", examples=[True]
    )
    seed: int | None = Field(
        None, ge=-INT64 - 1, le=2**64 - 1, description="Seed that wins over the initializer's own.", examples=[7]
    )


class InitializeBody(SelectionBody, InitializeOneBody):
    model_config = shown_by({"prefix": "conv1", "seed": 7}, {"names": ["conv1/weight"], "only_uninitialized": False})


class ReportQuery(Model):
    collection: Collection | None = None
    prefix: Prefix | None = None


class Metadata(Model):
    model_config = shown_by(
        {
            "name": "conv1/weight",
            "shape": [5, 5, 1, 8],
            "dtype": "float32",
            "version": 17,
            "incarnation": "6c0f3a9d5be71284",
            "initialized": True,
            "trainable": True,
            "collections": ["variables", "trainable_variables"],
            "initializer": {"type": "random_normal", "mean": 0.0, "stddev": 0.1, "seed": 7},
            "nbytes": 800,
            "updated_at": "2026-11-24T08:07:06.123456Z",
        }
    )

    name: Name
    shape: Shape
    dtype: DtypeName
    version: VersionNumber
    incarnation: Incarnation
    initialized: bool = Field(description="Whether it has a value.", examples=[True])
    trainable: bool = Field(description="Whether optimizers should change it.", examples=[True])
    collections: list[str] = Field(description="The collections it belongs to.", examples=[["variables"]])
    initializer: Annotated[dict[str, JsonValue], described_as(Initializer)] | None = Field(
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


class Initialized(Model):
    model_config = shown_by({"commit": 42, "initialized": ["conv1/weight"], "skipped": ["conv1/bias"]})

    commit: Commit
    initialized: Names
    skipped: Names
    seed: int | None = Field(None, description="The seed that was drawn, when none was given.", examples=[7])


class IsInitialized(Model):
    initialized: bool = Field(description="Whether it has a value.", examples=[True])


class NameList(Model):
    names: Names
