"""The cheapest FastAPI app there is for 1 KB: one async route that gives it, one that takes it, neither typed.

It runs under the very uvicorn, uvloop and httptools that the server runs under, in a process of its own.
"""

from __future__ import annotations

import socket
from typing import Final

import uvicorn
from fastapi import FastAPI, Request, Response

NBYTES: Final = 1000
_VALUE: Final = bytes(NBYTES)
_BYTES: Final = "application/octet-stream"


def app() -> FastAPI:
    """`GET /value` and `POST /value`."""
    cheapest = FastAPI(openapi_url=None)

    async def give(request: Request) -> Response:
        return Response(_VALUE, media_type=_BYTES)

    async def take(request: Request) -> Response:
        await request.body()
        return Response(b"ok", media_type=_BYTES)

    cheapest.add_api_route("/value", give, methods=["GET"], response_class=Response)
    cheapest.add_api_route("/value", take, methods=["POST"], response_class=Response)
    return cheapest


def serve() -> None:
    """Serve on a free port until terminated."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.bind(("127.0.0.1", 0))
    # Listening before it says so: a caller waits in the queue until uvicorn has started.
    bound.listen()
    print(f"listening on {bound.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app(), loop="uvloop", http="httptools", access_log=False, log_level="warning")
    uvicorn.Server(config).run([bound])


if __name__ == "__main__":
    serve()
