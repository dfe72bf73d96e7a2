"""torch.distributed with gloo: the workers send, the holder receives and adds. There is no server in it; this is one of a few lines."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

import torch
import torch.distributed as dist
from driving import Shapes, main, ready, until_told

_WORLD = 3
_BEGIN, _PUSH, _PULL = 0, 1, 2


def _begin(rank: int, port: int) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    dist.init_process_group("gloo", rank=rank, world_size=_WORLD)


def serve(options: dict[str, Any]) -> None:
    """Rank 0: a thread for each worker."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    ready(str(port))
    _begin(0, port)
    held, lock = [torch.zeros(0)], threading.Lock()

    def attend(rank: int) -> None:
        command, received = torch.zeros(2, dtype=torch.int64), torch.zeros(0)
        done = torch.zeros(1)
        while True:
            dist.recv(command, rank)
            what, count = command.tolist()
            if what == _BEGIN:
                held[0] = torch.zeros(count)
                dist.send(done, rank)
            elif what == _PUSH:
                if received.numel() != count:
                    received = torch.ones(count)
                dist.recv(received, rank)
                with lock:
                    held[0] += received
                dist.send(done, rank)
            else:
                dist.send(held[0], rank)

    for rank in (1, 2):
        threading.Thread(target=attend, args=(rank,), daemon=True).start()
    until_told()
    os._exit(0)


class Worker:
    """Ranks 1 and 2; all arrays in one tensor."""

    def __init__(self, address: str, number: int, options: dict[str, Any]) -> None:
        _begin(number + 1, int(address))

    def begin(self, shapes: Shapes, creates: bool) -> None:
        """One tensor for all."""
        self._delta = torch.ones(sum(torch.Size(shape).numel() for shape in shapes))
        self._received = torch.ones_like(self._delta)
        if creates:
            self._ask(_BEGIN)
            self._confirm()

    def push(self) -> None:
        """Send, and wait for the word."""
        self._ask(_PUSH)
        dist.send(self._delta, 0)
        self._confirm()

    def pull(self) -> list[Any]:
        """Receive."""
        self._ask(_PULL)
        dist.recv(self._received, 0)
        return [self._received]

    def end(self, deletes: bool) -> None:
        """Let them go."""
        self._delta = self._received = torch.zeros(0)
        if deletes:
            self._ask(_BEGIN)
            self._confirm()

    def close(self) -> None:
        """Without the others, there is no shutdown in good order."""
        os._exit(0)

    def _ask(self, what: int) -> None:
        dist.send(torch.tensor([what, self._delta.numel()]), 0)

    def _confirm(self) -> None:
        dist.recv(torch.zeros(1), 0)


if __name__ == "__main__":
    main(serve, Worker)
