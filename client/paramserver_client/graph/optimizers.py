"""The optimizers. The server does the arithmetic, by the formulas of `paramserver.optim.rules`; a step is one request.

Hyper-parameters may be numbers, tensors (placeholders and decays among them) or functions without arguments. As in
TensorFlow they are float32, for variables of float64 too. Gradients of rows (`IndexedSlices`) change these rows only,
repeated ones summed; Adam's move all rows, as its averages go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from paramserver_client.graph import ops_scatter
from paramserver_client.graph.convert import apply, convert_to_tensor
from paramserver_client.graph.graph import Graph, get_default_graph
from paramserver_client.graph.indexed_slices import IndexedSlices
from paramserver_client.graph.initializers import Constant, Ones
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.ops_array import group
from paramserver_client.graph.ops_join import gather
from paramserver_client.graph.ops_math import abs as abs_
from paramserver_client.graph.ops_math import cast, maximum, sign, sqrt, square
from paramserver_client.graph.ops_training import apply_gradient
from paramserver_client.graph.optimizer import Optimizer
from paramserver_client.graph.steps import GradientStep
from paramserver_client.graph.variables import Variable


class ServerOptimizer(Optimizer):
    """An optimizer of the server's: what it is called there, what it keeps of each variable, and its hyper-parameters.

    The optimizer on the server is called as this one, with `_1`, `_2` for further ones of that name in a graph; so
    workers that build the same graph share it.
    """

    _type: ClassVar[str]
    _kind: ClassVar[str]
    _slot_order: ClassVar[Sequence[str]] = ()

    def __init__(self, use_locking: bool, name: str, hyper: Mapping[str, Any], **settled: Any) -> None:
        super().__init__(use_locking, name)
        self._hyper = hyper
        self._settled = settled
        self._names: dict[Graph, str] = {}
        self._trained: Sequence[Variable] = ()
        self._tensors: Mapping[str, Tensor] = {}

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        for variable in var_list:
            if variable.is_local:
                raise ValueError(
                    f"{type(self).__name__} trains variables that live on the server, but {variable.op.name!r} lives in "
                    "the session; make it a global variable, or train it with GradientDescentOptimizer."
                )
            self._make_slots(variable)
        self._trained = var_list

    def _make_slots(self, variable: Variable) -> None:
        """Make the slots of one variable, in the order of TensorFlow, from which their names follow."""

    def _scalars(self) -> Sequence[Variable]:
        return ()

    def _prepare(self) -> None:
        given = {name: self._call_if_callable(value) for name, value in self._hyper.items()}
        # A number becomes a float32 tensor, whatever the variables' dtype: TensorFlow's figures come out.
        self._tensors = {name: convert_to_tensor(value, name=name) for name, value in given.items()}
        slots = {
            variable: [slot for name in self._slot_order if (slot := self.get_slot(variable, name)) is not None]
            for variable in self._trained
        }
        self._step = GradientStep(self._server_name(), self._type, self._settled, slots, self._scalars())

    def _server_name(self) -> str:
        graph = get_default_graph()
        if graph not in self._names:
            name, number = self._name, 0
            while name in graph.optimizer_names:
                number += 1
                name = f"{self._name}_{number}"
            graph.optimizer_names.add(name)
            self._names[graph] = name
        return self._names[graph]

    def _apply_dense(self, grad: Tensor, var: Variable) -> Operation:
        return apply_gradient(self._kind, self._step, var, grad, self._tensors, self._use_locking)

    def _apply_sparse(self, grad: IndexedSlices, var: Variable) -> Operation:
        return apply_gradient(self._kind, self._step, var, grad, self._tensors, self._use_locking)


class GradientDescentOptimizer(Optimizer):
    """Plain gradient descent: `v -= learning_rate * gradient`.

    A subtraction, which the server does without an optimizer of its own, so workers that step at the same time all count.

    >>> import paramserver_client.graph as tf
    >>> with tf.Graph().as_default(), tf.Session() as sess:
    ...     v = tf.Variable(3.0)
    ...     train = tf.train.GradientDescentOptimizer(0.5).minimize(v * v)
    ...     sess.run(tf.global_variables_initializer())
    ...     sess.run(train)
    ...     float(sess.run(v))
    0.0
    """

    def __init__(self, learning_rate: Any, use_locking: bool = False, name: str = "GradientDescent") -> None:
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate

    def _prepare(self) -> None:
        rate = self._call_if_callable(self._learning_rate)
        # A number becomes a float32 tensor, whatever the variables' dtype: TensorFlow's figures come out.
        self._rate = convert_to_tensor(rate, name="learning_rate")

    def _apply_dense(self, grad: Tensor, var: Variable) -> Operation:
        inputs = [var._as_graph_element(), cast(self._rate, var.dtype.base_dtype), grad]
        return apply("ApplyGradientDescent", inputs, "ApplyGradientDescent").op

    def _apply_sparse_duplicate_indices(self, grad: IndexedSlices, var: Variable) -> Operation:
        rate = cast(self._rate, var.dtype.base_dtype)
        return ops_scatter.scatter_sub(var, grad.indices, grad.values * rate).op


class MomentumOptimizer(ServerOptimizer):
    """`a = momentum * a + g; v -= learning_rate * a`; with `use_nesterov` `v -= learning_rate * (g + momentum * a)`.

    Slot: "momentum", from 0. Polyak's heavy ball with the learning rate outside; Nesterov's after Sutskever et al. (2013).
    """

    _type, _kind, _slot_order = "momentum", "Momentum", ("momentum",)

    def __init__(
        self,
        learning_rate: Any,
        momentum: Any,
        use_locking: bool = False,
        name: str = "Momentum",
        use_nesterov: bool = False,
    ) -> None:
        hyper = {"learning_rate": learning_rate, "momentum": momentum}
        super().__init__(use_locking, name, hyper, use_nesterov=bool(use_nesterov))

    def _make_slots(self, variable: Variable) -> None:
        self._zeros_slot(variable, "momentum", self._name)


class AdagradOptimizer(ServerOptimizer):
    """`A += g^2; v -= learning_rate * g / sqrt(A)`, without an epsilon. Slot: "accumulator", from
    `initial_accumulator_value`, which must be above 0: ValueError. Duchi, Hazan and Singer (2011)."""

    _type, _kind, _slot_order = "adagrad", "Adagrad", ("accumulator",)

    def __init__(
        self,
        learning_rate: Any,
        initial_accumulator_value: float = 0.1,
        use_locking: bool = False,
        name: str = "Adagrad",
    ) -> None:
        _check_positive("initial_accumulator_value", initial_accumulator_value)
        super().__init__(
            use_locking, name, {"learning_rate": learning_rate}, initial_accumulator_value=initial_accumulator_value
        )

    def _make_slots(self, variable: Variable) -> None:
        _constant_slot(self, variable, self._settled["initial_accumulator_value"], "accumulator", self._name)


class AdadeltaOptimizer(ServerOptimizer):
    """`A = rho A + (1 - rho) g^2; u = sqrt(U + epsilon) / sqrt(A + epsilon) g; U = rho U + (1 - rho) u^2; v -= learning_rate u`.

    Slots: "accum" and "accum_update", from 0. Zeiler (2012), algorithm 1, with a learning rate.
    """

    _type, _kind, _slot_order = "adadelta", "Adadelta", ("accum", "accum_update")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: Any = 0.95,
        epsilon: Any = 1e-8,
        use_locking: bool = False,
        name: str = "Adadelta",
    ) -> None:
        super().__init__(use_locking, name, {"learning_rate": learning_rate, "rho": rho, "epsilon": epsilon})

    def _make_slots(self, variable: Variable) -> None:
        for slot in self._slot_order:
            self._zeros_slot(variable, slot, self._name)


class AdamOptimizer(ServerOptimizer):
    """`m` and `v` are moving averages of g and g^2; `var -= lr_t m / (sqrt(v) + epsilon)` with
    `lr_t = learning_rate sqrt(1 - beta2^t) / (1 - beta1^t)`.

    The "epsilon hat" form of Kingma and Ba (2014): epsilon stands outside the correction. Slots: "m" and "v", from 0;
    variables `beta1_power` and `beta2_power`. A gradient of some rows moves all rows, as by a gradient of 0.
    """

    _type, _kind, _slot_order = "adam", "Adam", ("m", "v")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        epsilon: Any = 1e-8,
        use_locking: bool = False,
        name: str = "Adam",
    ) -> None:
        hyper = {"learning_rate": learning_rate, "beta1": beta1, "beta2": beta2, "epsilon": epsilon}
        super().__init__(use_locking, name, hyper)

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        for beta in ("beta1", "beta2"):
            self._create_non_slot_variable(self._hyper[beta], f"{beta}_power")
        super()._create_slots(var_list)

    def _make_slots(self, variable: Variable) -> None:
        for slot in self._slot_order:
            self._zeros_slot(variable, slot, self._name)

    def _scalars(self) -> Sequence[Variable]:
        found = [self._get_non_slot_variable(f"{beta}_power") for beta in ("beta1", "beta2")]
        return [each for each in found if each is not None]


class RMSPropOptimizer(ServerOptimizer):
    """`R = decay R + (1 - decay) g^2; M = momentum M + learning_rate g / sqrt(R + epsilon); v -= M`, and R starts at 1.

    `centered` subtracts the square of the gradient's moving average under the root. Slots: "rms", "momentum" and, then,
    "mg". Tieleman and Hinton (2012); centred as in Graves (2013). Epsilon stands inside the root.
    """

    _type, _slot_order = "rmsprop", ("rms", "momentum", "mg")

    def __init__(
        self,
        learning_rate: Any,
        decay: Any = 0.9,
        momentum: Any = 0.0,
        epsilon: Any = 1e-10,
        use_locking: bool = False,
        centered: bool = False,
        name: str = "RMSProp",
    ) -> None:
        hyper = {"learning_rate": learning_rate, "decay": decay, "momentum": momentum, "epsilon": epsilon}
        super().__init__(use_locking, name, hyper, centered=bool(centered))

    @property
    def _kind(self) -> str:  # type: ignore[override]
        return "CenteredRMSProp" if self._settled["centered"] else "RMSProp"

    def _make_slots(self, variable: Variable) -> None:
        dtype = variable.dtype.base_dtype
        self._get_or_make_slot_with_initializer(variable, Ones(), variable.shape, dtype, "rms", self._name)
        if self._settled["centered"]:
            self._zeros_slot(variable, "mg", self._name)
        self._zeros_slot(variable, "momentum", self._name)


class FtrlOptimizer(ServerOptimizer):
    """Follow the regularized leader: `n' = n + g^2; z += g + 2 shrinkage v - (n'^-p - n^-p) / learning_rate v`, and
    `v = (sign(z) l1 - z) / (n'^-p / learning_rate + 2 l2)` where `|z| > l1`, else 0.

    McMahan et al. (2013), algorithm 1, with p the `learning_rate_power`. Slots: "accum", from `initial_accumulator_value`,
    and "linear", from 0. Raises ValueError for strengths below 0 and a power above 0.
    """

    _type, _kind, _slot_order = "ftrl", "Ftrl", ("accum", "linear")

    def __init__(
        self,
        learning_rate: Any,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "Ftrl",
        accum_name: str | None = None,
        linear_name: str | None = None,
        l2_shrinkage_regularization_strength: float = 0.0,
    ) -> None:
        if initial_accumulator_value < 0.0:
            raise ValueError(f"initial_accumulator_value {initial_accumulator_value:f} needs to be positive or zero")
        if learning_rate_power > 0.0:
            raise ValueError(f"learning_rate_power {learning_rate_power:f} needs to be negative or zero")
        strengths = {
            "l1_regularization_strength": l1_regularization_strength,
            "l2_regularization_strength": l2_regularization_strength,
            "l2_shrinkage_regularization_strength": l2_shrinkage_regularization_strength,
        }
        for strength, value in strengths.items():
            if value < 0.0:
                raise ValueError(f"{strength} {value:f} needs to be positive or zero")
        hyper = {"learning_rate": learning_rate, "learning_rate_power": learning_rate_power, **strengths}
        super().__init__(use_locking, name, hyper, initial_accumulator_value=initial_accumulator_value)
        self._accum_name = accum_name or name
        self._linear_name = linear_name or name

    def _make_slots(self, variable: Variable) -> None:
        _constant_slot(self, variable, self._settled["initial_accumulator_value"], "accum", self._accum_name)
        self._zeros_slot(variable, "linear", self._linear_name)


class ProximalGradientDescentOptimizer(ServerOptimizer):
    """`w = v - learning_rate g; v = sign(w) max(|w| - learning_rate l1, 0) / (1 + learning_rate l2)`, of float32 only.

    Duchi and Singer (2009), FOBOS.
    """

    _type, _kind = "proximal_gradient_descent", "ProximalGradientDescent"

    def __init__(
        self,
        learning_rate: Any,
        l1_regularization_strength: Any = 0.0,
        l2_regularization_strength: Any = 0.0,
        use_locking: bool = False,
        name: str = "ProximalGradientDescent",
    ) -> None:
        hyper = {
            "learning_rate": learning_rate,
            "l1_regularization_strength": l1_regularization_strength,
            "l2_regularization_strength": l2_regularization_strength,
        }
        super().__init__(use_locking, name, hyper)

    def _make_slots(self, variable: Variable) -> None:
        _check_float32(self._kind, variable)


class ProximalAdagradOptimizer(ServerOptimizer):
    """`A += g^2`, then the step of `ProximalGradientDescentOptimizer` with the rates `learning_rate / sqrt(A)`; float32 only.

    Slot: "accumulator", from `initial_accumulator_value`, which must be above 0: ValueError.
    """

    _type, _kind, _slot_order = "proximal_adagrad", "ProximalAdagrad", ("accumulator",)

    def __init__(
        self,
        learning_rate: Any,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: Any = 0.0,
        l2_regularization_strength: Any = 0.0,
        use_locking: bool = False,
        name: str = "ProximalAdagrad",
    ) -> None:
        _check_positive("initial_accumulator_value", initial_accumulator_value)
        hyper = {
            "learning_rate": learning_rate,
            "l1_regularization_strength": l1_regularization_strength,
            "l2_regularization_strength": l2_regularization_strength,
        }
        super().__init__(use_locking, name, hyper, initial_accumulator_value=initial_accumulator_value)

    def _make_slots(self, variable: Variable) -> None:
        _check_float32(self._kind, variable)
        _constant_slot(self, variable, self._settled["initial_accumulator_value"], "accumulator", self._name)


class AdagradDAOptimizer(Optimizer):
    """Adagrad by dual averaging: `G += g; Q += g^2; v = -learning_rate sign(G) max(|G| - T l1, 0) / (T learning_rate l2 + sqrt(Q))`
    with T the number of the step from 1, `global_step + 1`.

    Duchi, Hazan and Singer (2011), the composite form, for sparse linear models: what the variable was before does not
    count. Slots: "gradient_accumulator", from 0, and "gradient_squared_accumulator", from
    `initial_gradient_squared_accumulator_value`, which must be above 0: ValueError. The worker computes the new value from
    the slots it pulled; the sums are added up on the server, so no gradient is lost to a worker that steps at the same time.
    """

    def __init__(
        self,
        learning_rate: Any,
        global_step: Any,
        initial_gradient_squared_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "AdagradDA",
    ) -> None:
        _check_positive("initial_gradient_squared_accumulator_value", initial_gradient_squared_accumulator_value)
        super().__init__(use_locking, name)
        self._start = initial_gradient_squared_accumulator_value
        self._given = (learning_rate, l1_regularization_strength, l2_regularization_strength)
        self._global_step = global_step

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        for variable in var_list:
            self._zeros_slot(variable, "gradient_accumulator", self._name)
            _constant_slot(self, variable, self._start, "gradient_squared_accumulator", self._name)

    def _prepare(self) -> None:
        self._numbers = [convert_to_tensor(self._call_if_callable(each)) for each in self._given]
        self._step = convert_to_tensor(self._global_step)

    def _apply_dense(self, grad: Tensor, var: Variable) -> Operation:
        total, squares = self._sums(var)
        value = self._value(total + grad, squares + square(grad))
        done: Operation = group(total.assign_add(grad), squares.assign_add(square(grad)), var.assign(value))
        return done

    def _apply_sparse(self, grad: IndexedSlices, var: Variable) -> Operation:
        total, squares = self._sums(var)
        rows, g = grad.indices, grad.values
        value = self._value(gather(total, rows) + g, gather(squares, rows) + square(g))
        done: Operation = group(
            ops_scatter.scatter_add(total, rows, g),
            ops_scatter.scatter_add(squares, rows, square(g)),
            ops_scatter.scatter_update(var, rows, value),
        )
        return done

    def _sums(self, var: Variable) -> list[Any]:
        return [self.get_slot(var, name) for name in ("gradient_accumulator", "gradient_squared_accumulator")]

    def _value(self, total: Tensor, squares: Tensor) -> Tensor:
        dtype = total.dtype.base_dtype
        rate, l1, l2 = (cast(each, dtype) for each in self._numbers)
        step = cast(self._step, dtype) + 1.0
        shrunk = sign(total) * maximum(abs_(total) - step * l1, 0.0)
        value: Tensor = -rate * shrunk / (step * rate * l2 + sqrt(squares))
        return value


def _constant_slot(optimizer: Optimizer, variable: Variable, value: float, slot: str, name: str) -> None:
    initializer, dtype = Constant(value), variable.dtype.base_dtype
    optimizer._get_or_make_slot_with_initializer(variable, initializer, variable.shape, dtype, slot, name)


def _check_positive(name: str, value: float) -> None:
    if value <= 0.0:
        raise ValueError(f"{name} must be positive: {value}")


def _check_float32(kind: str, variable: Variable) -> None:
    dtype = variable.dtype.base_dtype.name
    if dtype != "float32":
        raise TypeError(
            f"Input 'alpha' of 'Apply{kind}' Op has type float32 that does not match type {dtype} of argument 'var'."
        )
