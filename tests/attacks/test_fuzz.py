"""What was once found to do harm, for ever; and the fuzzers in short, with a bug planted for them to find.

(Fuzzing: B. Miller and others, "An Empirical Study of the Reliability of UNIX Utilities", 1990; by structure: CWE-20, CWE-400.)
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from attacks import fuzz, fuzz_http, hostile, mutators, soak
from paramserver.engine import Engine
from support.attackers import connect
from support.raw_http import read_reply
from support.server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the whole corpus."""
    with Server(data_dir=tmp_path_factory.mktemp("data")) as server:
        yield server


@pytest.mark.parametrize("path", sorted(mutators.CORPUS.glob("*.http")), ids=lambda path: path.stem)
def test_what_once_did_harm(server: Server, path: Path) -> None:
    fuzz_http.prepare(server.url)
    with connect(server) as connection:
        sent = path.read_bytes()
        connection.sendall(sent)
        assert read_reply(connection, sent.split(b" ")[0].decode()).status < 500


def test_seeds_are_sound() -> None:
    seeds = mutators.seeds()
    assert {seed.kind for seed in seeds} >= {
        mutators.JSON,
        mutators.MSGPACK,
        mutators.FRAME,
        mutators.SAFETENSORS,
        mutators.NPY,
    }

    async def statuses() -> list[int]:
        with Engine.prepare() as engine:
            target = fuzz.Target(engine)
            found = []
            for seed in seeds:
                target.refresh()
                found.append((await target.answer(seed))[0])
            await target.close()
            return found

    found = asyncio.run(statuses())
    assert sum(status < 300 for status in found) > 0.6 * len(found)
    assert max(found) < 500
    # They are about checkpoints, which need a data directory, or about something that is not there.
    assert {status for status in found if status >= 300} <= {404, 406, 409, 412, 422}


def test_the_same_seed_makes_the_same_requests() -> None:
    one, other = mutators.Mutator(5), mutators.Mutator(5)
    made = [one.next() for _ in range(300)]
    assert made == [other.next() for _ in range(300)]
    assert len(set(map(repr, made))) > 150


def test_bodies_in_process() -> None:
    found = fuzz.one_process(1, 4_000)
    assert not found["wrong"]
    assert found["statuses"][200] > 200
    assert found["statuses"][400] > 200
    assert found["statuses"][422] > 200


def test_a_planted_bug_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(spec: object) -> None:
        raise TypeError("planted")

    monkeypatch.setattr("paramserver.store.creation.liked_name", fails)
    monkeypatch.setattr(fuzz, "CORPUS", tmp_path)
    found = fuzz.one_process(1, 1_000)
    assert any(line.startswith("answered [500]") for line in found["wrong"])
    assert list(tmp_path.glob("*.http"))


def test_a_bug_that_is_slow_and_gone_the_second_time_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer, failed = fuzz.Target.answer, []

    async def fails_once(target: fuzz.Target, request: mutators.Request) -> tuple[int, float]:
        if not failed:
            failed.append(request)
            return 500, 2 * fuzz.SLOW_S
        return await answer(target, request)

    monkeypatch.setattr(fuzz.Target, "answer", fails_once)
    monkeypatch.setattr(fuzz, "CORPUS", tmp_path)
    found = fuzz.one_process(1, 10)
    assert [line.startswith("answered [500, ") for line in found["wrong"]] == [True]
    assert found["slow_once"] == 1


def test_a_server_that_cuts_whole_requests_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fuzz, "CORPUS", tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def cuts() -> None:
            with suppress(OSError):
                while True:
                    listener.accept()[0].close()

        threading.Thread(target=cuts, daemon=True).start()
        worker = fuzz_http.Worker(f"http://127.0.0.1:{listener.getsockname()[1]}", 1, 20)
        worker.run()
        listener.shutdown(socket.SHUT_RDWR)
    assert worker.answers == {"cut": 20}
    assert len(worker.wrong) >= 10
    assert all(line.startswith("answered ['cut']") for line in worker.wrong)


def test_requests_over_http() -> None:
    outcome = fuzz_http.run(1, 1_500)
    # How long something takes is for the long form.
    assert [line for line in outcome.wrong if not line.startswith("slow, ")] == []
    assert outcome.cases >= 1_500


def test_hostile_clients_of_every_kind() -> None:
    outcome = hostile.run(1, 30)
    assert [line for line in outcome.wrong if not line.startswith("p99")] == []


def test_a_short_soak() -> None:
    outcome = soak.run(1, 20_000)
    assert not outcome.wrong
