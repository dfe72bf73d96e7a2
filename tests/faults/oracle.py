"""The acknowledged journal, done again by one thread in plain numpy: every value comes out the same to the last bit.

Clients train at once, with every optimizer, whole gradients and rows, hyper-parameters of single steps, a global step,
moving averages, and updates of all kinds. Then the journal is read, and each transaction is done to plain arrays in a
dictionary by formulas of the test's own (`faults.plain`). What the server holds, slots and scalars too, must be the same.
"""

from __future__ import annotations

import random
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

import paramserver_client as ps
from faults.outcome import Outcome, main, timed
from faults.plain import RULES
from faults.zygote import Zygote, serve_flags
from paramserver.disk import Disk
from paramserver.initializers import make
from paramserver.journal.records import decode_entry
from paramserver.journal.walk import Walk
from paramserver.store import Update
from paramserver.store.entries import Entry, FirstValues, Gradients, Updates, Values

NAME: Final = "optimizers against the journal in plain numpy"
CLIENTS: Final = 4
SHAPE: Final = (70, 3)
SPECS: Final[dict[str, dict[str, Any]]] = {
    "sgd": {"type": "gradient_descent", "learning_rate": 0.1},
    "heavy": {"type": "momentum", "learning_rate": 0.05, "momentum": 0.9},
    "nesterov": {"type": "momentum", "learning_rate": 0.05, "momentum": 0.9, "use_nesterov": True},
    "ada": {"type": "adagrad", "learning_rate": 0.1},
    "delta": {"type": "adadelta", "learning_rate": 1.0},
    "Adam": {"type": "adam", "learning_rate": 0.01},
    "rms": {"type": "rmsprop", "learning_rate": 0.01, "momentum": 0.5},
    "centred": {"type": "rmsprop", "learning_rate": 0.01, "centered": True},
    "follow": {
        "type": "ftrl",
        "learning_rate": 0.1,
        "l1_regularization_strength": 0.01,
        "l2_regularization_strength": 0.02,
    },
    "prox": {"type": "proximal_gradient_descent", "learning_rate": 0.1, "l1_regularization_strength": 0.01},
    "proxada": {"type": "proximal_adagrad", "learning_rate": 0.1, "l2_regularization_strength": 0.01},
}

Plain = dict[str, np.ndarray[Any, Any]]


def run(seed: int, count: int, plant: str = "") -> Outcome:
    """Make about `count` steps, and do them again."""
    wrong: list[str] = []
    with timed() as seconds, Zygote(plant) as zygote, tempfile.TemporaryDirectory(prefix="faults-oracle-") as place:
        data_dir = Path(place) / "data"
        server = zygote.serve(*serve_flags(data_dir, "everysec", "--journal-limit-nbytes", str(1 << 40)))
        with ps.ParameterClient(server.url) as client:
            client.create_variable("global_step", value=np.int64(0), trainable=False)
            for name, spec in SPECS.items():
                hyper = {key: value for key, value in spec.items() if key != "type"}
                client.create_optimizer(name, spec["type"], **hyper)
            for number in range(5):
                client.create_variable(f"w{number}", SHAPE, "float32", {"type": "random_normal"}, initialize=True)
                client.create_variable(f"average{number}", value=np.zeros(SHAPE, np.float32), trainable=False)
        threads = [
            threading.Thread(target=_train, args=(server.url, seed * 10 + number, count // CLIENTS))
            for number in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with ps.ParameterClient(server.url) as client:
            held = {info.name: client.read(info.name) for info in client.list_variables() if info.initialized}
        server.kill()
        steps, plain = _replayed(data_dir / "wal")
        for name in sorted({*held, *plain}):
            if name not in held or name not in plain or held[name].tobytes() != plain[name].tobytes():
                wrong.append(f"{name} differs (seed {seed}): {_difference(held.get(name), plain.get(name))}")
    return Outcome(NAME, steps, tuple(wrong), {"variables": str(len(held))}, seconds())


def _train(url: str, seed: int, count: int) -> None:
    draw = random.Random(seed)
    numbers = np.random.default_rng(seed)
    with ps.ParameterClient(url, timeout_s=30) as client:
        for _ in range(count):
            gradients: dict[str, Any] = {}
            for number in draw.sample(range(5), draw.randrange(1, 4)):
                if draw.random() < 0.3:
                    rows = np.sort(numbers.choice(SHAPE[0], 4, replace=False))
                    rows[1] = rows[0]
                    gradients[f"w{number}"] = (numbers.normal(size=(4, 3)).astype(np.float32), rows)
                else:
                    gradients[f"w{number}"] = numbers.normal(size=SHAPE).astype(np.float32)
            optimizer = draw.choice(list(SPECS))
            hyper = {"learning_rate": 0.01 * draw.randrange(1, 5)} if draw.random() < 0.3 else None
            number = draw.randrange(5)
            then = [ps.Update(f"average{number}", "ema", source=f"w{number}", decay=0.9)]
            client.push_gradients(gradients, optimizer, hyper=hyper, global_step="global_step", then=then)
            if draw.random() < 0.3:
                number = draw.randrange(5)
                client.push({f"w{number}": numbers.normal(size=SHAPE).astype(np.float32)}, op="assign_sub")


# -------------------------------------------------------------------- doing it again


def _replayed(wal: Path) -> tuple[int, Plain]:
    plain: Plain = {}
    steps = 0
    for entry in _entries(wal):
        steps += 1
        match entry.work:
            case Values(values):
                plain.update({name: np.array(value) for name, value in values.items()})
            case FirstValues(names, seed, drawn):
                # Draws are the generator's, which golden files hold; here only what comes after them is looked at.
                for made in entry.made:
                    spec = dict(made.initializer or {})
                    plain[made.name] = make(
                        spec, made.shape, made.dtype, seed if seed is not None else drawn, made.name
                    )
                assert set(names) <= plain.keys()
            case Updates(updates):
                for update in updates:
                    _update(plain, update)
            case Gradients():
                _step(plain, entry)
    return steps, plain


def _entries(wal: Path) -> Iterator[Entry]:
    for _, record in Walk(wal, Disk(), server=None, commit=0):
        yield decode_entry(record.header.kind, record.header.commit, record.payload)


def _update(plain: Plain, update: Update) -> None:
    name = update.name
    if update.op == "ema":
        assert update.source is not None
        rate = np.float32(1) - np.float32(update.decay)
        plain[name] = plain[name] - (plain[name] - plain[update.source]) * rate
        return
    value = np.asarray(update.value)
    plain[name] = {
        "assign": lambda: value,
        "assign_add": lambda: plain[name] + value,
        "assign_sub": lambda: plain[name] - value,
    }[update.op]()


def _step(plain: Plain, entry: Entry) -> None:
    assert isinstance(entry.work, Gradients)
    push, spec = entry.work.push, dict(entry.work.spec)
    rule = RULES[spec.pop("type")]
    hyper = {key: value if isinstance(value, bool) else np.float32(value) for key, value in spec.items()}
    for made in entry.made:
        start = np.float32((made.initializer or {})["value"])
        plain[made.name] = np.full(made.shape, start)
    powers = [
        f"{push.optimizer}/{name}" for name in ("beta1_power", "beta2_power") if f"{push.optimizer}/{name}" in plain
    ]
    now = [np.float32(plain[name]) for name in powers]
    for gradient in push.gradients:
        name = gradient.name
        slots = _slots(plain, name, push.optimizer)
        value, old = plain[name], [plain[slot] for slot in slots]
        g = np.asarray(gradient.value)
        if gradient.indices is None:
            value, new = rule(value, old, g, hyper, now)
        else:
            value, new = _rows(rule, value, old, g, np.asarray(gradient.indices), hyper, now)
        plain[name] = value
        plain.update(zip(slots, new, strict=True))
    for name, power in zip(powers, now, strict=True):
        plain[name] = np.asarray(power * hyper[name.rpartition("/")[2].removesuffix("_power")])
    if push.global_step is not None:
        plain[push.global_step] = np.asarray(plain[push.global_step] + np.int64(1))
    for update in push.then:
        _update(plain, update)


def _rows(
    rule: Any, value: Any, old: list[Any], g: Any, indices: Any, hyper: Any, scalars: Any
) -> tuple[Any, list[Any]]:
    """A step of some rows: repeats summed first, in their order; the others stay, but for Adam, which moves all."""
    summed: dict[int, Any] = {}
    for index, row in zip(indices.tolist(), g, strict=True):
        summed[index] = row if index not in summed else summed[index] + row
    if rule is RULES["adam"]:
        spread = np.zeros_like(value)
        for index, row in summed.items():
            spread[index] = row
        return rule(value, old, spread, hyper, scalars)
    rows = sorted(summed)
    part, parts = rule(
        value[rows], [each[rows] for each in old], np.array([summed[row] for row in rows]), hyper, scalars
    )
    out, outs = value.copy(), [each.copy() for each in old]
    out[rows] = part
    for each, new in zip(outs, parts, strict=True):
        each[rows] = new
    return out, outs


def _slots(plain: Plain, name: str, optimizer: str) -> list[str]:
    names = (f"{name}/{optimizer}", f"{name}/{optimizer}_1", f"{name}/{optimizer}_2")
    return [each for each in names if each in plain]


def _difference(held: Any, plain: Any) -> str:
    if held is None or plain is None:
        return "one of the two does not have it"
    unlike = np.flatnonzero(np.asarray(held).reshape(-1) != np.asarray(plain).reshape(-1))
    return f"{unlike.size} of {np.asarray(held).size} elements"


if __name__ == "__main__":
    main(run, 400)
