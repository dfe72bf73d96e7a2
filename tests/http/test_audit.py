"""The record of what admins do: one by one what was done, together what was refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paramserver.checkpoint.errors import DiskFull
from paramserver.http.audit import MAX_NAMES, MAX_STRANGERS, WINDOW_S, Act, AuditLog
from paramserver.keyring import hashed_line
from support.raw_http import eventually

DONE = Act("ops", "10.0.0.7", "delete_variable", 204, names=("model/w",))
FORBIDDEN = Act("trainer", "10.0.0.8", "delete_variable", 403, "forbidden", ("model/w",))
STRANGER = Act("", "10.0.0.9", "save", 401, "unauthenticated")


class Record:
    """An audit log with a clock of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.waiting: list[tuple[float, Callable[[], None]]] = []
        self.log = AuditLog(path, lambda: 0.0, lambda delay_s, call: self.waiting.append((delay_s, call)))

    def note(self, *acts: Act) -> None:
        for act in acts:
            self.log.note(act)

    def end_window(self) -> None:
        ((delay_s, call),) = self.waiting
        assert delay_s == WINDOW_S
        self.waiting.clear()
        call()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(tmp_path / "audit")


def test_what_is_done_has_a_line_each_time(record: Record) -> None:
    record.note(*[DONE] * 5, *[DONE._replace(status=422, code="invalid_request")] * 3)
    assert len(record.lines()) == 8
    assert record.lines()[0] == {
        "at": "1970-01-01T00:00:00.000000Z",
        "who": "ops",
        "from": "10.0.0.7",
        "did": "delete_variable",
        "names": ["model/w"],
        "status": 204,
        "code": "",
    }
    assert not record.waiting
    record.note(DONE._replace(checkpoint="step-100", names=[str(index) for index in range(99)]))
    assert record.lines()[-1]["checkpoint"] == "step-100"
    assert len(record.lines()[-1]["names"]) == MAX_NAMES


@pytest.mark.parametrize("act", [FORBIDDEN, STRANGER, STRANGER._replace(code="overloaded", status=429)])
def test_what_is_refused_has_one_and_is_counted_from_then_on(record: Record, act: Act) -> None:
    for _ in range(2):
        record.note(*[act] * 1000)
        record.end_window()
    lines = record.lines()
    assert [line.get("more") for line in lines] == [None, 999, None, 999]
    assert lines[0]["names"] == list(act.names)
    assert {(line["who"], line["did"], line["code"]) for line in lines} == {(act.who, act.did, act.code)}
    record.note(act)
    record.end_window()
    assert len(record.lines()) == 5


def test_strangers_are_told_apart_by_network_up_to_a_number(record: Record) -> None:
    record.note(*(STRANGER._replace(client=f"2001:db8::{index:x}") for index in range(50)))
    assert len(record.lines()) == 1
    record.note(*(STRANGER._replace(client=f"10.1.{index // 256}.{index % 256}") for index in range(5000)))
    assert len(record.lines()) == MAX_STRANGERS
    # None of them hides who has a name.
    record.note(FORBIDDEN, FORBIDDEN._replace(client="10.0.0.77"), DONE)
    record.end_window()
    told = record.lines()[MAX_STRANGERS:]
    assert [(line["who"], line.get("more")) for line in told[:2]] == [("trainer", None), ("ops", None)]
    assert {(line["who"], line["from"], line["more"]) for line in told[2:]} == {
        ("", "2001:db8::/64", 49),
        ("", "others", 5000 - MAX_STRANGERS + 1),
        ("trainer", "", 1),
    }


def test_what_was_counted_is_told_at_the_end_and_late_acts_too(record: Record) -> None:
    record.note(*[STRANGER] * 3)
    record.log.close()
    record.log.close()
    assert [line.get("more") for line in record.lines()] == [None, 2]
    record.note(DONE)
    assert len(record.lines()) == 3


def test_the_file_may_be_moved_away(record: Record, tmp_path: Path) -> None:
    record.note(DONE)
    (tmp_path / "audit").rename(tmp_path / "audit.1")
    record.note(DONE)
    assert len(record.lines()) == 1
    assert (tmp_path / "audit").stat().st_mode & 0o777 == 0o600


def test_lines_of_threads_are_whole(record: Record) -> None:
    threads = [threading.Thread(target=record.note, args=[DONE, FORBIDDEN] * 50) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    record.end_window()
    assert sum(line["who"] == "ops" for line in record.lines()) == 400
    assert [line.get("more") for line in record.lines() if line["who"] == "trainer"] == [None, 399]


@pytest.fixture
def ops(serve_with: Callable[..., Any], tmp_path: Path) -> Any:
    file = tmp_path / "tokens"
    file.write_text(hashed_line("o" * 32, "ops", "admin:*"))
    served = serve_with(token_file=file, audit_log=tmp_path / "audit", data_dir=tmp_path / "data", checkpoint_every_s=0)
    with served.client(headers={"authorization": f"Bearer {'o' * 32}"}) as http:
        yield http


def test_it_says_which_checkpoint_and_which_optimizer(ops: Any, tmp_path: Path) -> None:
    ops.put("/v1/variables/w", json={"value": [1.0]})
    ops.put("/v1/optimizers/adam", json={"type": "adam", "learning_rate": 0.1})
    made = ops.post("/v1/checkpoints", json={}).json()["id"]
    ops.post("/v1/checkpoints", json={"id": "mine", "names": ["w"]})
    ops.post("/v1/checkpoints/mine:restore", json={"names": ["w"]})
    ops.delete("/v1/checkpoints/mine")
    ops.delete("/v1/checkpoints/none")
    ops.delete("/v1/optimizers/adam")
    ops.delete("/v1/variables", params={"prefix": "w", "confirm": "true"})
    lines = [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]
    assert [(line["did"], line["names"], line.get("checkpoint"), line["code"]) for line in lines] == [
        ("save", ["*"], made, ""),
        ("save", ["w"], "mine", ""),
        ("restore", ["w"], "mine", ""),
        ("delete_checkpoint", ["*"], "mine", ""),
        ("delete_checkpoint", ["*"], "none", "checkpoint_not_found"),
        ("delete_optimizer", ["adam"], None, ""),
        ("delete_variables", ["w"], None, ""),
    ]


@pytest.mark.parametrize(("broken", "status", "code"), [(False, 201, ""), (True, 507, "disk_full")])
def test_how_a_save_ended_that_nobody_waited_for(
    ops: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool, status: int, code: str
) -> None:
    ops.put("/v1/variables/w", json={"value": [1.0]})
    if broken:
        monkeypatch.setattr("paramserver.checkpoint.manager.write_checkpoint", _no_room)
    begun = ops.post("/v1/checkpoints", json={"id": "late"}, headers={"prefer": "respond-async"})
    assert begun.status_code == 202

    def told() -> list[tuple[Any, ...]]:
        lines = [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]
        return [(line["who"], line["checkpoint"], line["status"], line["code"]) for line in lines]

    eventually(lambda: len(told()) == 2)
    assert sorted(told()) == sorted([("ops", "late", 202, ""), ("ops", "late", status, code)])
    # It saves a last time when it ends.
    monkeypatch.undo()


def _no_room(*_: Any, **__: Any) -> None:
    raise DiskFull("no room")


def test_a_server_counts_strangers_who_ask_without_end(
    serve_with: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once one stranger could have 3.5 MB of it written in a second."""
    monkeypatch.setattr("paramserver.http.audit.WINDOW_S", 0.2)
    file = tmp_path / "tokens"
    file.write_text(hashed_line("o" * 32, "ops", "admin:*"))
    served = serve_with(token_file=file, audit_log=tmp_path / "audit")
    with served.client() as http:
        for _ in range(300):
            assert http.delete("/v1/variables/w").status_code == 401

        def counted() -> int:
            lines = [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]
            return sum(line.get("more", 1) for line in lines)

        eventually(lambda: counted() == 300)
    assert len((tmp_path / "audit").read_text().splitlines()) < 100


@pytest.mark.parametrize("code", ["invalid_request", "wrong_host", "forbidden"])
def test_a_stranger_is_counted_whatever_he_is_refused_for(record: Record, code: str) -> None:
    record.note(*[STRANGER._replace(code=code, status=422)] * 1000)
    record.end_window()
    assert [line.get("more") for line in record.lines()] == [None, 999]


HEADS_THAT_MAKE_PROBLEMS: list[tuple[str, str, dict[str, str]]] = [
    ("stranger", "/v1/variables/w?token=guess", {}),
    ("reader", "/v1/variables?unknown=1", {}),
    ("reader", "/v1/variables/w", {"accept": "image/png"}),
]


@pytest.mark.parametrize(("who", "path", "headers"), HEADS_THAT_MAKE_PROBLEMS)
def test_nobody_fills_it_by_heads_that_make_problems(
    serve_with: Callable[..., Any], tmp_path: Path, who: str, path: str, headers: dict[str, str]
) -> None:
    file = tmp_path / "tokens"
    file.write_text(hashed_line("r" * 32, "reader", "read:*"))
    served = serve_with(token_file=file, audit_log=tmp_path / "audit")
    known = {} if who == "stranger" else {"authorization": f"Bearer {'r' * 32}"}
    with served.client(headers=known | headers) as http:
        answers = {http.delete(path).status_code for _ in range(50)}
    # Who may not do it at all is told that, before what else is wrong.
    assert answers == {422 if who == "stranger" else 403}
    lines = [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]
    assert [line["who"] for line in lines] == ["" if who == "stranger" else who]
