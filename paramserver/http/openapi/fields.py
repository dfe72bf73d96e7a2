"""Fields of a form that may be left out: pydantic writes each as what it is, or null."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_NULL: Final = {"type": "null"}
_TOLD: Final = ("description", "examples")


def told_outside(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of an optional field, with description and examples beside its variants and not inside one."""
    variants = schema.get("anyOf")
    if not isinstance(variants, list) or _NULL not in variants or "description" in schema:
        return schema
    told = next(variant for variant in variants if variant != _NULL)
    bare = [{key: value for key, value in variant.items() if key not in _TOLD} for variant in variants]
    return {**schema, **{key: told[key] for key in _TOLD if key in told}, "anyOf": bare}


def given(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an optional field that is given: leaving it out is what null is in a body."""
    variants = [variant for variant in schema.get("anyOf", ()) if variant != _NULL]
    beside = {key: value for key, value in schema.items() if key != "anyOf"}
    kept = {**beside, **(variants[0] if len(variants) == 1 else {"anyOf": variants} if variants else {})}
    return {key: value for key, value in kept.items() if key not in (*_TOLD, "title", "default")}
