"""`tf.train.SyncReplicasOptimizer`: replicas whose gradients are averaged and applied together, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from paramserver_client.graph import dtypes, ops_array, ops_state
from paramserver_client.graph.convert import apply
from paramserver_client.graph.coordinator import Coordinator
from paramserver_client.graph.devices import DeviceSpec
from paramserver_client.graph.dtypes import Array
from paramserver_client.graph.errors import CancelledError
from paramserver_client.graph.graph import GraphKeys, get_default_graph
from paramserver_client.graph.indexed_slices import IndexedSlices
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.ops_math import cast
from paramserver_client.graph.optimizer import Optimizer
from paramserver_client.graph.registry import attr_dtype, define
from paramserver_client.graph.session import BaseSession
from paramserver_client.graph.session_run_hook import SessionRunHook
from paramserver_client.graph.shapes import TensorShape, scalar
from paramserver_client.graph.sync_rounds import UNKNOWN, Round, Rounds, Sum
from paramserver_client.graph.variable_lists import global_variables, report_uninitialized_variables
from paramserver_client.graph.variables import Variable

_SHARED: Final = "sync_replicas"
"""The collection of what replicas share: neither initialized nor saved with the model, as it is no part of it."""


@define("SyncReplicas", shape=lambda op: scalar(), dtype=attr_dtype, effect="session", hidden_attrs=("dtype",))
def _sync(*inputs: Array, session: Any, call: Callable[..., int]) -> Array:
    return np.asarray(call(session, *inputs), dtype=np.int64)


@define("MeanGradient")
def _mean(total: Array, vector: Array) -> Array:
    return np.asarray(total / total.dtype.type(Round.read(vector).count), dtype=total.dtype)


def _mean_rows_shape(op: Operation) -> Sequence[TensorShape]:
    return [TensorShape([None]).concatenate(op.inputs[0].shape[1:]), TensorShape([None])]


@define("MeanRows", shape=_mean_rows_shape, dtype=lambda op: [op.inputs[0].dtype.base_dtype, dtypes.int64])
def _mean_rows(total: Array, counts: Array) -> tuple[Array, Array]:
    """The rows that any gradient had, each divided by how many had it."""
    indices = np.flatnonzero(counts)
    shares = counts[indices].reshape(-1, *[1] * (total.ndim - 1)).astype(total.dtype)
    return np.asarray(total[indices] / shares, dtype=total.dtype), indices


@define("NextRound", shape=lambda op: op.inputs[0].shape, dtype=lambda op: op.inputs[0].dtype, effect="write",
        update="replace")  # fmt: skip
def _next_round(vector: Array, expected: Array, step: Array, *, tokens: int, room: int) -> Array:
    if not np.array_equal(vector, expected):
        raise CancelledError("Another replica was faster.")
    return Round.read(vector).applied(int(step) + 1, tokens).written(room)


class ChiefQueueRunner:
    """Taken where TensorFlow wants the thread that applies gradients. There is none: whoever finds a step full applies it."""

    def create_threads(
        self, sess: BaseSession, coord: Coordinator | None = None, daemon: bool = False, start: bool = False
    ) -> list[Any]:
        return []


class SyncReplicasOptimizer(Optimizer):
    """Wraps an optimizer so that the gradients of `replicas_to_aggregate` replicas are averaged and applied at once.

    A run of the training operation adds the replica's gradients to sums on the server, and then waits for a token, which
    is the next step it works on; so each replica counts once a step. When enough gradients of a step are there, their mean is applied, the global step rises,
    and `max(total_num_replicas, replicas_to_aggregate)` tokens are put. Gradients of a step that is over are dropped. With
    more replicas than are aggregated, the slowest are so left behind; with fewer, they make several runs a step.

    Every replica runs the operation of `local_step_init_op`, the chief that of `chief_init_op` and
    `get_init_tokens_op`, in its new session; the hook of `make_session_run_hook` does that. `variable_averages` is an
    `ExponentialMovingAverage` that is moved after every step, for `variables_to_average`.

    A replica waits for `wait_s` seconds at most: DeadlineExceededError then says how many gradients have arrived and, where
    replicas are numbered, from which, and which are missing. `replica` is the number of this one; unless given it is the
    task of the device that `tf.device` (`replica_device_setter`) names.

    All of it is transactions of the server, so replicas and the server may be killed at any moment.
    """

    def __init__(
        self,
        opt: Optimizer,
        replicas_to_aggregate: int,
        total_num_replicas: int | None = None,
        variable_averages: Any = None,
        variables_to_average: Any = None,
        use_locking: bool = False,
        name: str = "sync_replicas",
        *,
        replica: int | None = None,
        wait_s: float = 600.0,
    ) -> None:
        super().__init__(use_locking, name)
        self._opt = opt
        self._wanted = replicas_to_aggregate
        self._replicas = replicas_to_aggregate if total_num_replicas is None else total_num_replicas
        self._averages, self._averaged = variable_averages, variables_to_average
        self._replica, self._wait_s = replica, wait_s
        self._rounds: Rounds | None = None

    def compute_gradients(self, *args: Any, **kwargs: Any) -> Any:
        """Those of the wrapped optimizer."""
        return self._opt.compute_gradients(*args, **kwargs)

    def apply_gradients(
        self, grads_and_vars: Iterable[tuple[Any, Any]], global_step: Any = None, name: str | None = None
    ) -> Operation:
        """The operation that hands the gradients in and waits for the next step. Raises ValueError for no pairs and
        without a global step."""
        pairs = list(grads_and_vars)
        if not pairs:
            raise ValueError("Must supply at least one variable")
        if global_step is None:
            raise ValueError("Global step is required to check staleness")
        live = [(gradient, variable) for gradient, variable in pairs if gradient is not None]
        for gradient, _ in live:
            if not isinstance(gradient, Tensor | IndexedSlices):
                raise ValueError(f"Unknown grad type! {gradient!r}")
        graph = get_default_graph()
        self._local_step = Variable(
            0, trainable=False, collections=[GraphKeys.LOCAL_VARIABLES], dtype=global_step.dtype.base_dtype,
            name="sync_rep_local_step",
        )  # fmt: skip
        self.ready_for_local_init_op = report_uninitialized_variables(global_variables())
        with graph.name_scope(None), graph.name_scope(self._name):
            rounds = self._rounds = self._make_rounds(live, global_step)
            self.local_step_init_op = self._initializer(rounds, rounds.prepare)
            self.chief_init_op = self._initializer(rounds, rounds.start, global_step.read_value())
        with graph.name_scope(None):
            rounds.apply = self._make_apply(rounds, [variable for _, variable in live], global_step)
            given = [part for gradient, _ in live for part in _parts(gradient)]
            sparse = [isinstance(gradient, IndexedSlices) for gradient, _ in live]
            token = self._call(partial(_hand_in, rounds, sparse), self._local_step.read_value(), *given)
            done: Operation = self._local_step.assign(_as(token, self._local_step), name=name).op
        return done

    def get_slot(self, var: Any, name: str) -> Any:
        """That of the wrapped optimizer."""
        return self._opt.get_slot(var, name)

    def get_slot_names(self) -> list[str]:
        """Those of the wrapped optimizer."""
        return self._opt.get_slot_names()

    def variables(self) -> list[Any]:
        """Those of the wrapped optimizer."""
        return self._opt.variables()

    def get_chief_queue_runner(self) -> ChiefQueueRunner:
        """What TensorFlow's chief starts; here it has nothing to do. Raises ValueError before `apply_gradients`."""
        self._made("Should be called after apply_gradients().")
        return ChiefQueueRunner()

    def get_init_tokens_op(self, num_tokens: int = -1) -> Operation:
        """The operation with which the chief puts the first tokens, by default one for each gradient of a step.

        Raises ValueError before `apply_gradients`, for so few that the first step could not end, and for more than there is
        room for.
        """
        rounds = self._made("get_init_tokens_op() should be called after apply_gradients().")
        needed = self._wanted - self._replicas
        if num_tokens == -1:
            num_tokens = self._wanted
        elif num_tokens < needed:
            raise ValueError(f"Too few tokens to finish the first step: {num_tokens} (given) vs {needed} (needed)")
        if num_tokens > rounds.room:
            raise ValueError(f"Too many tokens: {num_tokens} (given) vs {rounds.room} (room)")
        if num_tokens <= 0:
            none: Operation = ops_array.no_op(name="no_init_tokens")
            return none
        step = rounds.global_step.read_value()
        return self._call(partial(_put_tokens, rounds, num_tokens), step).op

    def make_session_run_hook(self, is_chief: bool, num_tokens: int = -1) -> SessionRunHook:
        """The hook that prepares a monitored session for this, and at the chief's end lets the others go."""
        return SyncReplicasHook(self, is_chief, num_tokens)

    # ---------------------------------------------------------------- inside

    def _made(self, text: str) -> Rounds:
        if self._rounds is None:
            raise ValueError(text)
        return self._rounds

    def _make_rounds(self, live: Sequence[tuple[Any, Any]], global_step: Any) -> Rounds:
        tokens = max(self._wanted, self._replicas)
        room = max(16 * tokens, 64)
        first = Round().written(room)
        with get_default_graph().name_scope(None):
            vector = Variable(first, trainable=False, collections=[_SHARED], name="sync_rep_round")
            sums = [_sum_of(gradient, variable) for gradient, variable in live]
        number = DeviceSpec.from_string(ops_array.no_op().device).task if self._replica is None else self._replica
        return Rounds(
            vector, global_step, sums, self._wanted, self._replicas, tokens, room,
            UNKNOWN if number is None else number, self._wait_s,
        )  # fmt: skip

    def _make_apply(self, rounds: Rounds, variables: Sequence[Any], global_step: Any) -> Operation:
        """Apply the mean, count the step, put tokens and begin the sums anew: one transaction."""
        rounds.expected = ops_array.placeholder(dtypes.int64, rounds.vector.shape, name="sync_rep_expected")
        means = [_mean_of(each, rounds.expected) for each in rounds.sums]
        update = self._opt.apply_gradients(zip(means, variables, strict=True), global_step)
        done: list[Any] = [
            update,
            *(each.assign(ops_array.zeros(each.shape, each.dtype)) for each in rounds.variables[1:]),
        ]
        inputs = [rounds.vector._as_graph_element(), rounds.expected, _as(global_step.value(), rounds.vector)]
        done.append(apply("NextRound", inputs, "NextRound", tokens=rounds.tokens_per_step, room=rounds.room))
        if self._averages is not None:
            with get_default_graph().control_dependencies([update]):
                done.append(self._averages.apply(self._averaged))
        grouped: Operation = ops_array.group(*done, name="sync_rep_apply")
        return grouped

    def _initializer(self, rounds: Rounds, call: Callable[..., int], *inputs: Tensor) -> Operation:
        """Prepare what is shared, and let the replica begin at the global step."""
        with get_default_graph().control_dependencies([self._call(call, *inputs).op]):
            done: Operation = ops_state.assign(self._local_step, rounds.global_step.read_value()).op
            return done

    def _call(self, call: Callable[..., int], *inputs: Tensor) -> Tensor:
        return apply("SyncReplicas", inputs, "SyncReplicas", call=call, dtype=dtypes.int64)


class SyncReplicasHook(SessionRunHook):
    """Prepares each new session: the chief's with the first tokens. At the chief's end those that wait are let go."""

    def __init__(self, optimizer: SyncReplicasOptimizer, is_chief: bool, num_tokens: int) -> None:
        self._optimizer, self._is_chief, self._num_tokens = optimizer, is_chief, num_tokens

    def begin(self) -> None:
        optimizer = self._optimizer
        rounds = optimizer._rounds
        if rounds is None:
            raise ValueError("SyncReplicasOptimizer.apply_gradient should be called before using the hook.")
        self._ready = optimizer.ready_for_local_init_op
        self._init = optimizer.chief_init_op if self._is_chief else optimizer.local_step_init_op
        self._tokens = optimizer.get_init_tokens_op(self._num_tokens) if self._is_chief else None
        self._close = optimizer._call(rounds.close).op

    def after_create_session(self, session: BaseSession, coord: Coordinator) -> None:
        missing = session.run(self._ready)
        if missing is not None and len(missing):
            names = ", ".join(name.decode() for name in missing)
            raise RuntimeError(
                "Init operations did not make model ready for SyncReplicasOptimizer local_init. Init op: "
                f"{self._init.name}, error: Variables not initialized: {names}"
            )
        session.run(self._init)
        if self._tokens is not None:
            session.run(self._tokens)

    def end(self, session: BaseSession) -> None:
        if self._is_chief:
            session.run(self._close)


def _sum_of(gradient: Any, variable: Any) -> Sum:
    """Make what the gradients of a variable are added up in."""
    settings: dict[str, Any] = {"trainable": False, "collections": [_SHARED]}
    zeros = ops_array.zeros(variable.shape, variable.dtype.base_dtype)
    total = Variable(zeros, name=f"{variable.op.name}/grad_accum", **settings)
    if isinstance(gradient, Tensor):
        return Sum(total)
    rows = ops_array.zeros([variable.shape[0]], dtypes.int64)
    return Sum(total, Variable(rows, name=f"{variable.op.name}/grad_accum_rows", **settings))


def _mean_of(where: Sum, vector: Tensor) -> Any:
    if where.rows is None:
        return apply("MeanGradient", [where.gradients.value(), vector], "MeanGradient")
    inputs = [where.gradients.value(), where.rows.value()]
    op = get_default_graph().create_op("MeanRows", inputs, {}, "MeanRows")
    return IndexedSlices(op.outputs[0], op.outputs[1])


def _parts(gradient: Any) -> list[Tensor]:
    return [gradient.values, gradient.indices] if isinstance(gradient, IndexedSlices) else [gradient]


def _hand_in(rounds: Rounds, sparse: Sequence[bool], session: Any, local_step: Array, *parts: Array) -> int:
    left = iter(parts)
    gradients = [(next(left), next(left)) if rows else next(left) for rows in sparse]
    return rounds.contribute(session, local_step, gradients)


def _put_tokens(rounds: Rounds, count: int, session: Any, step: Array) -> int:
    return rounds.add_tokens(session, step, count)


def _as(tensor: Tensor, variable: Any) -> Tensor:
    return cast(tensor, variable.dtype.base_dtype)
