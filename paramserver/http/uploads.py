"""A file of variables on its way in: its header first, all checks that need no more, then each value into its place.

A gigabyte takes no memory beyond the values themselves, and what cannot fit is refused before it is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from starlette.requests import Request

from paramserver.engine import Engine
from paramserver.grants import Grant, Need
from paramserver.http import codecs, rights
from paramserver.http.bodies import BodyReader
from paramserver.http.calls import Call, Form, check_accept, head_arguments, request_id_of, target_of
from paramserver.http.limits import declared_nbytes
from paramserver.settings import Settings
from paramserver.store.buffers import Hold
from paramserver.store.requests import Digest
from paramserver_wire import safetensors
from paramserver_wire.checksum import crc32
from paramserver_wire.errors import BodyTooLarge, DtypeMismatch, InvalidRequest, MalformedBody, UnsupportedMediaType
from paramserver_wire.messages import Message

# What one variable may take in a header: a name of 255 characters, its shape, its offsets. Metadata takes the rest.
_ENTRY_NBYTES: Final = 512
_LENGTH_NBYTES: Final = 8
_DISCARD_NBYTES: Final = 1024 * 1024
# `curl -T` names no type; some tools say that they know none.
_UNTYPED: Final = frozenset({"application/octet-stream", "binary/octet-stream"})


@asynccontextmanager
async def upload(
    request: Request, form: Form, settings: Settings, engine: Engine, threads: Executor, grant: Grant
) -> AsyncIterator[Call]:
    """Receive a request whose body is a safetensors file; what was reserved for it is let go at the end.

    Raises what makes it a problem, each as early as it can be known: by the head, by the file's header, by its data.
    """
    codecs.check_encoding(request.headers.get("content-encoding"), request.headers.get("transfer-encoding"))
    _check_media_type(request.headers.get("content-type"))
    arguments = head_arguments(request, form, "safetensors")
    accept = request.headers.get("accept")
    check_accept(accept, "json")
    rights.check(grant, form.operation, arguments)
    reader = BodyReader(request, _checked_nbytes(request, settings, engine))
    holder = rights.holder_of(grant)
    with engine.store.budget.hold(holder) as hold:
        begin, header = await _receive_header(reader, settings, threads, hold)
        if not (grant.unlimited or arguments.get("prefix")):
            rights.check_all(grant, [Need("write", name) for name in header.entries])
        request_id = request_id_of(request, form)
        target = target_of(request, form)
        if request_id is not None and engine.store.requests.knows(request_id):
            # A repeat: its first try has the memory, or had its effect. Only its checksum is wanted.
            checksum = await _discard(reader, crc32(begin, crc32(target)))
            message = Message(form.operation, {**arguments, "file": None}, request_id)
            yield Call(message, Digest(reader.nbytes, checksum), "json", 0)
            return
        loop = asyncio.get_running_loop()
        intake = await loop.run_in_executor(threads, partial(engine.prepare_import, header, holder=holder, **arguments))
        with intake:
            await reader.fill(*intake.buffers)
            checksum = 0
            if request_id is not None:
                checksum = await loop.run_in_executor(threads, partial(_checksum, (target, begin, *intake.buffers)))
            message = Message(form.operation, {**arguments, "file": intake}, request_id)
            yield Call(message, Digest(reader.nbytes, checksum), "json", 0)


def _check_media_type(content_type: str | None) -> None:
    """Take safetensors, and what says nothing: this route takes no other type."""
    if content_type is not None and content_type.lower().partition(";")[0].strip() not in _UNTYPED:
        codecs.format_of(content_type, ("safetensors",))


def _checked_nbytes(request: Request, settings: Settings, engine: Engine) -> int:
    nbytes = declared_nbytes(request)
    if nbytes is None:
        raise MalformedBody("wanted a Content-Length with a file of variables; send a file rather than a stream")
    limit = engine.store.budget.limit_nbytes
    if limit is not None and nbytes > limit + _header_limit(settings) + _LENGTH_NBYTES:
        raise BodyTooLarge(
            f"a file of {nbytes} bytes cannot fit into the memory budget of {limit} bytes; import a part of it, or start "
            "the server with a larger memory limit"
        )
    return nbytes


def _header_limit(settings: Settings) -> int:
    return settings.control_limit_nbytes + settings.variables_limit * _ENTRY_NBYTES


async def _receive_header(
    reader: BodyReader, settings: Settings, threads: Executor, hold: Hold
) -> tuple[memoryview, safetensors.Header]:
    length = memoryview(bytearray(_LENGTH_NBYTES))
    await reader.fill(length)
    try:
        start = safetensors.data_start_of(length, max_header=_header_limit(settings))
    except BodyTooLarge as error:
        raise BodyTooLarge(f"{error.detail} (at most {settings.variables_limit} variables in one request)") from None
    hold.add(start + codecs.decoded_nbytes("json", start))
    begin = memoryview(bytearray(start))
    begin[:_LENGTH_NBYTES] = length
    await reader.fill(begin[_LENGTH_NBYTES:])
    parse = partial(safetensors.parse, begin, reader.nbytes, max_header=_header_limit(settings))
    try:
        header = await asyncio.get_running_loop().run_in_executor(threads, parse)
    except DtypeMismatch as error:
        raise UnsupportedMediaType(error.detail) from None
    if len(header.entries) > settings.variables_limit:
        raise InvalidRequest(
            f"the file holds {len(header.entries)} variables, one request may name {settings.variables_limit}; split it"
        )
    return begin, header


async def _discard(reader: BodyReader, checksum: int) -> int:
    """Receive the rest for its checksum only."""
    scratch = memoryview(bytearray(min(_DISCARD_NBYTES, reader.left_nbytes)))
    while reader.left_nbytes:
        piece = scratch[: reader.left_nbytes]
        await reader.fill(piece)
        checksum = crc32(piece, checksum)
    return checksum


def _checksum(parts: Iterable[bytes | memoryview]) -> int:
    checksum = 0
    for part in parts:
        checksum = crc32(part, checksum)
    return checksum
