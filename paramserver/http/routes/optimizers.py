"""Routes of optimizers, and of the pushes of gradients through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from paramserver.http import models
from paramserver.http.endpoints import Route

ROUTES: Final[Sequence[Route]] = (
    Route(
        "list_optimizers",
        "List optimizers",
        "All optimizers, in the order of their names.",
        answer=models.OptimizerList,
    ),
    Route(
        "create_optimizer",
        "Create or change an optimizer",
        "Creates an optimizer by TensorFlow's names and defaults, or changes the hyper-parameters of one (200). Once it has "
        "slots, its type and what settles them (`initial_accumulator_value`, `centered`, `use_nesterov`) stay as they are. "
        "`slots` and `scalars` name variables that keep them; later ones are added to these.",
        body=models.OptimizerBody,
        answer=models.OptimizerInfo,
        status=201,
        done="Created.",
        also={200: "It existed; its hyper-parameters are now these."},
        problems=("spec_mismatch",),
    ),
    Route(
        "get_optimizer",
        "Inspect an optimizer",
        "Its type and hyper-parameters, and the variables that hold its slots and scalars.",
        answer=models.OptimizerInfo,
        problems=("optimizer_not_found",),
    ),
    Route(
        "delete_optimizer",
        "Delete an optimizer",
        "Deletes the optimizer with its slots and scalars, in one transaction. The variables it trained stay.",
        status=204,
        problems=("optimizer_not_found",),
    ),
    Route(
        "apply_gradients",
        "Push gradients",
        "One step of the optimizer over all variables named, as one transaction: the gradients, then the global step, then "
        "the updates of `then`, which see the new values. Slots that are not there yet are created with it. Every "
        "difference is listed, and then nothing was changed. With `base_commit` and `max_staleness` a push that is older "
        "is refused as `stale_update`.",
        query=models.PushQuery,
        body=models.GradientsBody,
        answer=models.GradientsApplied,
        problems=(
            "optimizer_not_found",
            "variable_not_found",
            "stale_update",
            "uninitialized",
            "spec_mismatch",
            "version_mismatch",
            "shape_mismatch",
            "dtype_mismatch",
            "index_out_of_range",
            "non_finite",
            "memory_limit_exceeded",
        ),
        file_field="gradients",
    ),
)
