"""Answers to a connection that is closed meanwhile go nowhere, and nothing is raised for it."""

from __future__ import annotations

import asyncio
import socket

import pytest
import uvloop

from paramserver.http.answer_transport import AnswerTransport


@pytest.mark.parametrize("nbytes", [1, 10_000_000])
def test_what_is_written_after_the_end_is_dropped(nbytes: int) -> None:
    async def write() -> AnswerTransport:
        here, there = socket.socketpair()
        with there:
            transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=here)
            answers = AnswerTransport(transport)
            # The next request of the same packet is refused while this one is at work.
            answers.close()
            # uvloop lets go of the socket a turn later, and raises from then on.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            answers.write(b"HTTP/1.1 200 OK\r\n\r\n")
            answers.write(bytes(nbytes))
            answers.end_answer()
            answers.write_whole(b"HTTP/1.1 200 OK\r\n\r\n", [bytes(nbytes)])
            return answers

    assert uvloop.run(write()).written_nbytes == 0
