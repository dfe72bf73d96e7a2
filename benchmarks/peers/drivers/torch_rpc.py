"""torch.distributed.rpc: functions that are run at the process that holds the tensors."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

import torch
from driving import Shapes, main, ready, until_told
from torch.distributed import rpc

_WORLD = 3
_held: list[torch.Tensor] = []
_lock = threading.Lock()


def hold(shapes: Shapes) -> None:
    """Run at the server: tensors of zeros."""
    _held[:] = [torch.zeros(shape) for shape in shapes]


def add(deltas: list[torch.Tensor]) -> None:
    """Run at the server."""
    with _lock:
        for held, delta in zip(_held, deltas, strict=True):
            held += delta


def held() -> list[torch.Tensor]:
    """Run at the server. What is serialized must not be what others add to meanwhile."""
    with _lock:
        return [tensor.clone() for tensor in _held]


def _begin(name: str, rank: int, port: int, options: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",
        "TP_SOCKET_IFNAME": "lo",
    }
    forced = {"_transports": ["uv"], "_channels": ["basic"]} if options["tcp"] else {}
    backend = rpc.TensorPipeRpcBackendOptions(rpc_timeout=300, **forced)
    rpc.init_rpc(name, rank=rank, world_size=_WORLD, rpc_backend_options=backend)


def serve(options: dict[str, Any]) -> None:
    """Rank 0. The others must be there before it goes on, so the address is told before."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    ready(str(port))
    _begin("server", 0, port, options)
    until_told()
    os._exit(0)


class Worker:
    """Ranks 1 and 2."""

    def __init__(self, address: str, number: int, options: dict[str, Any]) -> None:
        _begin(f"worker{number}", number + 1, int(address), options)

    def begin(self, shapes: Shapes, creates: bool) -> None:
        """Tensors at the server, and what is added to them."""
        self._deltas = [torch.ones(shape) for shape in shapes]
        if creates:
            rpc.rpc_sync("server", hold, args=(shapes,))

    def push(self) -> None:
        """One call."""
        rpc.rpc_sync("server", add, args=(self._deltas,))

    def pull(self) -> list[Any]:
        """One call."""
        return list(rpc.rpc_sync("server", held))

    def end(self, deletes: bool) -> None:
        """Let them go."""
        self._deltas = []
        if deletes:
            rpc.rpc_sync("server", hold, args=([],))

    def close(self) -> None:
        """Without the others, there is no shutdown in good order."""
        os._exit(0)


if __name__ == "__main__":
    # Functions travel by the name of their module, which must be the same everywhere.
    import torch_rpc

    main(torch_rpc.serve, torch_rpc.Worker)
