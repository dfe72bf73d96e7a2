"""Bodies through plain ASGI, as any server hands them over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

from paramserver.http.large_body import LARGE_NBYTES
from paramserver.http.limits import COUNTED, check_counts, receive_body
from paramserver.http.routes import ROUTES
from paramserver.store.buffers import BufferPool, MemoryBudget
from paramserver.store.errors import MemoryLimitExceeded
from paramserver_wire.errors import BodyTooLarge, InvalidRequest, MalformedBody


def receive(
    chunks: Sequence[bytes | None],
    limit: int,
    declared: Any = None,
    pool: BufferPool | None = None,
    budget: MemoryBudget | None = None,
) -> memoryview:
    """Receive a body that comes in these chunks; None stands for a client that has gone."""
    messages: list[dict[str, Any]] = [
        {"type": "http.disconnect"}
        if chunk is None
        else {"type": "http.request", "body": chunk, "more_body": at + 1 < len(chunks)}
        for at, chunk in enumerate(chunks)
    ]

    async def next_message() -> Any:
        return messages.pop(0)

    headers = [] if declared is None else [(b"content-length", str(declared).encode())]
    request = Request({"type": "http", "method": "POST", "headers": headers}, next_message)
    return asyncio.run(receive_body(request, limit, pool or BufferPool(), (budget or MemoryBudget()).hold())).view


@pytest.mark.parametrize("declared", [None, 6])
@pytest.mark.parametrize("chunks", [[b"abcdef"], [b"abc", b"", b"def"], [b"", b"abcdef"], [b"abcde", b"f", b""]])
def test_small_bodies(chunks: list[bytes], declared: int | None) -> None:
    body = receive(chunks, 6, declared)
    assert bytes(body) == b"abcdef"


def test_a_small_body_in_one_chunk_is_not_copied() -> None:
    chunk = b"abcdef"
    assert receive([chunk], 6).obj is chunk


def test_a_large_declared_body_fills_one_block_of_the_pool() -> None:
    whole = bytes(range(256)) * (LARGE_NBYTES // 128)
    pool = BufferPool()
    body = receive([whole[:1000], whole[1000:]], len(whole), len(whole), pool)
    assert bytes(body) == whole
    assert not body.readonly
    assert pool.idle_nbytes == 0
    del body
    assert pool.idle_nbytes >= len(whole)


@pytest.mark.parametrize(
    ("chunks", "declared"),
    [([b"x" * 11], None), ([b"x" * 5, b"x" * 6], None), ([b"x" * 5] * 100, None), ([], 11), ([b""], 10**18)],
)
def test_over_the_limit(chunks: list[bytes], declared: int | None) -> None:
    with pytest.raises(BodyTooLarge, match="limit of 10 bytes"):
        receive(chunks, 10, declared)


@pytest.mark.parametrize("declared", ["x", "-1", "1e3", "٣"])
def test_a_length_that_is_none(declared: str) -> None:
    with pytest.raises(MalformedBody, match="Content-Length"):
        receive([b""], 10, declared)


def test_fewer_or_more_bytes_than_declared() -> None:
    with pytest.raises(MalformedBody, match="promised"):
        receive([b"x" * 10], 2 * LARGE_NBYTES, LARGE_NBYTES)
    with pytest.raises(MalformedBody, match="longer"):
        receive([b"x" * (LARGE_NBYTES + 1)], 2 * LARGE_NBYTES, LARGE_NBYTES)


@pytest.mark.parametrize("declared", [None, LARGE_NBYTES])
def test_a_client_that_goes_away(declared: int | None) -> None:
    with pytest.raises(ClientDisconnect):
        receive([b"x", None], 2 * LARGE_NBYTES, declared)


def test_counts() -> None:
    check_counts({"names": ["a"] * 3, "other": ["a"] * 9}, 3)
    for field in ("names", "updates", "return"):
        with pytest.raises(InvalidRequest, match=f"{field}: at most 3"):
            check_counts({field: ["a"] * 4}, 3)
    with pytest.raises(InvalidRequest, match="if_versions"):
        check_counts({"if_versions": dict.fromkeys("abcd", "1")}, 3)


@pytest.mark.parametrize(("chunks", "declared"), [([b"x" * 900] * 2, None), ([b"x" * LARGE_NBYTES], LARGE_NBYTES)])
def test_a_body_counts_against_the_memory_budget_before_it_takes_memory(
    chunks: list[bytes], declared: int | None
) -> None:
    nbytes = sum(map(len, chunks))
    enough = MemoryBudget(nbytes)
    receive(chunks, 10 * nbytes, declared, budget=enough)
    assert enough.used_nbytes == nbytes
    taken: list[int] = []
    pool = BufferPool()
    pool.take = taken.append  # type: ignore[assignment, method-assign]
    with pytest.raises(MemoryLimitExceeded):
        receive(chunks, 10 * nbytes, declared, pool, MemoryBudget(nbytes - 1))
    assert taken == []


# Lists and maps in a request that name no variables.
_OTHERS = frozenset({"shape", "collections", "metadata", "initializer", "hyper", "dtype", "defaults"})


def test_every_list_of_names_in_a_request_is_counted() -> None:
    found = set()
    for route in ROUTES:
        for name, field in route.body.model_fields.items():
            if any(kind in str(field.annotation) for kind in ("list[", "dict[")):
                found.add(field.alias or name)
    assert found - _OTHERS <= COUNTED
    assert {"names", "updates", "return"} <= found
