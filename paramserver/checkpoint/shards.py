"""How values are spread over files, as Hugging Face's tools do it, so that theirs read ours. Pure.

One file is `model.safetensors`. More are `model-00001-of-00003.safetensors` and so on, with
`model.safetensors.index.json` beside them, which says for each variable where it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from paramserver.store.snapshot import VariableSnapshot

MODEL: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
DEFAULT_SHARD_NBYTES: Final = 5_000_000_000
MIN_SHARD_NBYTES: Final = 1024


def in_shards(variables: Sequence[VariableSnapshot], shard_nbytes: int) -> list[tuple[str, Sequence[VariableSnapshot]]]:
    """The files to write and what goes into each, in their order. 0 means: all in one.

    Of at most `shard_nbytes` of values each, but for a variable that is larger alone.
    """
    shards: list[list[VariableSnapshot]] = []
    filling: list[VariableSnapshot] = []
    filled_nbytes = 0
    for variable in variables:
        if shard_nbytes and variable.nbytes > shard_nbytes:
            shards.append([variable])
            continue
        if shard_nbytes and filled_nbytes + variable.nbytes > shard_nbytes:
            shards.append(filling)
            filling, filled_nbytes = [], 0
        filling.append(variable)
        filled_nbytes += variable.nbytes
    if filling or not shards:
        shards.append(filling)
    return list(zip(file_names(len(shards)), shards, strict=True))


def file_names(count: int) -> list[str]:
    """The names of `count` files of values.

    >>> file_names(2)
    ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']
    """
    if count == 1:
        return [MODEL]
    return [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]


def index_of(nbytes: int, file_of: Mapping[str, str]) -> bytes:
    """The bytes of model.safetensors.index.json: the size of all values, and the file of each."""
    index = {"metadata": {"total_size": nbytes}, "weight_map": dict(file_of)}
    return (json.dumps(index, indent=2, sort_keys=True) + "\n").encode()
