"""TensorFlow's own checkpoints as `.safetensors` files, one value in memory at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from paramserver.cli.asking import REFUSED, fail
from paramserver_client.graph.dtypes import string
from paramserver_client.graph.errors import OpError
from paramserver_client.graph.tensor_bundle import TensorBundle, is_bundle
from paramserver_wire.dtypes import name_of
from paramserver_wire.errors import WireError
from paramserver_wire.safetensors import header

INDEX = ".index"


def bundle_prefix(file: Path) -> str | None:
    """The prefix of the TensorFlow checkpoint that `file` names, by its prefix or by its index; None when it names none."""
    for prefix in (str(file), str(file).removesuffix(INDEX)):
        if is_bundle(prefix):
            return prefix
    return None


@contextmanager
def as_safetensors(prefix: str) -> Iterator[tuple[Path, list[str]]]:
    """A file with the values of a TensorFlow checkpoint, gone afterwards, and the names of the strings it leaves out.

    What is damaged, and what a file of tensors cannot hold, ends the command with status 1.
    """
    with tempfile.TemporaryDirectory(prefix="paramserver-") as directory:
        path = Path(directory) / "model.safetensors"
        try:
            strings = _write(TensorBundle(prefix), path)
        except (OpError, WireError) as error:
            fail(f"{prefix}: {error}", REFUSED)
        yield path, strings


def _write(bundle: TensorBundle, path: Path) -> list[str]:
    held = {name: entry for name, entry in bundle.entries.items() if entry.dtype != string}
    # Those with the longest items first, so that each is aligned.
    names = sorted(held, key=lambda name: -held[name].dtype.size)
    described = [(name, name_of(held[name].dtype.numpy_dtype), held[name].shape) for name in names]
    begin, _ = header(described, {"format": "pt"})
    with path.open("wb") as file:
        file.write(begin)
        for name in names:
            file.write(np.ascontiguousarray(bundle.read(name)).tobytes())
    return [name for name in bundle.entries if name not in held]
