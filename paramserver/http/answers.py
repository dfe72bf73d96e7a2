"""From the engine's answer to the response: status, headers, body. No answer with tensors is ever built as one `bytes`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from itertools import chain
from typing import Any, Final

from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from paramserver.http import codecs
from paramserver.http.calls import Call
from paramserver.http.protocol import ANSWER
from paramserver.store.buffers import Hold
from paramserver.store.snapshot import VariableSnapshot
from paramserver_wire.errors import NotAcceptable
from paramserver_wire.messages import OPERATIONS, Answer
from paramserver_wire.tensors import Tensor

# The text of 4,000 numbers takes about a millisecond to make; more is made in a thread.
INLINE_NBYTES: Final = 16 * 1024
# What one `send` hands to the transport: it waits until little is left unsent, so a slow reader holds this much.
SLICE_NBYTES: Final = 1024 * 1024
# A variable's metadata, as text; names and versions take less.
_LISTED_NBYTES: Final = 256
_JOIN_NBYTES: Final = 64 * 1024
_BODILESS: Final = frozenset({204, 304})
_END: Final = b""
_MADE_BY: Final = {"save": "checkpoints", "create_optimizer": "optimizers"}


class EncodedResponse(Response):
    """Sends a body part by part, large parts as views, waiting for the reader before each."""

    def __init__(
        self,
        encoded: codecs.Encoded,
        status: int,
        headers: Mapping[str, str],
        media_type: str,
        hold: Hold,
        threads: Executor,
    ) -> None:
        self.status_code = status
        self.background: BackgroundTask | None = None
        self._encoded = encoded
        self._hold = hold
        self._threads = threads
        self.body = b""
        told = {"content-type": media_type, **headers}
        if encoded.nbytes is not None:
            told["content-length"] = str(encoded.nbytes)
        self.raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in told.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        nbytes = self._encoded.nbytes
        has_body = scope["method"] != "HEAD"
        try:
            if has_body and nbytes is not None and nbytes <= SLICE_NBYTES:
                answer = scope.get("extensions", {}).get(ANSWER)
                if answer is not None and answer(self.status_code, self.raw_headers, list(self._pieces())):
                    return
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if has_body and nbytes is None:
                await self._send_made(send)
            elif has_body:
                for piece in self._pieces():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": _END, "more_body": False})
        finally:
            self._hold.release()

    def _pieces(self) -> Iterator[bytes | memoryview]:
        """The body in pieces that are worth a system call each, and not more than a slow reader may hold."""
        waiting = bytearray()
        for part in self._encoded.parts:
            if len(part) <= _JOIN_NBYTES:
                # A model's many biases share a piece.
                waiting += part
                if len(waiting) <= _JOIN_NBYTES:
                    continue
                part, waiting = bytes(waiting), bytearray()
            elif waiting:
                yield bytes(waiting)
                waiting = bytearray()
            yield from codecs.slices_of(part, SLICE_NBYTES)
        if waiting:
            yield bytes(waiting)

    async def _send_made(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        pieces = chain(self._encoded.parts, (_END,))
        while piece := await loop.run_in_executor(self._threads, next, pieces):
            await send({"type": "http.response.body", "body": piece, "more_body": True})


def check_answer(call: Call, find: Callable[[str], VariableSnapshot | None], made: Hold) -> None:
    """Refuse a write whose answer could not be told in the format asked for, or that there is no memory for, before anything is
    written. `made` counts it."""
    arguments = call.message.arguments
    names = arguments.get("returns") or ([arguments["name"]] if arguments.get("return_representation") else ())
    if names and OPERATIONS[call.message.operation].mutates:
        found = [variable for name in names if (variable := find(name)) is not None]
        if call.answer_format in codecs.FILES:
            codecs.check_holds(call.answer_format, {variable.name: variable.dtype for variable in found})
        elif call.answer_format == "msgpack":
            # The others do not copy, or are made piece by piece.
            made.add(codecs.packing_nbytes(sum(variable.nbytes for variable in found)))


async def encode(call: Call, answer: Answer, hold: Hold, threads: Executor) -> Response:
    """The response to a call that was performed. `hold` counts what it takes beside the values until it is sent."""
    headers = _headers(call, answer)
    if answer.status in _BODILESS or answer.body is None:
        return Response(status_code=answer.status, headers=headers)
    name = call.answer_format
    mutates = OPERATIONS[call.message.operation].mutates
    holds_tensors = not isinstance(answer.body, dict) or "tensors" in answer.body
    spelled_nbytes = codecs.encoding_nbytes(name, answer.body) if holds_tensors else 0
    nbytes = spelled_nbytes or _listed_nbytes(answer.body)
    if nbytes > INLINE_NBYTES and not mutates and not (holds_tensors and name == "json"):
        # What is small is told when there is no memory left, too, and tensors become JSON piece by piece. What was done is answered,
        # budget or not: a refusal means that it was not done, and what its answer takes was asked for before.
        hold.add(nbytes)
    try:
        if nbytes > INLINE_NBYTES:
            loop = asyncio.get_running_loop()
            encoded = await loop.run_in_executor(threads, codecs.encode, name, answer.body, spelled_nbytes)
        else:
            encoded = codecs.encode(name, answer.body, spelled_nbytes)
    except NotAcceptable:
        hold.release()
        if not mutates:
            raise
        # A variable was made anew with another dtype since `check_answer`. What was done must not be called refused.
        name = "json"
        encoded = codecs.encode(name, answer.body)
    return EncodedResponse(encoded, answer.status, headers, codecs.MEDIA_TYPE_OF[name], hold, threads)


def _listed_nbytes(body: Any) -> int:
    """About what the text of a list takes; of tensors there is none."""
    if not isinstance(body, dict):
        return 0
    return _LISTED_NBYTES * sum(len(value) for value in body.values() if isinstance(value, (list, dict)))


def _headers(call: Call, answer: Answer) -> dict[str, str]:
    headers: dict[str, str] = {}
    operation = OPERATIONS[call.message.operation]
    if operation.method == "GET":
        headers["vary"] = "accept"
    beside = answer.body.meta if isinstance(answer.body, Tensor) else answer.body
    is_read = call.message.operation == "read" and answer.body is not None
    if is_read or (isinstance(answer.body, Tensor) and "version" in beside):
        headers["etag"] = f'"{beside["incarnation"]}-{beside["version"]}"'
    if is_read:
        headers["cache-control"] = "no-cache"
    if call.message.operation == "export_variables":
        headers["content-disposition"] = f'attachment; filename="{_filename(call)}"'
        headers["cache-control"] = "no-store"
    if answer.status in (201, 202):
        headers["location"] = _location(call, answer.body)
    if answer.replayed:
        headers["idempotent-replayed"] = "true"
    if call.message.arguments.get("return_representation"):
        headers["preference-applied"] = "return=representation"
    if call.message.arguments.get("respond_async"):
        headers["preference-applied"] = "respond-async"
    return headers


def _filename(call: Call) -> str:
    scope = re.sub(r"[^A-Za-z0-9_.-]", "_", call.message.arguments.get("prefix", ""))[:100].strip(".")
    return f"{scope or 'model'}.safetensors"


def _location(call: Call, body: Any) -> str:
    name = body.get("name") or body.get("id")
    return f"/v1/{_MADE_BY.get(call.message.operation, 'variables')}/{name}"
