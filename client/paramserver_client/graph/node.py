"""Operations and tensors: the nodes and edges of a graph.

Both are made by `Graph.create_op` and belong to one graph for ever. Python's operators on tensors and variables come
from `Operators`; what each does is entered by the modules of operations (`operator("add", function)`), so that this
module knows none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from paramserver_client.graph import shapes
from paramserver_client.graph.dtypes import DType
from paramserver_client.graph.node_defs import NodeDef, node_def
from paramserver_client.graph.shapes import TensorShape

if TYPE_CHECKING:
    from paramserver_client.graph.graph import Graph
    from paramserver_client.graph.registry import OpDef

_OPERATORS: Final[dict[str, Callable[..., Any]]] = {}


def operator(name: str, function: Callable[..., Any]) -> None:
    """Enter what the python operator `name` (`add`, `getitem`, ...) does with tensors."""
    _OPERATORS[name] = function


class Operators:
    """Python's operators for tensors and variables. `==` stays identity, as in TensorFlow 1."""

    __array_priority__ = 100  # Above numpy's 0, so that `array + tensor` comes to `__radd__` here.

    def __add__(self, other: Any) -> Any:
        return _OPERATORS["add"](self, other)

    def __radd__(self, other: Any) -> Any:
        return _OPERATORS["add"](other, self)

    def __sub__(self, other: Any) -> Any:
        return _OPERATORS["sub"](self, other)

    def __rsub__(self, other: Any) -> Any:
        return _OPERATORS["sub"](other, self)

    def __mul__(self, other: Any) -> Any:
        return _OPERATORS["mul"](self, other)

    def __rmul__(self, other: Any) -> Any:
        return _OPERATORS["mul"](other, self)

    def __truediv__(self, other: Any) -> Any:
        return _OPERATORS["truediv"](self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _OPERATORS["truediv"](other, self)

    def __floordiv__(self, other: Any) -> Any:
        return _OPERATORS["floordiv"](self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return _OPERATORS["floordiv"](other, self)

    def __mod__(self, other: Any) -> Any:
        return _OPERATORS["mod"](self, other)

    def __rmod__(self, other: Any) -> Any:
        return _OPERATORS["mod"](other, self)

    def __pow__(self, other: Any) -> Any:
        return _OPERATORS["pow"](self, other)

    def __rpow__(self, other: Any) -> Any:
        return _OPERATORS["pow"](other, self)

    def __matmul__(self, other: Any) -> Any:
        return _OPERATORS["matmul"](self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return _OPERATORS["matmul"](other, self)

    def __and__(self, other: Any) -> Any:
        return _OPERATORS["and"](self, other)

    def __rand__(self, other: Any) -> Any:
        return _OPERATORS["and"](other, self)

    def __or__(self, other: Any) -> Any:
        return _OPERATORS["or"](self, other)

    def __ror__(self, other: Any) -> Any:
        return _OPERATORS["or"](other, self)

    def __xor__(self, other: Any) -> Any:
        return _OPERATORS["xor"](self, other)

    def __rxor__(self, other: Any) -> Any:
        return _OPERATORS["xor"](other, self)

    def __lt__(self, other: Any) -> Any:
        return _OPERATORS["lt"](self, other)

    def __le__(self, other: Any) -> Any:
        return _OPERATORS["le"](self, other)

    def __gt__(self, other: Any) -> Any:
        return _OPERATORS["gt"](self, other)

    def __ge__(self, other: Any) -> Any:
        return _OPERATORS["ge"](self, other)

    def __neg__(self) -> Any:
        return _OPERATORS["neg"](self)

    def __abs__(self) -> Any:
        return _OPERATORS["abs"](self)

    def __invert__(self) -> Any:
        return _OPERATORS["invert"](self)

    def __getitem__(self, key: Any) -> Any:
        return _OPERATORS["getitem"](self, key)


class Branch(NamedTuple):
    """An operation of a branch runs only when the bool scalar `condition` is `wanted`."""

    condition: Tensor
    wanted: bool


class Operation:
    """One node: an operation of a type, with its inputs and what must run before it.

    `attrs` holds the settings fixed when it was made. `recipe` is the initializer spec that makes the same values on
    the server, for operations that only make values; None for all others. `branches` are those of conditions that
    it is in, outermost first; `loop` the body of a loop that it belongs to.
    """

    def __init__(
        self,
        graph: Graph,
        definition: OpDef,
        name: str,
        index: int,
        inputs: Sequence[Tensor],
        control_inputs: Sequence[Operation],
        attrs: Mapping[str, Any],
    ) -> None:
        self.graph = graph
        self.definition = definition
        self.name = name
        self.index = index
        self.inputs = tuple(inputs)
        self.control_inputs = list(control_inputs)
        self.attrs = dict(attrs)
        self.outputs: list[Tensor] = []
        self.recipe: Mapping[str, Any] | None = None
        self.variable: Any = None
        self.device = ""
        self.beside: list[bytes] | None = None
        self.branches: tuple[Branch, ...] = ()
        self.loop: object = None

    @property
    def type(self) -> str:
        return self.definition.type

    def needs(self) -> Sequence[Tensor]:
        """What must be computed before it: its inputs, and the conditions of the branches it is in."""
        return (*self.inputs, *(branch.condition for branch in self.branches)) if self.branches else self.inputs

    def colocation_groups(self) -> list[bytes]:
        """What it shares its device with, as TensorFlow writes it: `loc:@name`."""
        return [f"loc:@{self.name}".encode()] if self.beside is None else list(self.beside)

    def get_attr(self, name: str) -> Any:
        """The setting `name`. Raises ValueError when this type has none of that name."""
        if name not in self.attrs:
            raise ValueError(f"Operation {self.name!r} has no attr named {name!r}.")
        return self.attrs[name]

    @property
    def node_def(self) -> NodeDef:
        """This operation in plain values, to look at."""
        return node_def(self)

    def values(self) -> tuple[Tensor, ...]:
        return tuple(self.outputs)

    def run(self, feed_dict: Any = None, session: Any = None) -> None:
        """Run this operation in `session`, or in the default one. Raises ValueError when there is neither."""
        _session_of(self.graph, session, "operation", "run").run(self, feed_dict)

    def __repr__(self) -> str:
        return f"<tf.Operation '{self.name}' type={self.type}>"


class Tensor(Operators):
    """One output of an operation: a value that a run computes."""

    def __init__(self, op: Operation, value_index: int, dtype: DType, shape: TensorShape) -> None:
        self.op = op
        self.value_index = value_index
        self._dtype = dtype
        self._shape = shape
        self._consumers: list[Operation] = []
        self.assign: Callable[..., Tensor]  # Of slices only.

    @property
    def name(self) -> str:
        return f"{self.op.name}:{self.value_index}"

    @property
    def dtype(self) -> DType:
        return self._dtype

    @property
    def graph(self) -> Graph:
        return self.op.graph

    @property
    def device(self) -> str:
        return self.op.device

    @property
    def shape(self) -> TensorShape:
        return self._shape

    def get_shape(self) -> TensorShape:
        return self._shape

    def set_shape(self, shape: Any) -> None:
        """Add to what is known of the shape. Raises ValueError when it contradicts what is known."""
        self._shape = self._shape.merge_with(shape)

    def consumers(self) -> list[Operation]:
        return list(self._consumers)

    def eval(self, feed_dict: Any = None, session: Any = None) -> Any:
        """This tensor's value, run in `session` or in the default one. Raises ValueError when there is neither."""
        return _session_of(self.graph, session, "tensor", "eval").run(self, feed_dict)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "Using a `tf.Tensor` as a Python `bool` is not allowed. Use `if t is not None:` instead of `if t:` to "
            "test if a tensor is defined, and run the tensor to test its value."
        )

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("Tensor objects are not iterable. Run the tensor, or take its parts by index.")

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        raise NotImplementedError(f"Cannot convert a symbolic Tensor ({self.name}) to a numpy array. Run it first.")

    def __repr__(self) -> str:
        return f"<tf.Tensor '{self.name}' shape={self._shape} dtype={self._dtype.name}>"

    def __str__(self) -> str:
        shape = "" if self._shape.ndims is None else f", shape={self._shape}"
        device = f", device={self.device}" if self.device else ""
        return f'Tensor("{self.name}"{shape}, dtype={self._dtype.name}{device})'


def _session_of(graph: Graph, session: Any, what: str, method: str) -> Any:
    from paramserver_client.graph.session import get_default_session  # The session module imports this one.

    found = get_default_session() if session is None else session
    doing = "evaluate tensor" if method == "eval" else "execute operation"
    if found is None:
        raise ValueError(
            f"Cannot {doing} using `{method}()`: No default session is registered. Use `with sess.as_default()` or "
            f"pass an explicit session to `{method}(session=sess)`"
        )
    if found.graph is not graph:
        which, advice = (
            ("given", "")
            if session is not None
            else ("default", f" Pass an explicit session to `{method}(session=sess)`.")
        )
        raise ValueError(
            f"Cannot use the {which} session to {doing}: the {what}'s graph is different from the session's graph.{advice}"
        )
    return found


def input_shapes(op: Operation) -> str:
    """The shapes of an operation's inputs, as error messages list them: `[2,3], [3,4]`."""
    return ", ".join(shapes.brackets(tensor.shape) for tensor in op.inputs)
