"""Ray: an actor that holds the arrays; what is added and what is read goes through the store of shared memory."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any

import numpy as np

os.environ.setdefault("RAY_DEDUP_LOGS", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# With it, the node that is started does not let its own drivers in.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
import ray
from driving import Shapes, main, ready, until_told

_STORE_NBYTES = 4 << 30
# Of the loopback. For 127.0.0.1 Ray takes the address by which others find this machine.
_HERE = "127.0.0.2"


@ray.remote(num_cpus=0)
class Holder:
    """Calls of an actor are run one after the other."""

    def __init__(self) -> None:
        self._held: list[Any] = []

    def hold(self, shapes: Shapes) -> None:
        """Arrays of zeros."""
        self._held = [np.zeros(shape, np.float32) for shape in shapes]

    def add(self, deltas: list[Any]) -> None:
        """In place."""
        for held, delta in zip(self._held, deltas, strict=True):
            held += delta

    def held(self) -> list[Any]:
        """As they are."""
        return self._held


def serve(options: dict[str, Any]) -> None:
    """A head node, on the loopback only, and the actor."""
    with socket.create_server((_HERE, 0)) as probe:
        address = f"{_HERE}:{probe.getsockname()[1]}"
    program = os.path.join(os.path.dirname(sys.executable), "ray")
    head = [program, "start", "--head", "--block", "--node-ip-address", _HERE, "--port", address.partition(":")[2]]
    head += ["--num-cpus", "2", "--object-store-memory", str(_STORE_NBYTES), "--include-dashboard", "false"]
    head += ["--temp-dir", os.path.join(options["place"], "ray"), "--disable-usage-stats"]
    process = subprocess.Popen(head, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "Ray runtime started" in line:
            break
    ray.init(address=address, namespace="peers", log_to_driver=False)
    holder = Holder.options(name="holder").remote()
    ray.get(holder.hold.remote([]))
    ready(address)
    until_told()
    ray.shutdown()
    process.terminate()
    process.wait(60)


class Worker:
    """A driver of the same node."""

    def __init__(self, address: str, number: int, options: dict[str, Any]) -> None:
        ray.init(address=address, namespace="peers", log_to_driver=False)
        self._holder = ray.get_actor("holder")

    def begin(self, shapes: Shapes, creates: bool) -> None:
        """Arrays at the actor, and what is added to them."""
        self._deltas = [np.ones(shape, np.float32) for shape in shapes]
        if creates:
            ray.get(self._holder.hold.remote(shapes))

    def push(self) -> None:
        """One call, and its end."""
        ray.get(self._holder.add.remote(self._deltas))

    def pull(self) -> list[Any]:
        """One call; the arrays are read-only views of shared memory."""
        return list(ray.get(self._holder.held.remote()))

    def end(self, deletes: bool) -> None:
        """Let them go."""
        self._deltas = []
        if deletes:
            ray.get(self._holder.hold.remote([]))

    def close(self) -> None:
        """Leave the node."""
        ray.shutdown()


if __name__ == "__main__":
    main(serve, Worker)
