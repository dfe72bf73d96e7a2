from __future__ import annotations

import os
import threading

import pytest

from paramserver_client.request_ids import RequestIds


def split(request_id: str) -> tuple[str, int]:
    client, _, seq = request_id.rpartition("-")
    return client, int(seq)


def test_numbers_start_at_one_and_the_client_stays() -> None:
    ids = RequestIds()
    (first, one), (second, two) = split(ids.next()), split(ids.next())
    assert (one, two) == (1, 2)
    assert first == second


def test_clients_of_one_name_differ() -> None:
    first, second = (split(RequestIds("worker-3").next())[0] for _ in range(2))
    assert first.startswith("worker-3.")
    assert first != second


@pytest.mark.parametrize("name", ["", "a" * 61, "é", "a\n"])
def test_names_that_no_header_holds(name: str) -> None:
    with pytest.raises(ValueError, match="client id"):
        RequestIds(name)


def test_a_renewed_client_starts_again() -> None:
    ids = RequestIds()
    refused = ids.next()
    client, seq = split(ids.renew(refused))
    assert seq == 1
    assert client != split(refused)[0]
    assert split(ids.next()) == (client, 2)


def test_the_second_thread_to_be_refused_joins_the_renewed_client() -> None:
    ids = RequestIds()
    refused = [ids.next(), ids.next()]
    first, second = (split(ids.renew(each)) for each in refused)
    assert first[0] == second[0]
    assert [first[1], second[1]] == [1, 2]


def test_no_number_is_given_twice() -> None:
    ids = RequestIds()
    given: list[str] = []
    barrier = threading.Barrier(4)

    def take() -> None:
        barrier.wait()
        given.extend(ids.next() for _ in range(500))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(split(each)[1] for each in given) == list(range(1, 2001))


def test_a_fork_is_a_client_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = RequestIds("w")
    parent = ids.next()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    child, seq = split(ids.next())
    assert child != split(parent)[0]
    assert seq == 1
    assert split(ids.renew(parent)) == (child, 2)
    monkeypatch.setattr(os, "getpid", lambda: -2)
    grandchild, seq = split(ids.renew(parent))
    assert grandchild not in (child, split(parent)[0])
    assert seq == 1
