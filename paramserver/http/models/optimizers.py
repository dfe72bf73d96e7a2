"""Forms of optimizers, and of the pushes of gradients through them."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, ConfigDict, Field, RootModel, create_model
from pydantic_core import PydanticCustomError

from paramserver.http.models.base import PIECEWISE, Commit, Model, Name, Names, Plain, Texts, described_as, shown_by
from paramserver.http.models.tensors import Rows, TensorObject, TensorValue, tensor_of
from paramserver.http.models.values import TensorAnswer, Updates
from paramserver.optim import KINDS

_TYPES: Final = tuple(KINDS)
_SPARSE: Final = frozenset({"value", "indices"})


def _gradient(given: Any) -> Any:
    """A tensor, or the tensors of some rows: their values and their indices."""
    if not (isinstance(given, dict) and "indices" in given):
        return tensor_of(given)
    if given.keys() != _SPARSE:
        raise PydanticCustomError(
            "gradient",
            "a gradient of rows is an object of value and indices, got {got}",
            {"got": list(islice(given, 8))},
        )
    return {key: tensor_of(value) for key, value in given.items()}


class RowsGradient(Model):
    """The gradient of some rows along the first axis; those of repeated rows are summed."""

    value: TensorValue = Field(description="The rows' gradients, one behind the other.", examples=[[[0.5, 0.5]]])
    indices: Rows = Field(description="Which rows they are of.", examples=[[7]])


class VariableGradient(RootModel[RowsGradient | TensorObject | list[Any] | float]):
    """The gradient of one variable: a tensor of its shape, or the values and indices of some rows."""

    model_config = ConfigDict(json_schema_extra={"examples": [[0.5, -0.5]]})


GradientValue = Annotated[Any, BeforeValidator(_gradient), described_as(VariableGradient)]


def _hyper_fields() -> dict[str, Any]:
    """A field for every hyper-parameter of every type: what each means is the optimizer's to say."""
    takers: dict[str, list[str]] = {}
    flags: set[str] = set()
    for kind in KINDS.values():
        for name, parameter in kind.parameters.items():
            takers.setdefault(name, []).append(kind.type)
            if parameter.range is None:
                flags.add(name)
    return {
        name: (
            (bool if name in flags else float) | None,
            Field(None, description=f"Of {', '.join(types)}.", examples=[True if name in flags else 0.1]),
        )
        for name, types in takers.items()
    }


class _Typed(Model):
    model_config = shown_by({"type": "adam", "learning_rate": 0.001})

    type: str = Field(description=f"One of {', '.join(_TYPES)}.", examples=["adam"])


OptimizerSpec = create_model("OptimizerSpec", __base__=_Typed, **_hyper_fields())


class OptimizerBody(OptimizerSpec):  # type: ignore[valid-type,misc]
    """An optimizer's type and hyper-parameters, and what its variables are to be called."""

    model_config = shown_by({"type": "adam", "learning_rate": 0.001})

    scalars: Texts | None = Field(
        None,
        description="What its scalars are to be called, instead of after the optimizer.",
        examples=[["beta1_power", "beta2_power"]],
    )
    slots: Annotated[dict[str, Texts], PIECEWISE] | None = Field(
        None,
        description="What the slots of a variable are to be called, in their order, instead of after the optimizer.",
        examples=[{"conv1/weight": ["conv1/weight/Adam", "conv1/weight/Adam_1"]}],
    )


class OptimizerInfo(OptimizerSpec):  # type: ignore[valid-type,misc]
    """An optimizer: its name, its type and hyper-parameters with all defaults filled in, and its variables."""

    model_config = shown_by(
        {
            "name": "Adam",
            "type": "adam",
            "learning_rate": 0.001,
            "beta1": 0.9,
            "beta2": 0.999,
            "epsilon": 1e-08,
            "scalars": ["Adam/beta1_power", "Adam/beta2_power"],
            "slots": {"conv1/bias": ["conv1/bias/Adam", "conv1/bias/Adam_1"]},
        }
    )

    name: str = Field(description="Name of the optimizer.", examples=["Adam"])
    scalars: Names
    slots: dict[str, list[str]] = Field(
        description="Names of the slots of each variable it has trained.",
        examples=[{"conv1/weight": ["conv1/weight/Adam", "conv1/weight/Adam_1"]}],
    )


class OptimizerList(Model):
    optimizers: list[OptimizerInfo] = Field(description="In the order of their names.", examples=[[]])


class GradientsBody(Model):
    model_config = shown_by(
        {"gradients": {"conv1/bias": [0.5, -0.5]}, "global_step": "global_step", "return": ["conv1/bias"]},
        {
            "gradients": {"embedding": {"value": [[0.5, 0.5]], "indices": [7]}},
            "hyper": {"learning_rate": 0.01},
            "base_commit": 42,
            "max_staleness": 1000,
        },
    )

    gradients: Annotated[dict[str, GradientValue], PIECEWISE] = Field(
        description="The gradient of each variable: a tensor, or value and indices of some rows.",
        examples=[{"conv1/bias": [0.5, -0.5], "embedding": {"value": [[0.5, 0.5]], "indices": [7]}}],
    )
    hyper: Plain | None = Field(
        None, description="Hyper-parameters of this step only.", examples=[{"learning_rate": 0.01}]
    )
    global_step: Name | None = Field(
        None, description="Integer variable that is counted up, behind the gradients.", examples=["global_step"]
    )
    then: Updates | None = Field(
        None,
        description="Updates behind all that, which see the new values.",
        examples=[[{"op": "ema", "target": "conv1/bias/average", "source": "conv1/bias", "decay": 0.999}]],
    )
    returns: Names | None = Field(
        None,
        alias="return",
        description="Variables whose new values the answer shall carry.",
        examples=[["conv1/bias"]],
    )
    base_commit: int | None = Field(
        None, ge=0, description="The commit whose values the gradients were computed from.", examples=[42]
    )
    max_staleness: int | None = Field(
        None, ge=0, description="Refuse the push when the store is more commits further on than that.", examples=[8]
    )


class GradientsApplied(Model):
    model_config = shown_by({"commit": 43, "global_step": 17, "versions": {"conv1/bias": 18, "global_step": 18}})

    commit: Commit
    global_step: int | None = Field(description="The global step after this push; null without one.", examples=[17])
    versions: dict[str, int] = Field(
        description="New version of each variable that was named.", examples=[{"conv1/weight": 18}]
    )
    tensors: dict[str, TensorAnswer] | None = Field(
        None, description="The values asked for by `return`.", examples=[{}]
    )
