"""`tf.train.ExponentialMovingAverage`: averages of variables over time, kept on the server beside the variables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from paramserver_client.graph import dtypes, ops_array, ops_math, ops_state
from paramserver_client.graph.convert import convert_to_tensor, op_scope
from paramserver_client.graph.graph import GraphKeys, get_default_graph
from paramserver_client.graph.initializers import Zeros
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.ops_training import move_average
from paramserver_client.graph.slots import create_slot, create_zeros_slot
from paramserver_client.graph.variable_lists import global_variables, moving_average_variables, trainable_variables
from paramserver_client.graph.variable_scope import get_variable, variable_scope
from paramserver_client.graph.variables import Variable

_FLOATS: Final = (dtypes.bfloat16, dtypes.float16, dtypes.float32, dtypes.float64)


class ExponentialMovingAverage:
    """Keeps an average of each variable: `average -= (1 - decay) * (average - variable)` whenever `apply`'s operation runs.

    With `num_updates`, a count of steps, the decay is `min(decay, (1 + num_updates) / (10 + num_updates))`, so that the
    average moves fast at first. `zero_debias` divides averages of tensors by `1 - decay^t`, since they start at 0.

    The average of a variable is updated by the server, in the same request as the training step it waits for.

    >>> import paramserver_client.graph as tf
    >>> with tf.Graph().as_default(), tf.Session() as sess:
    ...     v = tf.Variable([10.0, 20.0], name="v")
    ...     average = tf.train.ExponentialMovingAverage(0.9)
    ...     update = average.apply([v])
    ...     sess.run(tf.global_variables_initializer())
    ...     _ = sess.run(v.assign([1.0, 2.0]))
    ...     sess.run(update)
    ...     print(average.average_name(v), sess.run(average.average(v)).round(1))
    v/ExponentialMovingAverage [ 9.1 18.2]
    """

    def __init__(
        self, decay: Any, num_updates: Any = None, zero_debias: bool = False, name: str = "ExponentialMovingAverage"
    ) -> None:
        self._decay = decay
        self._num_updates = num_updates
        self._zero_debias = zero_debias
        self._name = name
        self._averages: dict[Any, Variable] = {}

    @property
    def name(self) -> str:
        return self._name

    def apply(self, var_list: Iterable[Any] | None = None) -> Operation:
        """An operation that moves the averages of these variables and tensors, by default of the trainable variables.

        The average of a variable starts at the variable's initial value, that of a tensor at 0; both are global variables
        that are not trained. Raises TypeError for anything that does not hold floating point numbers.
        """
        wanted = trainable_variables() if var_list is None else list(var_list)
        begun: set[Any] = set()
        for each in wanted:
            if each.dtype.base_dtype not in _FLOATS:
                raise TypeError(f"The variables must be half, float, or double: {each.name}")
            if each not in self._averages:
                self._averages[each] = self._start(each)
                begun.add(each)
        with get_default_graph().name_scope(self._name) as scope:
            decay = convert_to_tensor(self._decay, name="decay")
            if self._num_updates is not None:
                updates = ops_math.cast(self._num_updates, dtypes.float32, name="num_updates")
                decay = ops_math.minimum(decay, (1.0 + updates) / (10.0 + updates))
            # As in TensorFlow, a tensor's average is debiased by the operation that was made with it only.
            debiased = {each for each in begun if self._zero_debias and not isinstance(each, Variable)}
            moved = [self._move(self._averages[each], each, decay, each in debiased) for each in wanted]
            done: Operation = ops_array.group(*moved, name=scope)
            return done

    def average(self, var: Any) -> Variable | None:
        """The variable that holds the average of `var`, or None when there is none."""
        return self._averages.get(var)

    def average_name(self, var: Any) -> str:
        """What the variable that holds the average of `var` is called, or will be once there is one."""
        if var in self._averages:
            return self._averages[var].op.name
        return get_default_graph().unique_name(f"{var.op.name}/{self._name}", mark_as_used=False)

    def variables_to_restore(self, moving_avg_variables: Iterable[Variable] | None = None) -> dict[str, Variable]:
        """For a Saver: the names under which to find the averages, for `moving_avg_variables` (by default the trainable
        ones and those in MOVING_AVERAGE_VARIABLES), and all other global variables under their own."""
        if moving_avg_variables is None:
            moving_avg_variables = [*trainable_variables(), *moving_average_variables()]
        averaged = list(dict.fromkeys(moving_avg_variables))
        named = {self.average_name(variable): variable for variable in averaged}
        taken = {variable.name for variable in averaged}
        for variable in dict.fromkeys(global_variables()):
            if variable.name not in taken and variable.op.name not in named:
                named[variable.op.name] = variable
        return named

    def _start(self, value: Any) -> Variable:
        if isinstance(value, Variable):
            average = create_slot(value, value.initialized_value(), self._name)
            get_default_graph().add_to_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, value)
            return average
        return create_zeros_slot(value, self._name)

    def _move(self, average: Variable, value: Any, decay: Tensor, debiased: bool) -> Any:
        with op_scope(None, "AssignMovingAvg", []) as scope:
            if isinstance(value, Variable) and not (value.is_local or average.is_local):
                return move_average(average, value, decay, scope)
            rate = ops_math.cast(1.0 - decay, average.dtype.base_dtype)
            if debiased:
                return _move_debiased(average, value, rate)
            return ops_state.assign_sub(average, (average - value) * rate, name=scope)


def _move_debiased(average: Variable, value: Any, rate: Tensor) -> Operation:
    """Move the biased average, and give `average` the value of it over `1 - decay^t`.

    Kingma and Ba, "Adam: a method for stochastic optimization" (arXiv:1412.6980), section 3.
    """
    with variable_scope(average.op.name):
        settings: dict[str, Any] = {
            "dtype": average.dtype.base_dtype, "initializer": Zeros(), "trainable": False,
        }  # fmt: skip
        biased = get_variable("biased", shape=average.shape, **settings)
        count = get_variable("local_step", shape=[], **settings)
    moved = biased - (biased - value) * rate
    unbiased = moved / (1.0 - ops_math.pow(1.0 - rate, count + 1.0))
    done: Operation = ops_array.group(biased.assign(moved), count.assign_add(1.0), average.assign(unbiased))
    return done
