"""Static shapes: what is known of a tensor's shape before it is computed.

A shape may be unknown altogether, or of known rank with some dimensions unknown (`?`). Merging two shapes keeps what
either knows and refuses what cannot both be true.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from paramserver_client.graph.dtypes import DType


class Dimension:
    """One dimension: a size, or None while it is unknown."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        if isinstance(value, Dimension):
            self._value: int | None = value.value
        elif value is None:
            self._value = None
        elif isinstance(value, DType):
            raise TypeError(f"Cannot convert {value} to Dimension")
        else:
            number = int(value)
            if not isinstance(value, str | bytes) and number != value:
                raise ValueError(f"Ambiguous dimension: {value}")
            if number < 0:
                raise ValueError(f"Dimension {number} must be >= 0")
            self._value = number

    @property
    def value(self) -> int | None:
        return self._value

    def is_compatible_with(self, other: Any) -> bool:
        other = as_dimension(other)
        return self._value is None or other.value is None or self._value == other.value

    def assert_is_compatible_with(self, other: Any) -> None:
        """Raises ValueError when both sizes are known and differ."""
        if not self.is_compatible_with(other):
            raise ValueError(f"Dimensions {self} and {other} are not compatible")

    def merge_with(self, other: Any) -> Dimension:
        """What both together know. Raises ValueError when they differ."""
        other = as_dimension(other)
        self.assert_is_compatible_with(other)
        return Dimension(other.value if self._value is None else self._value)

    def __int__(self) -> int:
        if self._value is None:
            raise TypeError("__int__ returned non-int (type NoneType)")
        return self._value

    def __index__(self) -> int:
        return int(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return Dimension, (self._value,)

    def _compared(self, other: object, operation: Callable[[Any, Any], bool]) -> Any:
        """None while either side is unknown; NotImplemented for what is no dimension."""
        try:
            theirs = as_dimension(other).value
        except (TypeError, ValueError):
            return NotImplemented
        return None if self._value is None or theirs is None else operation(self._value, theirs)

    def __eq__(self, other: object) -> Any:
        return self._compared(other, operator.eq)

    def __ne__(self, other: object) -> Any:
        return self._compared(other, operator.ne)

    def __lt__(self, other: Any) -> Any:
        return self._compared(other, operator.lt)

    def __le__(self, other: Any) -> Any:
        return self._compared(other, operator.le)

    def __gt__(self, other: Any) -> Any:
        return self._compared(other, operator.gt)

    def __ge__(self, other: Any) -> Any:
        return self._compared(other, operator.ge)

    __hash__ = None  # type: ignore[assignment]

    def _with(self, other: Any, operation: Callable[[int, int], int], swapped: bool = False) -> Any:
        try:
            theirs = as_dimension(other).value
        except (TypeError, ValueError):
            return NotImplemented
        if self._value is None or theirs is None:
            return Dimension(None)
        return Dimension(operation(theirs, self._value) if swapped else operation(self._value, theirs))

    def __add__(self, other: Any) -> Any:
        return self._with(other, operator.add)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._with(other, operator.sub)

    def __rsub__(self, other: Any) -> Any:
        return self._with(other, operator.sub, swapped=True)

    def __mul__(self, other: Any) -> Any:
        return self._with(other, operator.mul)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        return self._with(other, operator.floordiv)

    def __rfloordiv__(self, other: Any) -> Any:
        return self._with(other, operator.floordiv, swapped=True)

    def __truediv__(self, other: Any) -> NoReturn:
        raise TypeError(_no_truediv("Dimension", type(other).__name__))

    def __rtruediv__(self, other: Any) -> NoReturn:
        raise TypeError(_no_truediv(type(other).__name__, "Dimension"))

    def __mod__(self, other: Any) -> Any:
        return self._with(other, operator.mod)

    def __rmod__(self, other: Any) -> Any:
        return self._with(other, operator.mod, swapped=True)

    def __repr__(self) -> str:
        return f"Dimension({self._value})"

    def __str__(self) -> str:
        return "?" if self._value is None else str(self._value)


def _no_truediv(left: str, right: str) -> str:
    return f"unsupported operand type(s) for /: '{left}' and '{right}', please use // instead"


def dimension_value(dimension: Any) -> int | None:
    """The plain size of a `Dimension` (or of what is one already)."""
    return dimension.value if isinstance(dimension, Dimension) else dimension


def dimension_at_index(shape: TensorShape, index: int) -> Dimension:
    """The dimension at `index`, unknown when the rank is."""
    return Dimension(None) if shape.rank is None else Dimension(dimension_value(shape[index]))


def as_dimension(value: Any) -> Dimension:
    return value if isinstance(value, Dimension) else Dimension(value)


class TensorShape:
    """A static shape. `TensorShape(None)` knows nothing; `TensorShape([None, 3])` is a matrix of three columns."""

    __slots__ = ("_sizes",)

    def __init__(self, dims: Any) -> None:
        self._sizes = _sizes_of(dims)

    @property
    def dims(self) -> list[Dimension] | None:
        return None if self._sizes is None else [Dimension(size) for size in self._sizes]

    @property
    def ndims(self) -> int | None:
        return None if self._sizes is None else len(self._sizes)

    @property
    def rank(self) -> int | None:
        return self.ndims

    @property
    def sizes(self) -> tuple[int | None, ...] | None:
        """The plain sizes, None where unknown; None altogether for an unknown rank."""
        return self._sizes

    def known(self) -> tuple[int, ...]:
        """The sizes of a fully defined shape. Raises ValueError for any other."""
        if self._sizes is None or None in self._sizes:
            raise ValueError(f"The shape is not fully defined: {self}.")
        return tuple(size for size in self._sizes if size is not None)

    def as_list(self) -> list[int | None]:
        """The sizes as a list. Raises ValueError for an unknown rank."""
        if self._sizes is None:
            raise ValueError("as_list() is not defined on an unknown TensorShape.")
        return list(self._sizes)

    def num_elements(self) -> int | None:
        if not self.is_fully_defined():
            return None
        total = 1
        for size in self.known():
            total *= size
        return total

    def is_fully_defined(self) -> bool:
        return self._sizes is not None and None not in self._sizes

    def assert_is_fully_defined(self) -> None:
        if not self.is_fully_defined():
            raise ValueError(f"Shape {self} is not fully defined")

    def is_compatible_with(self, other: Any) -> bool:
        """Whether one tensor could have both shapes."""
        theirs = as_shape(other).sizes
        if self._sizes is None or theirs is None:
            return True
        return len(self._sizes) == len(theirs) and all(
            a is None or b is None or a == b for a, b in zip(self._sizes, theirs, strict=True)
        )

    def assert_is_compatible_with(self, other: Any) -> None:
        if not self.is_compatible_with(other):
            raise ValueError(f"Shapes {self} and {as_shape(other)} are incompatible")

    def assert_has_rank(self, rank: int) -> None:
        if self.ndims not in (None, rank):
            raise ValueError(f"Shape {self} must have rank {rank}")

    def assert_same_rank(self, other: Any) -> None:
        other = as_shape(other)
        if self.ndims is not None and other.ndims is not None and self.ndims != other.ndims:
            raise ValueError(f"Shapes {self} and {other} must have the same rank")

    def with_rank(self, rank: int) -> TensorShape:
        """This shape, known to be of `rank` dimensions. Raises ValueError when it has another rank."""
        try:
            return self.merge_with([None] * rank)
        except ValueError:
            raise ValueError(f"Shape {self} must have rank {rank}") from None

    def with_rank_at_least(self, rank: int) -> TensorShape:
        if self.ndims is not None and self.ndims < rank:
            raise ValueError(f"Shape {self} must have rank at least {rank}")
        return self

    def with_rank_at_most(self, rank: int) -> TensorShape:
        if self.ndims is not None and self.ndims > rank:
            raise ValueError(f"Shape {self} must have rank at most {rank}")
        return self

    def merge_with(self, other: Any) -> TensorShape:
        """What both together know. Raises ValueError when they cannot be the shape of one tensor."""
        theirs = as_shape(other)
        if self._sizes is None or theirs.sizes is None:
            return theirs if self._sizes is None else self
        if not self.is_compatible_with(theirs):
            raise ValueError(f"Shapes {self} and {theirs} are not compatible")
        return TensorShape([b if a is None else a for a, b in zip(self._sizes, theirs.sizes, strict=True)])

    def concatenate(self, other: Any) -> TensorShape:
        other = as_shape(other)
        if self._sizes is None or other.sizes is None:
            return TensorShape(None)
        return TensorShape(self._sizes + other.sizes)

    def most_specific_compatible_shape(self, other: Any) -> TensorShape:
        """The narrowest shape that both are instances of: sizes that differ become unknown."""
        theirs = as_shape(other)
        if self._sizes is None or theirs.sizes is None or len(self._sizes) != len(theirs.sizes):
            return TensorShape(None)
        return TensorShape([a if a == b else None for a, b in zip(self._sizes, theirs.sizes, strict=True)])

    def __add__(self, other: Any) -> TensorShape:
        return self.concatenate(other)

    def __radd__(self, other: Any) -> TensorShape:
        return as_shape(other).concatenate(self)

    def __len__(self) -> int:
        if self._sizes is None:
            raise ValueError("Cannot take the length of shape with unknown rank.")
        return len(self._sizes)

    def __bool__(self) -> bool:
        return self._sizes is not None

    def __iter__(self) -> Iterator[Dimension]:
        if self._sizes is None:
            raise ValueError("Cannot iterate over a shape with unknown rank.")
        return iter([Dimension(size) for size in self._sizes])

    def __getitem__(self, key: Any) -> Any:
        if self._sizes is not None:
            part = self._sizes[key]
            return TensorShape(part) if isinstance(key, slice) else Dimension(part)
        if not isinstance(key, slice):
            return Dimension(None)
        start, stop = key.start or 0, key.stop
        if key.step is not None:
            raise ValueError("Steps are not yet handled")
        if stop is None or start < 0 or stop < 0:
            return TensorShape(None)
        return TensorShape([None] * max(stop - start, 0))

    def __eq__(self, other: object) -> bool:
        """Equal when both are unknown, or known in full and the same; a `?` equals nothing but itself."""
        try:
            theirs = as_shape(other)
        except (TypeError, ValueError):
            return NotImplemented
        if self is other or self._sizes is None or theirs.sizes is None:
            return self._sizes is theirs.sizes
        return self._sizes == theirs.sizes and None not in self._sizes

    def __ne__(self, other: object) -> bool:
        """Raises ValueError while either rank is unknown."""
        try:
            theirs = as_shape(other)
        except (TypeError, ValueError):
            return NotImplemented
        if self._sizes is None or theirs.sizes is None:
            raise ValueError("The inequality of unknown TensorShapes is undefined.")
        return not self == theirs

    def __reduce__(self) -> tuple[Any, ...]:
        return TensorShape, (self.dims,)

    def __hash__(self) -> int:
        return hash(self._sizes)

    def __repr__(self) -> str:
        return f"TensorShape({None if self._sizes is None else self.dims})"

    def __str__(self) -> str:
        if self._sizes is None:
            return "<unknown>"
        if len(self._sizes) == 1:
            return f"({self.dims[0]},)" if self.dims else "()"
        return f"({', '.join(map(_text, self._sizes))})"


def _text(size: int | None) -> str:
    return "?" if size is None else str(size)


def _sizes_of(dims: Any) -> tuple[int | None, ...] | None:
    if dims is None:
        return None
    if isinstance(dims, TensorShape):
        return dims.sizes
    if isinstance(dims, str | bytes):
        raise TypeError(f"A string has ambiguous TensorShape, please wrap in a list or convert to an int: {dims!r}")
    try:
        sizes = list(dims)
    except TypeError:
        sizes = [dims]  # A lone size is a vector's, as in tf.zeros(4).
    return tuple(size if size is None or (type(size) is int and size >= 0) else Dimension(size).value for size in sizes)


def as_shape(value: Any) -> TensorShape:
    return value if isinstance(value, TensorShape) else TensorShape(value)


def unknown_shape(rank: int | None = None) -> TensorShape:
    return TensorShape(None if rank is None else [None] * rank)


def scalar() -> TensorShape:
    return TensorShape([])


def brackets(shape: TensorShape | Sequence[int | None]) -> str:
    """The form error messages use: `[2,?]`, or `<unknown>`."""
    sizes = as_shape(shape).sizes
    return "<unknown>" if sizes is None else f"[{','.join(map(_text, sizes))}]"


def broadcast(a: TensorShape, b: TensorShape) -> TensorShape:
    """The shape of an element-wise operation of `a` and `b`, by numpy's rule.

    Raises ValueError `Dimensions must be equal, but are 2 and 3` when they do not broadcast.
    """
    if a.sizes is None or b.sizes is None:
        return TensorShape(None)
    if a.sizes == b.sizes or not b.sizes:
        return a
    length = max(len(a.sizes), len(b.sizes))
    left: tuple[int | None, ...] = (1,) * (length - len(a.sizes)) + a.sizes
    right: tuple[int | None, ...] = (1,) * (length - len(b.sizes)) + b.sizes
    return TensorShape([_broadcast_size(x, y) for x, y in zip(left, right, strict=True)])


def _broadcast_size(x: int | None, y: int | None) -> int | None:
    if x == 1:
        return y
    if y == 1 or x == y:
        return x
    if x is None:
        return y
    if y is None:
        return x
    raise ValueError(f"Dimensions must be equal, but are {x} and {y}")


def merge_for_assign(ref: TensorShape, value: TensorShape) -> TensorShape:
    """The shape of a variable and of what is assigned to it; nothing broadcasts.

    Raises ValueError in TensorFlow's words when they differ.
    """
    if ref.sizes is None or value.sizes is None:
        return ref if ref.sizes is not None else value
    if len(ref.sizes) != len(value.sizes):
        raise ValueError(f"Shapes must be equal rank, but are {len(ref.sizes)} and {len(value.sizes)}")
    for index, (x, y) in enumerate(zip(ref.sizes, value.sizes, strict=True)):
        if x is not None and y is not None and x != y:
            raise ValueError(
                f"Dimension {index} in both shapes must be equal, but are {x} and {y}. "
                f"Shapes are {brackets(ref)} and {brackets(value)}."
            )
    return ref.merge_with(value)
