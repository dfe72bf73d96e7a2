# Made from calls/optimizers.py by scripts/make_async.py. Do not change it here: change calls/optimizers.py, run `make generate`.
"""Calls about optimizers: create, list, delete, and push gradients through them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from paramserver_client.aio.calls.base import Calls
from paramserver_client.calls.optimizers import _plain
from paramserver_client.calls.writing import update_fields
from paramserver_client.results import Applied, OptimizerInfo, Update, arrays_of, optimizer_of
from paramserver_client.values import gradient_of, names_of


class OptimizerCalls(Calls):
    """Calls about optimizers: create, list, delete, and push gradients through them."""

    async def create_optimizer(
        self,
        name: str,
        type: str,
        *,
        slots: Mapping[str, Sequence[str]] | None = None,
        scalars: Sequence[str] | None = None,
        **hyper: Any,
    ) -> OptimizerInfo:
        """Create an optimizer that runs on the server, or change the hyper-parameters of one.

        `type` is "gradient_descent", "momentum", "adagrad", "adadelta", "adam", "rmsprop", "ftrl",
        "proximal_gradient_descent" or "proximal_adagrad"; `hyper` are TensorFlow 1's names, with its defaults. To say the
        same again changes nothing, so every worker may. Once the optimizer has slots, its type and what settles them
        (`initial_accumulator_value`, `centered`, `use_nesterov`) can no longer change. `slots` names the variables that
        shall keep the slots of a variable, and `scalars` those of the optimizer, where they are not called after it.

        Raises `InvalidRequestError` listing every wrong hyper-parameter, `SpecMismatchError`, `InvalidNameError`.

        >>> async with AsyncParameterClient() as client:
        ...     (await client.create_optimizer("Adam", "adam", learning_rate=0.01)).hyper["beta1"]
        0.9
        """
        spec: dict[str, Any] = {"type": type}
        spec.update((key, _plain(value)) for key, value in hyper.items() if value is not None)
        if slots:
            spec["slots"] = {variable: names_of(names) for variable, names in slots.items()}
        if scalars:
            spec["scalars"] = names_of(scalars)
        return optimizer_of((await self._ask("create_optimizer", name=name, spec=spec)).body)

    async def get_optimizer(self, name: str) -> OptimizerInfo:
        """An optimizer, its hyper-parameters, and the names of its variables. Raises `OptimizerNotFoundError`."""
        return optimizer_of((await self._ask("get_optimizer", name=name)).body)

    async def optimizers(self) -> list[OptimizerInfo]:
        """All optimizers, by name."""
        return [optimizer_of(each) for each in (await self._ask("list_optimizers")).body["optimizers"]]

    async def delete_optimizer(self, name: str) -> None:
        """Delete an optimizer with its slots and scalars; what it trained stays. Raises `OptimizerNotFoundError`."""
        await self._ask("delete_optimizer", name=name)

    async def push_gradients(
        self,
        gradients: Mapping[str, Any],
        optimizer: str,
        *,
        hyper: Mapping[str, Any] | None = None,
        global_step: str | None = None,
        then: Sequence[Update] = (),
        returns: Iterable[str] = (),
        base_commit: int | None = None,
        max_staleness: int | None = None,
        allow_non_finite: bool = False,
    ) -> Applied:
        """One step of an optimizer over many variables in one transaction: exactly once, all of them or none.

        A gradient is an array of its variable's shape; or a pair `(values, indices)`, or anything that has these two, for
        some rows along the first axis, of which repeated ones are summed. `hyper` holds for this step only.
        `global_step` names an integer variable to count up behind the gradients (`Applied.global_step`), `then` are
        updates behind that, which see the new values; `returns` names variables to bring back in `Applied.values`. With
        `base_commit` (the commit of the pull) and `max_staleness` it is refused when the server is more commits ahead.
        Slots that are not there yet are created with it, as variables that are not trainable.

        Raises `OptimizerNotFoundError`, `StaleUpdateError`, `SpecMismatchError` (something stands where a slot would),
        `InvalidRequestError` (hyper-parameters), and as `assign_add` and the scatters do, with every difference in
        `errors`.

        >>> async with AsyncParameterClient() as client:
        ...     _ = await client.create_variable("w", value=[1.0, 2.0])
        ...     _ = await client.create_optimizer("SGD", "gradient_descent", learning_rate=0.5)
        ...     (await client.push_gradients({"w": [1.0, 1.0]}, "SGD", returns=["w"])).values["w"]
        array([0.5, 1.5], dtype=float32)
        """
        answer = await self._ask(
            "apply_gradients",
            name=optimizer,
            gradients={name: gradient_of(given) for name, given in gradients.items()},
            hyper=None if hyper is None else {key: _plain(value) for key, value in hyper.items()},
            global_step=global_step,
            then=[update_fields(update) for update in then] or None,
            returns=names_of(returns) or None,
            base_commit=base_commit,
            max_staleness=max_staleness,
            allow_non_finite=allow_non_finite or None,
        )
        body = answer.body
        return Applied(
            body["commit"], body["versions"], arrays_of(body.get("tensors")), answer.replayed, body["global_step"]
        )
