"""Operations on optimizers, and the pushes of gradients through them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paramserver.engine import values
from paramserver.engine.operations import Call
from paramserver.store import GradientPush, MemoryNames, OptimizerState, Receipt, Store
from paramserver.store.errors import InvalidRequest
from paramserver_wire.messages import Answer


class OptimizerOperations:
    """Operations on optimizers, over one store."""

    store: Store

    def create_optimizer(self, call: Call, *, name: str, spec: Mapping[str, Any]) -> Answer:
        hyper = dict(spec)
        names = MemoryNames(hyper.pop("slots", None) or {}, hyper.pop("scalars", None) or ())
        state, created = self.store.set_optimizer(
            name,
            hyper,
            names,
            claim=call.claim,
            answer=lambda state, created: [201 if created else 200, _described(call, name, state)],
            blocking=call.blocking,
        )
        return Answer(_described(call, name, state), 201 if created else 200)

    def get_optimizer(self, call: Call, *, name: str) -> Answer:
        return Answer(_described(call, name, self.store.optimizer(name)))

    def list_optimizers(self, call: Call) -> Answer:
        found = self.store.optimizers()
        return Answer({"optimizers": [_described(call, name, found[name]) for name in call.shown(found)]})

    def delete_optimizer(self, call: Call, *, name: str) -> Answer:
        self.store.delete_optimizer(name, claim=call.claim, answer=lambda _: [204, None], blocking=call.blocking)
        return Answer(None, 204)

    def apply_gradients(
        self,
        call: Call,
        *,
        name: str,
        gradients: Mapping[str, Any],
        hyper: Mapping[str, Any] | None = None,
        global_step: str | None = None,
        then: Sequence[Mapping[str, Any]] = (),
        returns: Sequence[str] | None = None,
        base_commit: int | None = None,
        max_staleness: int | None = None,
        allow_non_finite: bool = False,
    ) -> Answer:
        for field, number in (("base_commit", base_commit), ("max_staleness", max_staleness)):
            if number is not None and number < 0:
                raise InvalidRequest(f"{field} is a number of commits, 0 or more; got {number}")
        donated = call.donated_nbytes
        push = GradientPush(
            name,
            [
                values.gradient(variable, given, allow_non_finite=allow_non_finite, donated_nbytes=donated)
                for variable, given in gradients.items()
            ],
            hyper or {},
            global_step,
            values.updates(then, allow_non_finite=allow_non_finite, donated_nbytes=donated),
            returns or (),
            base_commit,
            max_staleness,
            allow_non_finite,
        )
        written = dict.fromkeys((*gradients, *(update.name for update in push.then)))

        def body(receipt: Receipt) -> dict[str, Any]:
            return _applied(receipt, written, global_step)

        receipt = self.store.apply_gradients(
            push, claim=call.claim, answer=lambda receipt: [200, body(receipt)], blocking=call.blocking
        )
        answer = body(receipt)
        if returns is not None:
            answer["tensors"] = {name: values.tensor(variable) for name, variable in receipt.fetched.items()}
        return Answer(answer)


def _described(call: Call, name: str, state: OptimizerState) -> dict[str, Any]:
    slots = {variable: list(state.slots[variable]) for variable in call.shown(state.slots)}
    return {"name": name, **state.optimizer.spec, "scalars": list(state.scalars), "slots": slots}


def _applied(receipt: Receipt, written: Mapping[str, None], global_step: str | None) -> dict[str, Any]:
    """What the request named: an answer to a large model would be all slots otherwise."""
    step = None
    if global_step is not None:
        written = {**written, global_step: None}
        value = receipt.variables[global_step].value
        assert value is not None, "a global step that was counted has a value"
        step = int(value)
    versions = {name: receipt.variables[name].version for name in written}
    return {"commit": receipt.commit, "global_step": step, "versions": versions}
