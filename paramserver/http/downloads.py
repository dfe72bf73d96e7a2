"""A file as an answer: whole or a range of it, from the disk to the reader a piece at a time.

Ranges follow RFC 9110: one range of bytes is answered 206, one that lies outside 416; what is no range of bytes, or
several, is passed over and the whole is sent. A file's ETag is its SHA-256, so a resumed download never mixes two files.
"""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import Executor
from typing import Final

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from paramserver.checkpoint import Download
from paramserver.http.problems import Problem, ProblemResponse
from paramserver_wire import safetensors

_RANGE: Final = re.compile(r"bytes\s*=\s*(\d{0,18})-(\d{0,18})", re.IGNORECASE)
_END: Final = b""


def file_response(request: Request, download: Download, threads: Executor) -> Response:
    """The response that sends the file, or as much of it as was asked for, and closes it."""
    saved = download.saved
    etag = f'"{saved.sha256}"'
    headers = {"etag": etag, "accept-ranges": "bytes", "cache-control": "no-cache"}
    if _matches(request.headers.get("if-none-match"), etag):
        download.close()
        return Response(status_code=304, headers=headers)
    asked = _asked_range(request, etag)
    begin, end = (0, saved.nbytes) if asked is None else _resolved(*asked, saved.nbytes)
    if begin >= end and asked is not None:
        download.close()
        problem = Problem(
            "range_not_satisfiable",
            f"Range: {saved.name} has {saved.nbytes} bytes, none of which were asked for; ask for bytes 0 to "
            f"{saved.nbytes - 1}",
            headers={"content-range": f"bytes */{saved.nbytes}", "accept-ranges": "bytes"},
        )
        return ProblemResponse(problem)
    if asked is not None:
        headers["content-range"] = f"bytes {begin}-{end - 1}/{saved.nbytes}"
    headers["content-disposition"] = f'attachment; filename="{saved.name}"'
    headers["content-length"] = str(end - begin)
    return _FileResponse(download, begin, end, 200 if asked is None else 206, headers, threads)


class _FileResponse(Response):
    def __init__(
        self, download: Download, begin: int, end: int, status: int, headers: dict[str, str], threads: Executor
    ) -> None:
        self.status_code = status
        self.background: BackgroundTask | None = None
        self.body = b""
        is_index = download.saved.name.endswith(".json")
        self.init_headers({"content-type": "application/json" if is_index else safetensors.MEDIA_TYPE, **headers})
        self._download = download
        self._pieces = download.pieces(begin, end)
        self._threads = threads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] != "HEAD":
                while piece := await loop.run_in_executor(self._threads, next, self._pieces, _END):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._download.close()


def _asked_range(request: Request, etag: str) -> tuple[int | None, int | None] | None:
    """First and last byte of a range, one of them None; None when the whole file is to be sent."""
    text = request.headers.get("range")
    # A range has a meaning for GET only; and one of another file than the reader began with would be of no use.
    if text is None or request.method != "GET" or request.headers.get("if-range", etag) != etag:
        return None
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        return None
    first, last = (int(digits) if digits else None for digits in found.groups())
    if (first is None and last is None) or (first is not None and last is not None and first > last):
        return None
    return first, last


def _resolved(first: int | None, last: int | None, nbytes: int) -> tuple[int, int]:
    """Where to begin and end. Nothing is between them when the range lies outside the file."""
    if first is None:
        return max(0, nbytes - (last or 0)), nbytes
    return first, nbytes if last is None else min(last + 1, nbytes)


def _matches(tags: str | None, etag: str) -> bool:
    found = [] if tags is None else [tag.strip().removeprefix("W/") for tag in tags.split(",")]
    return etag in found or "*" in found
