"""How a test of the contract looks at a server: what is in it, and that a refusal left it alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import paramserver_client as ps

State = dict[str, tuple[ps.Metadata, bytes | None]]


def everything(client: ps.ParameterClient) -> State:
    """All variables with all there is to know about them, their values as bytes."""
    listed = client.list_variables()
    values = client.pull([each.name for each in listed if each.initialized])
    return {each.name: (each, values[each.name].tobytes() if each.initialized else None) for each in listed}


@contextmanager
def refused(
    client: ps.ParameterClient, kind: type[ps.ParameterServerError], *names: str
) -> Iterator[pytest.ExceptionInfo[ps.ParameterServerError]]:
    """The block must raise `kind`, listing a difference for each of `names`, and must have changed nothing at all."""
    before, commit, checkpoints = everything(client), client.server()["commit"], client.checkpoints()
    with pytest.raises(kind) as raised:
        yield raised
    error = raised.value
    assert type(error) is kind
    assert error.outcome == "not applied"
    assert len(error.detail) > 20
    listed = [each["name"] for each in error.errors]
    for name in names:
        assert name in listed, f"{name} is not among {listed}"
        assert name[:40] in str(error)
    assert everything(client) == before
    assert client.server()["commit"] == commit
    assert client.checkpoints() == checkpoints


def value(client: ps.ParameterClient, name: str) -> Any:
    """A variable's value as plain lists, and its version."""
    found, tag = client.read(name, with_version=True)
    return found.tolist(), int(tag.rpartition("-")[2])


def f32(*numbers: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A vector of float32."""
    return np.array(numbers, np.float32)
