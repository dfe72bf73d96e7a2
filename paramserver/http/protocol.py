"""Large bodies straight from the socket into one buffer: an `asyncio.BufferedProtocol` around uvicorn's.

uvicorn's protocol hands every piece of a body through the parser, a `bytearray` and a queue: 100 MB cost several copies
into fresh memory. Here the parser sees the head of a large request only. Once the application asks for the body (so after
it has checked the route, the media type and the size) it names the buffers, one or several, at once or a few at a time, and
the event loop receives the rest straight into those. Everything else, small requests and chunked bodies included, is uvicorn's own code.

Three more things are ours for the sake of small requests. A head that is known takes a short way, past the parser. The application is run at once, up to where it first waits,
without a task of the event loop: most answers are there before it ever does. And an answer that is there as a whole can
be given as a whole (`scope["extensions"]["paramserver.answer"]`), in one system call.

An application that knows nothing of this reads the same body through plain ASGI `receive`, and answers by `send`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import httptools
from starlette.requests import ClientDisconnect
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from paramserver.http.answer_transport import CONTINUE, AnswerTransport
from paramserver.http.eager import begin
from paramserver.http.heads import LONGEST_NBYTES, KnownHeads
from paramserver.http.large_body import EXTENSION, LARGE_NBYTES, LargeBody
from paramserver.http.networks import network_of
from paramserver.http.patience import Bounds, Patience, Phase, reset_on_close
from paramserver.http.problems import MEDIA_TYPE, Problem

ANSWER: Final = "paramserver.answer"
# Smaller than a large body, so that a body can never be over before its buffer is known.
SCRATCH_NBYTES: Final = 64 * 1024
LET_IN: Final = "paramserver.let_in"
"""Stands in the scope of a request that the guard has let in."""
TOO_MANY: Final = Problem(
    "overloaded",
    "there are as many connections as this server takes, in all or from one address; close those you do not use, try again "
    "later, or start it with a larger --connections-limit or --connections-per-peer-limit",
    headers={"retry-after": "1"},
)
_NO_HTTP: Final = Problem("malformed_body", "these bytes are not HTTP/1.1; the connection is closed")
# ": " and the line's end.
_HEADER_NBYTES: Final = 4


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """How large a request's head may be, in bytes and in headers. httptools knows no limits of its own."""

    nbytes: int
    headers: int

    def too_large(self) -> Problem:
        return Problem(
            "head_too_large",
            f"the path, query and headers of a request have at most {self.nbytes} bytes together, got more; send less, or "
            "start the server with a larger --head-limit-nbytes",
        )

    def too_many(self) -> Problem:
        return Problem(
            "head_too_large",
            f"a request has at most {self.headers} headers, got more; send fewer, or start the server with a larger "
            "--headers-limit",
        )


class _Connection(HttpToolsProtocol):
    """uvicorn's protocol, which can be told to receive a body by other means than its parser."""

    large: LargeBody | None = None
    received_nbytes = 0
    _answers: AnswerTransport

    def __init__(
        self,
        head_limits: HeadLimits,
        heads: KnownHeads | None,
        patience: Patience,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._patience = patience
        self._thrown_nbytes = 0
        self._requests = 0
        self._proven = False
        self._head_limits = head_limits
        self._head_nbytes = 0
        self._silent_nbytes = 0
        self._refusal = _NO_HTTP
        self._parsing = False
        self._heads = heads
        self._between = True
        self._unknown: bytes | None = None
        self._ready: tuple[RequestResponseCycle, Any] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Reading is paused and resumed at the transport itself, which `flow` has.
        self.transport = self._answers = AnswerTransport(transport)
        # As the guard sees it: a Unix socket has no port.
        self._local = self.server is None or self.server[1] is None
        self.peer = None if self._local or self.client is None else network_of(self.client[0])
        if not self._patience.admit(self, self.loop):
            self._say(TOO_MANY)
            self.transport.close()

    # ---------------------------------------------------------------- as it is watched

    @property
    def proven(self) -> bool:
        """Whether one of its requests was let in."""
        self._proven = self._proven or (self.scope is not None and LET_IN in self.scope)
        return self._proven

    def standing(self) -> tuple[Phase, int]:
        """What it is at, and the number of the request that this is about."""
        return self._phase(), self._requests

    def _phase(self) -> Phase:
        cycle = self.cycle
        under_way = cycle is not None and not cycle.response_complete
        if self._answers.get_write_buffer_size():
            return "answer"
        coming = self.large is not None or (cycle is not None and cycle.more_body)
        if coming and not self.flow.read_paused and not (under_way and cycle.response_started):
            return "body"
        if under_way:
            return "ours"
        return "idle" if self._between else "head"

    def moved_nbytes(self) -> int:
        """How much has come and gone by it."""
        return self.received_nbytes + self._answers.written_nbytes - self._answers.get_write_buffer_size()

    def cut(self) -> None:
        """End it at once."""
        told = self._answers.get_extra_info("socket")
        if told is not None and not self._local:
            reset_on_close(told)
        self._answers.abort()

    # ---------------------------------------------------------------- its requests

    def on_response_complete(self) -> None:
        # What uvicorn's own does, but for a timer for each answer: idle connections are found by looking at all.
        self._answers.end_answer()
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        following = self.pipeline.pop() if self.pipeline else None
        if not self.pipeline:
            # Not before: whoever asks faster than he is answered would have all his questions read and kept.
            self.flow.resume_reading()
        if following is not None:
            self._start_asgi_task(*following)

    def data_received(self, data: bytes) -> None:
        if self._between and self._heads is not None and self._go_directly(memoryview(data), self._heads):
            return
        # The parser keeps what it cannot tell yet: half a header, of whatever length. This bounds it.
        self._silent_nbytes += len(data)
        self._parsing = True
        super().data_received(data)
        self._parsing = False
        self._unknown = None
        if self._ready is not None:
            (cycle, app), self._ready = self._ready, None
            self._run(cycle, app)
        if self._silent_nbytes > self._head_limits.nbytes and not self.transport.is_closing():
            self._refusal = self._head_limits.too_large()
            self.send_400_response("")

    def _go_directly(self, data: memoryview, heads: KnownHeads) -> bool:
        """Take one request whose head is known, with its whole body or the beginning of a large one; say whether it was
        such a one. Behind whatever else it may be the parser's turn."""
        before = self.cycle
        begin = bytes(data[:LONGEST_NBYTES])
        end = begin.find(b"\r\n\r\n")
        if end < 0 or (before is not None and not (before.response_complete and before.keep_alive)):
            return False
        head = begin[:end]
        found = heads.find(head, local=self._local)
        if found is None:
            self._unknown = head
            return False
        known, request_id = found
        body, nbytes = data[end + 4 :], known.nbytes
        if len(body) != nbytes and (nbytes < LARGE_NBYTES or len(body) > nbytes):
            return False
        self._requests += 1
        self._proven = True
        extensions: dict[str, Any] = {}
        scope = {
            "type": "http",
            "method": known.method,
            "http_version": "1.1",
            "client": self.client,
            "extensions": extensions,
        }
        cycle = self.cycle = RequestResponseCycle(
            scope=scope,  # type: ignore[arg-type]
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=True,
            on_response=self.on_response_complete,
        )
        extensions[ANSWER] = partial(self._answer, cycle)
        if nbytes < LARGE_NBYTES:
            cycle.more_body = False
            self._run(cycle, partial(known.answer, request_id, bytes(body)))
        else:
            self._between = False
            self._thrown_nbytes = 0
            # Known from here on, so that the rest of a body that nobody asks for is thrown away: no parser knows of it.
            large = self.large = LargeBody(self, nbytes, body, of_known_head=True)
            self._run(cycle, partial(known.answer, request_id, large))
            if not large.keep() and self.large is large and not cycle.response_complete:
                self.flow.pause_reading()
        return True

    def _run(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Run the application up to where it waits for more than its body; what is left, if anything, is a task."""
        begin(cycle.run_asgi(app), self.loop, self._adopt)

    def _adopt(self, task: asyncio.Task[None]) -> None:
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def on_message_begin(self) -> None:
        self._requests += 1
        self._proven = self.proven
        self._head_nbytes = self._silent_nbytes = self._thrown_nbytes = 0
        self._between = False
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._between = True
        super().on_message_complete()

    def on_url(self, url: bytes) -> None:
        self._silent_nbytes = 0
        self._head_nbytes += len(url)
        if self._head_nbytes > self._head_limits.nbytes:
            self._refuse(self._head_limits.too_large())
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        # Those behind a chunked body come here too.
        self._silent_nbytes = 0
        self._head_nbytes += len(name) + len(value) + _HEADER_NBYTES
        if self._head_nbytes > self._head_limits.nbytes:
            self._refuse(self._head_limits.too_large())
        if len(self.headers) >= self._head_limits.headers:
            self._refuse(self._head_limits.too_many())
        # What uvicorn's own does; the call alone takes a tenth of the time of a head.
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self._silent_nbytes = 0
        if self.cycle.response_complete:
            self.throw_away(len(body))
        super().on_body(body)

    def throw_away(self, nbytes: int) -> None:
        """So much came that nobody wants: closing at once would take the answer from a client that still sends."""
        self._thrown_nbytes += nbytes
        self._patience.bear(self, self._thrown_nbytes)

    def _refuse(self, problem: Problem) -> None:
        """Stop the parser; it passes the exception on as an error of its own."""
        self._refusal = problem
        raise ValueError(problem.code)

    def on_headers_complete(self) -> None:
        nbytes = self._declared_nbytes()
        body = LargeBody(self, nbytes) if nbytes >= LARGE_NBYTES else None
        extensions: dict[str, Any] = {} if body is None else {EXTENSION: body}
        self.scope["extensions"] = extensions
        super().on_headers_complete()
        if self._unknown is not None and self._heads is not None:
            self._heads.learn(self._unknown, self.scope, local=self._local)
            self._unknown = None
        if not self.expect_100_continue:
            extensions[ANSWER] = partial(self._answer, self.cycle)
        if body is not None:
            self.flow.pause_reading()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self._parsing:
            # In a moment: what has come of the body comes first, and nothing is answered from inside the parser.
            self._ready = (cycle, app)
        else:
            # Behind another's answer. Begun at once, a thousand requests in one packet would be as many calls deep.
            super()._start_asgi_task(cycle, app)

    def _answer(
        self,
        cycle: RequestResponseCycle,
        status: int,
        headers: Iterable[tuple[bytes, bytes]],
        body: Sequence[bytes | memoryview],
    ) -> bool:
        """Give the whole answer at once, if it can be written without waiting; say whether that was so.

        What is said and done is what uvicorn's `send` says and does, with a Content-Length or without a body.
        """
        if self.flow.write_paused or cycle.disconnected or cycle.response_started:
            return False
        parts = [STATUS_LINE[status]]
        for name, value in (*cycle.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
        if not cycle.keep_alive:
            parts.append(b"connection: close\r\n")
        parts.append(b"\r\n")
        self._answers.write_whole(b"".join(parts), body)
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
        return True

    def start_large(self, body: LargeBody) -> bytearray | None:
        """Route the rest of the current body into the windows of `body`; what the parser has of it is returned."""
        cycle = self.cycle
        if cycle.disconnected or self.transport.is_closing():
            raise ClientDisconnect
        if body.of_known_head:
            return None
        early, cycle.body = cycle.body, bytearray()
        if cycle.more_body:
            self.flow.pause_reading()
            self.large = body
            self._invite(cycle)
        return early

    def stop_large(self, body: LargeBody) -> None:
        """Nobody waits for `body` any more: a connection in the middle of one is of no further use."""
        if self.large is body:
            self.large = None
            self.transport.close()

    def end_large(self) -> None:
        """The body is complete: go on as after a parsed one, with a parser for the next message."""
        large, self.large = self.large, None
        self.on_message_complete()
        if large is not None and large.of_known_head:
            return
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._patience.forget(self)
        super().connection_lost(exc)
        if self.large is not None:
            large, self.large = self.large, None
            large.cut_off()

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be taken with a problem, unless that would end up inside another request's answer."""
        cycle = self.cycle
        waiting_for_body = cycle is not None and cycle.more_body and not cycle.response_started and not self.pipeline
        if cycle is None or cycle.response_complete or waiting_for_body:
            self._say(self._refusal)
        self.transport.close()

    def _say(self, problem: Problem) -> None:
        """Write a problem that nobody asked for, before the connection is closed."""
        body = problem.body()
        told = {"content-type": MEDIA_TYPE, "content-length": len(body), "connection": "close", **problem.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[problem.status], lines.encode("ascii"), body))

    def _invite(self, cycle: RequestResponseCycle) -> None:
        if cycle.waiting_for_100_continue:
            cycle.waiting_for_100_continue = False
            self.transport.write(CONTINUE)

    def _declared_nbytes(self) -> int:
        # The parser has refused what is no number, and several that differ.
        for name, value in self.headers:
            if name == b"content-length":
                return int(value)
        return 0


class DirectProtocol(asyncio.BufferedProtocol):
    """What the event loop talks to: a scratch buffer in front of the parser, or a large body's own buffer.

    Not a subclass of uvicorn's protocol: that one is an `asyncio.Protocol`, and uvloop then feeds it copies.
    `scratch` is shared by all connections of a loop, because each reading of it is over before the next begins.
    """

    def __init__(self, scratch: memoryview, connection: _Connection, before: Callable[[], None]) -> None:
        self._scratch = scratch
        self._connection = connection
        self._before = before

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._before()
        self._connection.connection_made(transport)  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()

    def eof_received(self) -> None:
        self._connection.eof_received()

    def get_buffer(self, sizehint: int) -> memoryview:
        large = self._connection.large
        if large is None:
            return self._scratch
        # A body that was answered before it was whole is read on and thrown away: closing on a client that still sends
        # would reset the connection, and the answer with it. The keep-alive time-out bounds how long that may take.
        return large.window() or self._scratch[: large.left_nbytes]

    def buffer_updated(self, nbytes: int) -> None:
        connection = self._connection
        connection.received_nbytes += nbytes
        if connection.large is None:
            connection.data_received(self._scratch[:nbytes])  # type: ignore[arg-type]
        else:
            connection.large.advance(nbytes)


def protocol_factory(
    head_limit_nbytes: int, headers_limit: int, heads: KnownHeads | None = None, patience: Patience | None = None
) -> Callable[..., asyncio.BufferedProtocol]:
    """What `uvicorn.Config(http=...)` takes: makes the protocol of each new connection, which calls `before` as it is
    made. With `heads` there is a short way; without `patience` everybody is waited for."""
    patience = patience or Patience(Bounds())
    scratch = memoryview(bytearray(SCRATCH_NBYTES))
    head_limits = HeadLimits(head_limit_nbytes, headers_limit)

    def make(
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        before: Callable[[], None] = lambda: None,
    ) -> asyncio.BufferedProtocol:
        connection = _Connection(head_limits, heads, patience, config, server_state, app_state, _loop)
        return DirectProtocol(scratch, connection, before)

    return make
