"""Large values through the SDK, one variable at a time and a whole model at once, beside a raw socket that does the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

import numpy as np

from benchmarks.measuring import MB, Result, Target, Trial, WrongResultError, in_turns, rates, seconds_each
from benchmarks.raw import RawPeer
from paramserver_client import ParameterClient

BULK: Final = Target("ratio", "at least", 0.3)
# A trial takes about as long whatever the size: so many bytes, and at most so many calls.
_TRIAL_NBYTES: Final = 200 * MB
_MOST_CALLS: Final = 200

_STAGES: Final = ((64, 256, 3), (128, 512, 4), (256, 1024, 6), (512, 2048, 3))


def measure_values(client: ParameterClient, raw: RawPeer, sizes: list[int], rounds: int) -> Iterator[Result]:
    """`assign_add` and `read` of one float32 variable of each size, in bytes."""
    for nbytes in sizes:
        name = f"bulk/{nbytes}"
        delta = _delta(nbytes // 4, seed=nbytes)
        client.create_variable(name, delta.shape, "float32", "zeros", initialize=True)
        calls = max(1, min(_MOST_CALLS, _TRIAL_NBYTES // nbytes // 4))
        trials: dict[str, Trial] = {
            "assign_add": partial(seconds_each, partial(client.assign_add, name, delta), calls),
            "raw add": partial(seconds_each, partial(raw.add, nbytes), calls),
            "raw move": partial(seconds_each, partial(raw.move, nbytes), calls),
            "read": partial(seconds_each, partial(client.read, name), calls),
            "raw read": partial(seconds_each, partial(raw.read, nbytes), calls),
        }
        seconds = in_turns(trials, rounds)
        _check(name, client.read(name), delta, times=calls * (rounds + 1))
        client.delete_variable(name)
        target = BULK if nbytes >= MB else None
        yield _compared("one variable", "assign_add", nbytes, seconds["assign_add"], seconds["raw add"], target)
        yield _compared(
            "one variable", "beside bytes only moved", nbytes, seconds["assign_add"], seconds["raw move"], None
        )
        yield _compared("one variable", "read", nbytes, seconds["read"], seconds["raw read"], target)


def measure_model(
    client: ParameterClient, raw: RawPeer, shapes: Mapping[str, tuple[int, ...]], rounds: int
) -> Iterator[Result]:
    """A push to, and a pull of, all variables of a model, in one request each."""
    deltas = {}
    for seed, (name, shape) in enumerate(shapes.items()):
        deltas[name] = _delta(int(np.prod(shape)), seed=seed).reshape(shape)
        client.create_variable(name, shape, "float32", "zeros", initialize=True)
    nbytes = sum(delta.nbytes for delta in deltas.values())
    trials: dict[str, Trial] = {
        "push": partial(seconds_each, partial(client.push, deltas), 1),
        "raw add": partial(seconds_each, partial(raw.add, nbytes), 1),
        "pull": partial(seconds_each, partial(client.pull, prefix="model"), 1),
        "raw read": partial(seconds_each, partial(raw.read, nbytes), 1),
    }
    seconds = in_turns(trials, rounds)
    values = client.pull(prefix="model")
    for name, delta in deltas.items():
        _check(name, values[name], delta, times=rounds + 1)
    client.delete_variables(prefix="model", confirm=True)
    group = f"{len(shapes)} variables in one call"
    yield _compared(group, "push", nbytes, seconds["push"], seconds["raw add"], BULK)
    yield _compared(group, "pull", nbytes, seconds["pull"], seconds["raw read"], BULK)


def resnet50_shapes(divisor: int = 1) -> dict[str, tuple[int, ...]]:
    """The 161 variables of a ResNet-50, 102 MB in float32; `divisor` makes its layers narrower."""
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, outputs: int, inputs: int, width: int) -> None:
        shapes[f"model/{name}/weight"] = (outputs, inputs, width, width)
        shapes[f"model/{name}/scale"] = (outputs,)
        shapes[f"model/{name}/offset"] = (outputs,)

    inputs = 64 // divisor
    convolution("stem", inputs, 3, 7)
    for stage, (narrow, wide, blocks) in enumerate(_STAGES):
        narrow, wide = narrow // divisor, wide // divisor
        for block in range(blocks):
            name = f"stage{stage}/block{block}"
            convolution(f"{name}/reduce", narrow, inputs, 1)
            convolution(f"{name}/spatial", narrow, narrow, 3)
            convolution(f"{name}/expand", wide, narrow, 1)
            if block == 0:
                convolution(f"{name}/shortcut", wide, inputs, 1)
            inputs = wide
    shapes["model/logits/weight"] = (1000, inputs)
    shapes["model/logits/bias"] = (1000,)
    return shapes


def _delta(count: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Small whole numbers: their sums are exact in float32."""
    return np.random.default_rng(seed).integers(-8, 9, count, dtype=np.int8).astype(np.float32)


def _check(name: str, value: np.ndarray[Any, Any], delta: np.ndarray[Any, Any], times: int) -> None:
    if not np.array_equal(value, delta * np.float32(times)):
        wrong = int(np.count_nonzero(value != delta * np.float32(times)))
        raise WrongResultError(f"{name}: wanted {times} times what was added, got {wrong} elements that are not")


def _compared(
    group: str, name: str, nbytes: int, seconds: list[float], raw_seconds: list[float], target: Target | None
) -> Result:
    value, raw = rates(nbytes, seconds), rates(nbytes, raw_seconds)
    return Result(group, name, nbytes, "GB/s", value, raw, value.median / raw.median, target)
