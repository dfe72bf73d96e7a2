"""Gradients of what works element by element."""

from __future__ import annotations

import autograd.numpy as anp
import numpy as np

import paramserver_client.graph as tf
from paramserver_client.graph import ops_math
from paramserver_client.graph.convert import apply
from support.gradient_case import Case, apart, inside, n, positive

ELEMENTS = [
    Case("Add", tf.add, (n(2, 3), n(3)), anp.add),
    Case("Add", tf.add, (n(2, 1), n(1, 3)), anp.add),
    Case("AddN", lambda x, y: tf.add_n([x, y, x]), (n(2, 3), n(2, 3)), lambda x, y: x + y + x),
    Case("Sub", tf.subtract, (n(2, 3), n(2, 1)), anp.subtract),
    Case("Sub", tf.subtract, (n(), n(2, 3)), anp.subtract),
    Case("Mul", tf.multiply, (n(2, 3), n(2, 3)), anp.multiply),
    Case("Mul", tf.multiply, (n(4, 1, 3), n(2, 1)), anp.multiply),
    Case("RealDiv", tf.truediv, (n(2, 3), positive(3)), anp.divide),
    Case("FloorMod", ops_math.floormod, (np.array([5.3, -4.1]), np.array([2.2, 3.1])), anp.mod),
    Case("Pow", tf.pow, (positive(2, 3), n(3)), anp.power),
    Case("Pow", lambda x: tf.pow(x, 3.0), (n(4),), lambda x: x**3),
    Case("Maximum", tf.maximum, (apart(6), apart(6)[::-1].copy() + 0.1), anp.maximum),
    Case("Minimum", tf.minimum, (apart(6), apart(6)[::-1].copy() + 0.1), anp.minimum),
    Case("Neg", tf.negative, (n(3),), anp.negative),
    Case("Abs", tf.abs, (apart(5),), anp.abs),
    Case("Sign", tf.sign, (apart(5),)),
    Case("Square", tf.square, (n(3),), anp.square),
    Case("Sqrt", tf.sqrt, (positive(3),), anp.sqrt),
    Case("Exp", tf.exp, (n(2, 2),), anp.exp),
    Case("Log", tf.log, (positive(3),), anp.log),
    Case("Log1p", tf.log1p, (positive(3),), anp.log1p),
    Case("Tanh", tf.tanh, (n(3),), anp.tanh),
    Case("Sigmoid", tf.sigmoid, (n(3),), lambda x: 1 / (1 + anp.exp(-x))),
    Case("Cast", lambda x: tf.cast(tf.cast(x, tf.complex128), x.dtype), (n(3),), lambda x: 1.0 * x),
    Case("Select", lambda x, y: tf.where([True, False], x, y), (n(2, 3), n(2, 3)),
         lambda x, y: anp.where(np.array([[True], [False]]), x, y)),
    Case("SumToShapeOf", lambda x, y: apply("SumToShapeOf", [x, y], "s"), (n(2, 3), n(1, 3)),
         lambda x, y: anp.sum(x, 0, keepdims=True) + 0 * y),
    Case("BroadcastToShapeOf", lambda x, y: apply("BroadcastToShapeOf", [x, y], "b"), (n(3), n(2, 3)),
         lambda x, y: x + 0 * y),
    Case("PlaceholderWithDefault", lambda x: tf.placeholder_with_default(x, [3]), (n(3),), lambda x: 1.0 * x),
    Case("Identity", tf.identity, (n(3),), lambda x: 1.0 * x),
    Case("Reciprocal", tf.reciprocal, (positive(3),), lambda x: 1 / x),
    Case("Rsqrt", tf.rsqrt, (positive(3),), lambda x: x**-0.5),
    Case("Expm1", tf.expm1, (n(3),), anp.expm1),
    Case("Sin", tf.sin, (n(3),), anp.sin),
    Case("Cos", tf.cos, (n(3),), anp.cos),
    Case("Tan", tf.tan, (inside(3),), anp.tan),
    Case("Asin", tf.asin, (inside(3),), anp.arcsin),
    Case("Acos", tf.acos, (inside(3),), anp.arccos),
    Case("Atan", tf.atan, (n(3),), anp.arctan),
    Case("Sinh", tf.sinh, (n(3),), anp.sinh),
    Case("Cosh", tf.cosh, (n(3),), anp.cosh),
    Case("Asinh", tf.asinh, (n(3),), anp.arcsinh),
    Case("Acosh", tf.acosh, (1.5 + positive(3),), anp.arccosh),
    Case("Atanh", tf.atanh, (inside(3),), anp.arctanh),
    Case("Erf", tf.erf, (n(3),)),
    Case("SquaredDifference", tf.squared_difference, (n(2, 3), n(3)), lambda x, y: (x - y) ** 2),
    Case("Atan2", tf.atan2, (n(2, 3), positive(3)), anp.arctan2),
    Case("DivNoNan", tf.div_no_nan, (n(2, 3), positive(3)), anp.divide),
    Case("Minimum", lambda x: tf.clip_by_value(x, -1.0, 1.5), (apart(6),), lambda x: anp.clip(x, -1.0, 1.5)),
    Case("Sqrt", lambda x: tf.clip_by_norm(x, 1.0), (n(3),), lambda x: x / anp.maximum(1.0, anp.sqrt(anp.sum(x**2)))),
    Case("Sqrt", lambda x, y: tf.clip_by_global_norm([x, None, y], 0.5)[0][2], (1.0 + positive(2), n(3)),
         lambda x, y: 0.5 * y / anp.sqrt(anp.sum(x**2) + anp.sum(y**2))),
    Case("CheckNumerics", lambda x: tf.check_numerics(x * x, "odd"), (n(3),), lambda x: x * x),
    Case("Print", lambda x: tf.Print(x * x, [x], first_n=0), (n(3),), lambda x: x * x),
]  # fmt: skip
