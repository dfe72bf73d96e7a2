"""Products of matrices, alone or in batches: the entries of the table, then the functions users call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from paramserver_client.graph import shapes
from paramserver_client.graph.convert import apply, op_scope, same_type
from paramserver_client.graph.dtypes import Array
from paramserver_client.graph.errors import InvalidArgumentError
from paramserver_client.graph.node import Operation, Tensor, operator
from paramserver_client.graph.ops_array import reshape, shape, transpose
from paramserver_client.graph.ops_math import binary_operator, sum_to
from paramserver_client.graph.registry import define
from paramserver_client.graph.shapes import TensorShape


def _matmul_shape(op: Operation) -> TensorShape:
    a, b = (tensor.shape.with_rank(2).as_list() for tensor in op.inputs)
    rows, inner = reversed(a) if op.attrs["transpose_a"] else a
    other, columns = reversed(b) if op.attrs["transpose_b"] else b
    if inner is not None and other is not None and inner != other:
        raise ValueError(f"Dimensions must be equal, but are {inner} and {other}")
    return TensorShape([rows, columns])


def _products(op: Operation, grad: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients to both factors, each a product of `grad` with the other."""
    a, b = op.inputs
    flip_a, flip_b = op.attrs["transpose_a"], op.attrs["transpose_b"]
    if not flip_a and not flip_b:
        return matmul(grad, b, transpose_b=True), matmul(a, grad, transpose_a=True)
    if not flip_a:
        return matmul(grad, b), matmul(grad, a, transpose_a=True)
    if not flip_b:
        return matmul(b, grad, transpose_b=True), matmul(a, grad)
    return matmul(b, grad, True, True), matmul(grad, a, True, True)


def _matmul_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    return list(_products(op, grad))


@define("MatMul", shape=_matmul_shape, gradient=_matmul_gradient)
def _matmul(a: Array, b: Array, *, transpose_a: bool, transpose_b: bool) -> Array:
    left, right = a.T if transpose_a else a, b.T if transpose_b else b
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
        raise InvalidArgumentError(
            f"Matrix size-incompatible: In[0]: {list(a.shape)}, In[1]: {list(b.shape)}; wanted inner sizes to be equal"
        )
    return np.asarray(np.matmul(left, right)).astype(a.dtype, copy=False)  # numpy widens bfloat16.


def _batch_shape(op: Operation) -> TensorShape:
    a, b = (tensor.shape.with_rank_at_least(2) for tensor in op.inputs)
    if a.sizes is None or b.sizes is None:
        return TensorShape(None)
    rows, inner = a.sizes[-1:-3:-1] if op.attrs["transpose_a"] else a.sizes[-2:]
    other, columns = b.sizes[-1:-3:-1] if op.attrs["transpose_b"] else b.sizes[-2:]
    if inner is not None and other is not None and inner != other:
        raise ValueError(f"Dimensions must be equal, but are {inner} and {other}")
    return shapes.broadcast(TensorShape(a.sizes[:-2]), TensorShape(b.sizes[:-2])).concatenate([rows, columns])


def _batch_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    return [sum_to(each, like) for each, like in zip(_products(op, grad), op.inputs, strict=True)]


@define("BatchMatMulV2", shape=_batch_shape, gradient=_batch_gradient)
def _batch_matmul(a: Array, b: Array, *, transpose_a: bool, transpose_b: bool) -> Array:
    if a.ndim < 2 or b.ndim < 2:
        raise InvalidArgumentError(f"In[0] and In[1] ndims must be >= 2: {list(a.shape)}, {list(b.shape)}")
    left, right = np.swapaxes(a, -1, -2) if transpose_a else a, np.swapaxes(b, -1, -2) if transpose_b else b
    if left.shape[-1] != right.shape[-2]:
        raise InvalidArgumentError(
            f"Matrix size-incompatible: In[0]: {list(a.shape)}, In[1]: {list(b.shape)}; wanted inner sizes to be equal"
        )
    return np.asarray(np.matmul(left, right)).astype(a.dtype, copy=False)  # numpy widens bfloat16.


# What users call


def matmul(
    a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, adjoint_a: bool = False,
    adjoint_b: bool = False, a_is_sparse: bool = False, b_is_sparse: bool = False, name: str | None = None,
) -> Tensor:  # fmt: skip
    """The product of the matrices `a` `[..., n, k]` and `b` `[..., k, m]`, each transposed first when asked for.

    What stands before the last two axes are batches, which broadcast. `adjoint_*` transpose as well and are for real matrices. Raises ValueError when the inner sizes differ.
    """
    for flip, adjoint, which in ((transpose_a, adjoint_a, "a"), (transpose_b, adjoint_b, "b")):
        if flip and adjoint:
            raise ValueError(f"Only one of transpose_{which} and adjoint_{which} can be True.")
    with op_scope(name, "MatMul", [a, b]) as scope:
        left, right = same_type("MatMul", a=a, b=b)
        if left.dtype.is_complex and (adjoint_a or adjoint_b):
            raise ValueError("adjoint_a and adjoint_b of a complex matrix are not supported; conjugate it first.")
        flips = {"transpose_a": bool(transpose_a or adjoint_a), "transpose_b": bool(transpose_b or adjoint_b)}
        in_batches = any(tensor.shape.ndims is None or tensor.shape.ndims > 2 for tensor in (left, right))
        return apply("BatchMatMulV2" if in_batches else "MatMul", [left, right], scope, **flips)


def tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Tensor:
    """The sum of products over `axes`: a number of axes (the last of `a` with the first of `b`), or a pair of lists.

    Raises ValueError when either rank is unknown, or the lists are of different lengths.
    """
    with op_scope(name, "Tensordot", [a, b]) as scope:
        left, right = same_type("Tensordot", a=a, b=b)
        rows, columns = _sizes(left), _sizes(right)
        over_a, over_b = _summed_axes(axes, len(rows), len(columns))
        free_a = [axis for axis in range(len(rows)) if axis not in over_a]
        free_b = [axis for axis in range(len(columns)) if axis not in over_b]
        outer = [*(rows[axis] for axis in free_a), *(columns[axis] for axis in free_b)]
        inner_a, inner_b = (math.prod(sizes[axis] for axis in over) for sizes, over in
                            ((rows, over_a), (columns, over_b)))  # fmt: skip
        flat_a = reshape(transpose(left, [*free_a, *over_a]), [-1, inner_a])
        flat_b = reshape(transpose(right, [*over_b, *free_b]), [inner_b, -1])
        return reshape(matmul(flat_a, flat_b), outer, name=scope)


def xw_plus_b(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """`x @ weights + biases`, of `x` `[n, k]`, `weights` `[k, m]` and `biases` `[m]`."""
    with op_scope(name, "xw_plus_b", [x, weights, biases]) as scope:
        product = matmul(x, weights)
        return apply("BiasAdd", same_type("BiasAdd", value=product, bias=biases), scope)


def _sizes(tensor: Tensor) -> list[Any]:
    """The size of each axis: a number, or a tensor where only a run knows."""
    sizes = tensor.shape.as_list()
    return [shape(tensor)[axis] if size is None else size for axis, size in enumerate(sizes)]


def _summed_axes(axes: Any, rank_a: int, rank_b: int) -> tuple[list[int], list[int]]:
    if isinstance(axes, int):
        return list(range(rank_a - axes, rank_a)), list(range(axes))
    pair = [[each] if isinstance(each, int) else list(each) for each in axes]
    if len(pair) != 2 or len(pair[0]) != len(pair[1]):
        raise ValueError(f"'axes' must be an integer or have two parts of one length, got {axes!r}.")
    return [axis % rank_a for axis in pair[0]], [axis % rank_b for axis in pair[1]]


operator("matmul", binary_operator("matmul", matmul))
