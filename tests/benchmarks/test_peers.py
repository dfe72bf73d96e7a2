"""The comparison with others: turns, sums, who is missing, and what is written. The others themselves are not installed here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.measuring import WrongResultError
from benchmarks.peers import curves, table
from benchmarks.peers.contestants import CONTESTANTS, OURS, Contestant, FailedError, Running
from benchmarks.peers.measuring import CASES, Case, Rates, measure

from benchmarks import report

PYTHON = Path(sys.executable)
DRIVERS = Path(table.__file__).parent / "drivers"
SMALL = Case("small", ((3, 4), (), (5,)), 3, 2)

DRIVER = f"""
import sys
sys.path.insert(0, {str(DRIVERS)!r})
import driving, numpy as np
from raw import Raw, Worker, serve

class Bad(Worker):
    def push(self):
        PUSH
        super().push()

driving.main(serve, Bad)
"""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def bad(tmp_path: Path, push: str) -> Contestant:
    path = tmp_path / "bad.py"
    path.write_text(DRIVER.replace("PUSH", push))
    return Contestant("bad", str(path.with_suffix("")), "all", options={"unix": False})


@pytest.mark.parametrize(
    "contestant", [each for each in CONTESTANTS if each.environment is None], ids=lambda each: each.name
)
def test_those_that_need_nothing_take_their_turns(contestant: Contestant, tmp_path: Path) -> None:
    rates = Rates()
    with Running(contestant, PYTHON, tmp_path) as running:
        measure([running], rates, print, [SMALL])
    assert not rates.missing
    assert {key[1:] for key in rates.of} == {("small", count, step) for count in (1, 2) for step in ("push", "pull")}
    assert all(len(each) == 2 and min(each) > 0 for each in rates.of.values())


def test_a_turn_may_have_processes_of_its_own(tmp_path: Path) -> None:
    rates, raw = Rates(), CONTESTANTS[0]
    with Running(raw, PYTHON, tmp_path) as running:
        measure([running], rates, print, [replace(SMALL, afresh=True)])
    assert len(rates.of[raw.name, "small", 2, "pull"]) == 2


def test_a_lost_update_ends_it(tmp_path: Path) -> None:
    losing = bad(tmp_path, "self._delta[0] = 0")
    with Running(losing, PYTHON, tmp_path) as running, pytest.raises(WrongResultError, match="bad, small"):
        measure([running], Rates(), print, [SMALL])


def test_who_fails_is_left_out_and_said(tmp_path: Path, stack: ExitStack) -> None:
    contestants = [bad(tmp_path, "sys.exit(3)"), next(each for each in CONTESTANTS if each.name == OURS)]
    rates = Rates()
    measure([stack.enter_context(Running(each, PYTHON, tmp_path)) for each in contestants], rates, print, [SMALL])
    assert list(rates.missing) == ["bad"]
    assert "ended with status 3" in rates.missing["bad"]
    assert {key[0] for key in rates.of} == {OURS}


def test_who_does_not_start_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match="ended with status"):
        Running(Contestant("none", str(tmp_path / "none"), ""), PYTHON, tmp_path).__enter__()


def measured() -> Rates:
    rates = Rates()
    for factor, name in ((1, OURS), (2, "raw TCP socket")):
        for case in CASES:
            for count in (1, 2):
                for step in ("push", "pull"):
                    rates.of[name, case.name, count, step] = [factor * 1e9, factor * 3e9, factor * 2e9]
    rates.missing["Ray actor"] = "it does not start: no such package"
    return rates


def test_the_table_says_who_is_missing_and_what_figures_leave_out() -> None:
    text = table.markdown(measured(), "Measured one day", ["ray 1"])
    assert text.startswith("Measured one day. Beside: ray 1.")
    assert text.count("| raw TCP socket | 4 (2) |") == 4
    assert text.count(f"| **{OURS}** | 2 |") == 4
    assert text.count("| Ray actor | missing |") == 4
    assert "**Missing**: it does not start: no such package" in text
    assert all(f"- {each.name}: {each.leaves_out}" in text for each in CONTESTANTS)


def test_the_terminal_gets_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    table.print_table(measured(), [each.name for each in CONTESTANTS])
    out = capsys.readouterr().out
    assert out.count("raw TCP socket") == 4
    assert "missing: Ray actor" in out
    assert max(map(len, out.splitlines())) <= 150


def test_figures_go_between_their_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a: begin -->\nold\n<!-- a: end -->\nafter\n")
    report.write_between(page, "a", "new")
    assert page.read_text() == "before\n<!-- a: begin -->\nnew\n<!-- a: end -->\nafter\n"
    with pytest.raises(ValueError, match="has no marks"):
        report.write_between(page, "b", "new")
    for mark in ("peers", "curves"):
        assert f"<!-- {mark}: begin -->" in table.PAGE.read_text()


def test_curves_are_of_what_they_say() -> None:
    found = curves.by_count([1, 40], total_nbytes=4000)
    assert [each[0] for each in found] == [1, 40]
    assert all(push > 0 and pull > 0 for _, push, pull in found)
    assert "| 40 |" in curves.markdown({"bytes": [(1000, 1.0, 2.0)], "count": found})
