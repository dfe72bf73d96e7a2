"""This server, as anybody starts it, and its SDK: each step is one request, all its promises on."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np
from driving import Shapes, main, numbered, ready, until_told

import paramserver_client as ps


def serve(options: dict[str, Any]) -> None:
    """`paramserver serve`, by TCP or a Unix socket, with or without a journal."""
    # The path of a socket has a hundred characters, whatever the path of the place.
    with (
        tempfile.TemporaryDirectory(prefix="ps-") as short,
        tempfile.TemporaryDirectory(prefix="paramserver-peers-", dir=options["place"]) as place,
    ):
        flags = ["--port", "0"]
        if options["unix"]:
            flags = ["--uds", os.path.join(short, "ps.sock")]
        if options["durability"] != "none":
            flags += ["--data-dir", os.path.join(place, "data"), "--durability", options["durability"]]
        command = [sys.executable, "-m", "paramserver.cli", "serve", "--log-level", "error", *flags]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        address = next(line.split()[-1] for line in process.stdout if "listening on" in line)
        address = "unix://" + address.removeprefix("unix:") if options["unix"] else address
        if options["durability"] != "none":
            _wear_in(address)
        ready(address)
        until_told()
        process.terminate()
        process.wait(60)


def _wear_in(address: str) -> None:
    """Write more than is kept before a checkpoint shortens the journal: a server writes files that were written before, for most of
    its life, and it is this that is compared."""
    with ps.ParameterClient(address) as client:
        client.create_variable("worn", (4_000_000,), "float32", "zeros", initialize=True)
        for _ in range(150):
            client.assign_add("worn", np.ones(4_000_000, np.float32))
        client.delete_variable("worn")


class Worker:
    """Pulls into arrays of its own, as a worker that trains would."""

    def __init__(self, address: str, number: int, options: dict[str, Any]) -> None:
        self._client = ps.ParameterClient(address)

    def begin(self, shapes: Shapes, creates: bool) -> None:
        """Create what is not there."""
        self._out = {name: np.zeros(shape, np.float32) for name, shape in zip(numbered(shapes), shapes, strict=True)}
        self._deltas = {name: np.ones_like(array) for name, array in self._out.items()}
        if creates:
            for name, array in self._out.items():
                self._client.create_variable(name, array.shape, "float32", "zeros", initialize=True)

    def push(self) -> None:
        """One transaction."""
        self._client.push(self._deltas)

    def pull(self) -> list[Any]:
        """One cut."""
        self._client.pull(out=self._out)
        return list(self._out.values())

    def end(self, deletes: bool) -> None:
        """Delete them."""
        if deletes:
            self._client.delete_variables(prefix="peers", confirm=True)
        self._out, self._deltas = {}, {}

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


if __name__ == "__main__":
    main(serve, Worker)
