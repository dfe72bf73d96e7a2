"""Forms of scopes and collections."""

from __future__ import annotations

from pydantic import Field, JsonValue

from paramserver.http.models.base import Commit, DtypeName, Model, Names, Prefix, Recipe, Texts, Whole, shown_by


class ScopesQuery(Model):
    prefix: Prefix | None = None
    depth: Whole | None = Field(None, description="Levels below the prefix, 1 or more; all unless given.", examples=[1])


class ScopeBody(Model):
    model_config = shown_by({"initializer": {"type": "random_normal", "stddev": 0.1}, "dtype": "float32"})

    initializer: Recipe | None = Field(
        None,
        description="How first values are made, where a variable does not say.",
        examples=[{"type": "random_normal", "stddev": 0.1}],
    )
    dtype: DtypeName | None = None
    trainable: bool | None = Field(None, description="Whether optimizers should change them.", examples=[True])
    collections: Texts | None = Field(
        None, description="Collections they belong to, instead of `variables`.", examples=[["variables"]]
    )


class ScopeStored(Model):
    name: str = Field(description="Name of the scope.", examples=["conv1"])
    commit: Commit


class ScopeInfo(Model):
    name: str = Field(description="Name of the scope.", examples=["conv1"])
    variables: int = Field(description="Variables below it, at whatever depth.", examples=[2])
    nbytes: int = Field(description="Bytes their values take.", examples=[808])
    defaults: dict[str, JsonValue] = Field(
        description="What variables below it start with unless they say otherwise.", examples=[{"dtype": "float32"}]
    )


class ScopeList(Model):
    scopes: list[ScopeInfo] = Field(description="In the order of their names.", examples=[[]])


class CollectionList(Model):
    collections: dict[str, int] = Field(
        description="How many variables each holds.", examples=[{"variables": 4, "trainable_variables": 3}]
    )


class CollectionBody(Model):
    names: Names


class Regrouped(Model):
    commit: Commit
    names: Names
