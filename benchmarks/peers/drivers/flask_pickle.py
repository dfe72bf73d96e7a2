"""A server of the kind that elephas has: Flask, pickled lists of arrays, a lock. Pickle runs what a stranger sends it."""

from __future__ import annotations

import logging
import pickle
import threading
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
from driving import Shapes, main, ready, until_told
from flask import Flask, request
from werkzeug.serving import make_server


def serve(options: dict[str, Any]) -> None:
    """werkzeug's threads, as Flask has them by itself."""
    app, lock, held = Flask("peers"), threading.Lock(), []
    logging.getLogger("werkzeug").setLevel(logging.ERROR)

    @app.post("/hold")
    def hold() -> str:
        held[:] = [np.zeros(shape, np.float32) for shape in pickle.loads(request.data)]  # noqa: S301  # its peers are ours
        return "done"

    @app.post("/update")
    def update() -> str:
        deltas = pickle.loads(request.data)  # noqa: S301
        with lock:
            for index, delta in enumerate(deltas):
                held[index] = held[index] + delta
        return "done"

    @app.get("/parameters")
    def parameters() -> bytes:
        with lock:
            return pickle.dumps(held, -1)

    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ready(f"http://127.0.0.1:{server.server_port}")
    until_told()


class Worker:
    """urllib, a connection for each request, as there."""

    def __init__(self, address: str, number: int, options: dict[str, Any]) -> None:
        self._url = address

    def begin(self, shapes: Shapes, creates: bool) -> None:
        """Arrays at the server, and what is added to them."""
        self._deltas = [np.ones(shape, np.float32) for shape in shapes]
        if creates:
            self._post("/hold", shapes)

    def push(self) -> None:
        """One request."""
        self._post("/update", self._deltas)

    def pull(self) -> list[Any]:
        """One request."""
        with urlopen(self._url + "/parameters", timeout=300) as answer:
            return list(pickle.loads(answer.read()))  # noqa: S301

    def end(self, deletes: bool) -> None:
        """Let them go."""
        self._deltas = []
        if deletes:
            self._post("/hold", [])

    def _post(self, path: str, content: Any) -> None:
        headers = {"Content-Type": "application/octet-stream"}
        with urlopen(Request(self._url + path, pickle.dumps(content, -1), headers), timeout=300) as answer:
            answer.read()


if __name__ == "__main__":
    main(serve, Worker)
