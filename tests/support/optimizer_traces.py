"""What TensorFlow 1.15 computed: three steps of every optimizer down one parabola, read off by running it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

START: Final = (1.0, 2.0, -0.5)
_CENTRE: Final = np.array([0.5, -1.0, 1.5])
_CURVATURE: Final = np.array([1.0, 2.0, 0.5])


@dataclass(frozen=True)
class Trace:
    """The values after each step by the optimizer of `spec`, of variables of `dtype`."""

    name: str
    spec: dict[str, Any]
    dtype: str
    steps: tuple[tuple[float, ...], ...]


def gradient(value: Array) -> Array:
    """That of `sum(K (v - C)^2)`, in the dtype of `value`."""
    return (2 * _CURVATURE * (value - _CENTRE)).astype(value.dtype)


def _trace(name: str, spec: dict[str, Any], text: str, dtype: str = "float64") -> Trace:
    steps = tuple(tuple(map(float, step.split(","))) for step in text.split(";"))
    return Trace(name, spec, dtype, steps)


_RATE: Final = {"learning_rate": 0.1}
_L1_L2: Final = {"l1_regularization_strength": 0.05, "l2_regularization_strength": 0.1}
_FTRL: Final = {"learning_rate": 0.5, "l1_regularization_strength": 0.01, "l2_regularization_strength": 0.02}
_PROXIMAL: Final = "proximal_gradient_descent"

TRACES: Final = (
    _trace(
        "sgd",
        {"type": "gradient_descent", **_RATE},
        "0.899999999,0.799999982,-0.299999997; 0.819999998,0.0799999785,-0.119999995; "
        "0.755999997,-0.352000019,0.0420000072",
    ),
    _trace(
        "momentum",
        {"type": "momentum", **_RATE, "momentum": 0.9},
        "0.899999999,0.799999982,-0.299999997; 0.729999999,-1.00000001,0.0600000033; "
        "0.531000002,-2.61999995,0.527999997",
    ),
    _trace(
        "nesterov",
        {"type": "momentum", **_RATE, "momentum": 0.9, "use_nesterov": True},
        "0.81,-0.280000005,-0.119999999; 0.611200003,-1.79919997,0.349799995; 0.445824008,-2.29988792,0.845357982",
    ),
    _trace(
        "adagrad",
        {"type": "adagrad", **_RATE},
        "0.90465374,1.9000347,-0.401227039; 0.843562681,1.83054453,-0.33277672; 0.79751962,1.77441258,-0.277700706",
    ),
    _trace(
        "adagrad_acc",
        {"type": "adagrad", **_RATE, "initial_accumulator_value": 1.0},
        "0.929289321,1.90034542,-0.41055728; 0.87739376,1.83096334,-0.345597243; 0.835887202,1.77488966,-0.29244433",
    ),
    _trace(
        "adadelta_default",
        {"type": "adadelta"},
        "0.999999553,1.99999955,-0.499999553; 0.9999991,1.9999991,-0.4999991; 0.999998643,1.99999864,-0.499998643",
    ),
    _trace(
        "adadelta",
        {"type": "adadelta", "learning_rate": 1.0, "rho": 0.9, "epsilon": 1e-6},
        "0.996837739,1.99683772,-0.496837727; 0.993603096,1.99359492,-0.493595736; 0.99032572,1.99029799,-0.490300763",
    ),
    _trace(
        "adam_default",
        {"type": "adam"},
        "0.999,1.999,-0.499; 0.998000057,1.99800001,-0.498000017; 0.997000204,1.99700004,-0.497000058",
    ),
    _trace(
        "adam",
        {"type": "adam", **_RATE, "beta1": 0.8, "beta2": 0.9, "epsilon": 1e-3},
        "0.900315229,1.90002634,-0.400157863; 0.801826189,1.80015927,-0.300457867; 0.705997726,1.70048263,-0.201058216",
    ),
    _trace(
        "rmsprop",
        {"type": "rmsprop", **_RATE},
        "0.899999999,1.69321403,-0.324588398; 0.818519913,1.47935677,-0.175755794; "
        "0.751673184,1.30585593,-0.0446386287",
    ),
    _trace(
        "rmsprop_momentum",
        {"type": "rmsprop", **_RATE, "decay": 0.8, "momentum": 0.5, "epsilon": 1e-3},
        "0.900049961,1.77943933,-0.3419355; 0.76706523,1.50935561,-0.131321161; 0.640873344,1.24349531,0.086555777",
    ),
    _trace(
        "rmsprop_centered",
        {"type": "rmsprop", **_RATE, "decay": 0.8, "momentum": 0.5, "epsilon": 1e-3, "centered": True},
        "0.897991042,1.75423557,-0.33339117; 0.75939593,1.43333392,-0.0994713185; 0.626586865,1.09457697,0.156762723",
    ),
    _trace(
        "ftrl",
        {"type": "ftrl", **_RATE},
        "0.603142395,1.84734837,-0.323140158; 0.583843655,1.7785197,-0.256227888; 0.568345411,1.72276367,-0.202050608",
    ),
    _trace(
        "ftrl_l1l2",
        {"type": "ftrl", **_FTRL},
        "0.212929639,1.44466372,0.06880277; 0.449070444,1.1292835,0.355090115; 0.490815799,0.888563871,0.563169035",
    ),
    _trace(
        "ftrl_shrink",
        {"type": "ftrl", **_FTRL, "l2_shrinkage_regularization_strength": 0.1},
        "0.119367538,1.42803055,0.0932544934; 0.399538983,1.10471024,0.37248747; 0.444983605,0.859359294,0.565267681",
    ),
    _trace(
        "ftrl_power",
        {"type": "ftrl", "learning_rate": 0.5, "learning_rate_power": -0.6, "initial_accumulator_value": 0.2},
        "0.210532199,1.65749937,0.00318849282; 0.434356367,1.46724102,0.247975062; 0.484774871,1.32155993,0.427641998",
    ),
    _trace(
        "proximal_gd",
        {"type": _PROXIMAL, **_RATE},
        "0.899999976,0.799999952,-0.300000012; 0.819999993,0.0799999833,-0.12000002; "
        "0.755999982,-0.351999998,0.0419999808",
        "float32",
    ),
    _trace(
        "proximal_gd_l1l2",
        {"type": _PROXIMAL, **_RATE, **_L1_L2},
        "0.886138618,0.787128687,-0.29207924; 0.795951426,0.0666110739,-0.106803283; "
        "0.724516034,-0.351518154,0.0483931266",
        "float32",
    ),
    _trace(
        "proximal_adagrad",
        {"type": "proximal_adagrad", **_RATE},
        "0.904653728,1.90003467,-0.401227027; 0.843562663,1.83054447,-0.332776695; 0.797519624,1.77441251,-0.277700663",
        "float32",
    ),
    _trace(
        "proximal_adagrad_l1l2",
        {"type": "proximal_adagrad", **_RATE, "initial_accumulator_value": 0.2, **_L1_L2},
        "0.89596957,1.89807224,-0.398028076; 0.8275612,1.82722449,-0.327117622; 0.775456846,1.77000606,-0.270070225",
        "float32",
    ),
)
