"""TensorFlow's own parameter server: variables on a `ps` job, workers with a server each, tensors by gRPC."""

from __future__ import annotations

import os
import socket
from typing import Any

import numpy as np
from driving import Shapes, main, numbered, ready, until_told

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow.compat.v1 as tf

_WORKERS = 2


def _cluster(ports: list[int]) -> Any:
    places = [f"127.0.0.1:{port}" for port in ports]
    return tf.train.ClusterSpec({"ps": places[:1], "worker": places[1:]})


def serve(options: dict[str, Any]) -> None:
    """The `ps` job. All ports are settled here, because each process has to know all of them."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(1 + _WORKERS)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    server = tf.train.Server(_cluster(ports), "ps", 0)
    ready(",".join(map(str, ports)))
    until_told()
    del server


class Worker:
    """Feeds its own server with what is to be added; that one talks to the `ps` job."""

    case = 0

    def __init__(self, address: str, number: int, options: dict[str, Any]) -> None:
        tf.disable_eager_execution()
        self._number = number
        self._server = tf.train.Server(_cluster([int(port) for port in address.split(",")]), "worker", number)

    def begin(self, shapes: Shapes, creates: bool) -> None:
        """A graph for these variables."""
        self._deltas = [np.ones(shape, np.float32) for shape in shapes]
        with tf.Graph().as_default() as graph:
            with tf.device("/job:ps/task:0"):
                # Under the lock: without it, two workers lose each other's additions.
                variables = [
                    tf.Variable(tf.zeros(shape), name=f"case{self.case}_{name[6:]}", use_resource=False)
                    for name, shape in zip(numbered(shapes), shapes, strict=True)
                ]
            with tf.device(f"/job:worker/task:{self._number}"):
                self._fed = [tf.placeholder(tf.float32, shape) for shape in shapes]
            with tf.device("/job:ps/task:0"):
                added = [
                    tf.assign_add(variable, fed, use_locking=True).op
                    for variable, fed in zip(variables, self._fed, strict=True)
                ]
            with tf.device(f"/job:worker/task:{self._number}"):
                self._read = [tf.identity(variable) for variable in variables]
            self._add = tf.group(*added)
            start = tf.variables_initializer(variables)
        self._session = tf.Session(self._server.target, graph=graph)
        if creates:
            self._session.run(start)

    def push(self) -> None:
        """One run of the additions."""
        self._session.run(self._add, dict(zip(self._fed, self._deltas, strict=True)))

    def pull(self) -> list[Any]:
        """One run of the reads."""
        return list(self._session.run(self._read))

    def end(self, deletes: bool) -> None:
        """Clear what the servers hold."""
        self._session.close()
        if deletes:
            tf.Session.reset(self._server.target)


if __name__ == "__main__":
    main(serve, Worker)
