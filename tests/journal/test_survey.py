"""A journal seen from outside."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from paramserver.journal.survey import entries, names_of, rehearse, survey
from paramserver.store import Gradient, GradientPush, NewVariable, Selection, Update
from support.journals import SERVER, journalled


def made(tmp_path: Path) -> Path:
    """A journal of several segments, as a kill leaves it."""
    with journalled(tmp_path / "live") as opened:
        store = opened.store
        store.create(NewVariable("w", value=np.zeros(5_000, np.float32)))
        store.create(NewVariable("b", shape=(2,)), initialize=True)
        store.set_optimizer("sgd", {"type": "gradient_descent", "learning_rate": 0.1})
        for _ in range(6):
            store.push([Update("w", "assign_add", np.ones(5_000, np.float32))])
        store.apply_gradients(GradientPush("sgd", [Gradient("b", np.ones(2, np.float32))]))
        store.delete(Selection(names=["b"]))
        shutil.copytree(tmp_path / "live", tmp_path / "wal")
    return tmp_path / "wal"


def test_it_tells_all_segments_and_how_they_end(tmp_path: Path) -> None:
    found = survey(made(tmp_path))
    assert (found.first_commit, found.last_commit, found.synced) == (1, 11, 11)
    assert [each.end for each in found.segments][:-1] == ["sealed"] * (len(found.segments) - 1)
    assert found.segments[-1].end == "marked"
    assert sum(each.records for each in found.segments) == 11
    assert all(each.header is not None and each.header.always and not each.problem for each in found.segments)


def test_it_tells_what_is_in_the_records(tmp_path: Path) -> None:
    told = [
        (entry.commit, entry.kind, list(names_of(entry)))
        for segment in survey(made(tmp_path)).segments
        for _, entry in entries(segment.path)
    ]
    assert told[:4] == [
        (1, "create", ["w"]),
        (2, "create", ["b"]),
        (3, "set_optimizer", ["sgd"]),
        (4, "push", ["w"]),
    ]
    assert told[-2:] == [(10, "apply_gradients", ["sgd", "b"]), (11, "delete", ["b"])]


def test_it_rehearses_a_start_and_changes_nothing(tmp_path: Path) -> None:
    wal = made(tmp_path)
    before = {path.name: path.read_bytes() for path in wal.iterdir()}
    start = rehearse(wal, server=SERVER, commit=8)
    assert (start.records, start.last_commit, start.cut, start.problem) == (3, 11, "", "")
    assert "begins with commit 1" not in rehearse(wal, server=SERVER, commit=0).problem
    assert "belongs to" in rehearse(wal, server="f" * 16, commit=0).problem
    assert {path.name: path.read_bytes() for path in wal.iterdir()} == before


def test_damage_is_told(tmp_path: Path) -> None:
    wal = made(tmp_path)
    path = sorted(wal.glob("*.wal"))[0]
    content = bytearray(path.read_bytes())
    content[4200] ^= 1
    path.write_bytes(content)
    assert "commit 1 is damaged" in rehearse(wal, server=SERVER, commit=0).problem
    assert not rehearse(wal, server=SERVER, commit=10).problem
    content[10] ^= 1
    path.write_bytes(content)
    found = survey(wal).segments[0]
    assert (found.header, found.records) == (None, 0)
    assert "not the header of a segment" in found.problem


def test_a_directory_that_is_not_there_is_an_empty_journal(tmp_path: Path) -> None:
    found = survey(tmp_path / "nowhere")
    assert (found.segments, found.first_commit, found.last_commit) == ((), None, 0)
