"""The journal of an engine's data directory beside its checkpoints: which of them a start needs, and which it may lose."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paramserver.checkpoint import CheckpointCorrupt, DataDirInUse
from paramserver.engine import Engine
from paramserver.journal import JournalCorrupt, JournalForeign
from paramserver.store.errors import Restoring
from paramserver_wire.messages import Message

OPTIONS: dict[str, Any] = {"checkpoint_every_s": 0, "min_free_disk_nbytes": 0, "segment_nbytes": 1 << 16}
N = 4_000


@contextmanager
def engine(path: Path, **options: Any) -> Iterator[Engine]:
    with Engine.open(path, **{**OPTIONS, **options}) as opened:
        yield opened


def create(engine: Engine, name: str = "w") -> None:
    engine.perform(Message("create_variable", {"name": name, "value": np.zeros(N, np.float32)}))


def add(engine: Engine, count: int = 1, name: str = "w") -> None:
    for _ in range(count):
        engine.perform(Message("assign_add", {"name": name, "value": np.ones(N, np.float32)}))


def value(engine: Engine, name: str = "w") -> float:
    found = engine.store.get(name).value
    assert found is not None
    assert (found == found[0]).all()
    return float(found[0])


def save(engine: Engine, id: str, **arguments: Any) -> None:
    engine.perform(Message("save", {"id": id, **arguments}))


def killed(path: Path) -> Path:
    """The data directory as a kill would leave it right now."""
    target = path.with_name(f"killed-{len(list(path.parent.iterdir()))}")
    shutil.copytree(path, target)
    return target


def incarnation(engine: Engine) -> str:
    return engine.store.get("w").incarnation


@pytest.mark.parametrize("durability", ["always", "everysec"])
def test_a_kill_loses_nothing(tmp_path: Path, durability: str) -> None:
    with engine(tmp_path / "data", durability=durability) as first:
        create(first)
        add(first, 3)
        save(first, "m")
        add(first, 2)
        with engine(killed(tmp_path / "data"), durability=durability) as second:
            assert (value(second), second.store.commit) == (5, first.store.commit)
            assert second.start_report is not None
            assert "restored checkpoint 'm'" in str(second.start_report)
            assert "2 records of the journal" in str(second.start_report)
            # With everysec the power may have been cut, and who had seen more must be able to tell.
            assert (incarnation(first) == incarnation(second)) == (durability == "always")
    with engine(tmp_path / "data") as again:
        assert (value(again), incarnation(again)) == (5, incarnation(first))


def test_a_clean_stop_needs_no_journal(tmp_path: Path) -> None:
    with engine(tmp_path / "data") as first:
        create(first)
        add(first)
    shutil.rmtree(tmp_path / "data" / "wal")
    with engine(tmp_path / "data") as again:
        assert (value(again), incarnation(again)) == (1, incarnation(first))


def test_a_lost_journal_is_missed(tmp_path: Path) -> None:
    with engine(tmp_path / "data") as first:
        create(first)
        save(first, "m")
        add(first)
        path = killed(tmp_path / "data")
    shutil.rmtree(path / "wal")
    with pytest.raises(JournalCorrupt, match="no journal any more"):
        Engine.open(path, **OPTIONS)
    with engine(path, recover="truncate") as cut:
        assert value(cut) == 0
        assert incarnation(cut) != incarnation(first)
        add(cut)
    with engine(path) as again:
        assert value(again) == 1


def test_a_damaged_checkpoint_is_made_up_for_by_the_journal(tmp_path: Path) -> None:
    with engine(tmp_path / "data", max_to_keep=1) as first:
        create(first)
        for number in range(4):
            add(first, 20)
            save(first, f"m{number}", series="mine", max_to_keep=1)
        add(first, 3)
        path = killed(tmp_path / "data")
    # Two full ones stay, whatever the series keeps; the journal goes back to the older of them, and no further.
    assert len(list((path / "checkpoints").glob("m*"))) == 2
    assert min(int(each.stem) for each in (path / "wal").glob("*.wal")) > 20
    newest = next((path / "checkpoints").glob("m3.*"))
    (newest / "manifest.json").write_text("{}")
    with engine(path) as again:
        assert value(again) == 83
        assert again.start_report is not None
        assert again.start_report.checkpoint == "m2"
    for each in (path / "checkpoints").glob("*/manifest.json"):
        each.write_text("{}")
    with pytest.raises(CheckpointCorrupt, match="no full checkpoint"):
        Engine.open(path, **OPTIONS)


def test_a_journal_from_the_beginning_makes_up_for_all_checkpoints(tmp_path: Path) -> None:
    with engine(tmp_path / "data") as first:
        create(first)
        add(first, 2)
        save(first, "m")
        path = killed(tmp_path / "data")
    next((path / "checkpoints").glob("m.*/manifest.json")).write_text("{}")
    with engine(path) as again:
        assert value(again) == 2


def test_checkpoints_that_the_journal_needs_do_not_go_before_there_is_another(tmp_path: Path) -> None:
    with engine(tmp_path / "data") as first:
        create(first)
        for number in range(3):
            add(first, 20)
            save(first, f"m{number}")
        save(first, "m2", prefix="w")
        for number in (0, 1):
            first.perform(Message("delete_checkpoint", {"id": f"m{number}"}))
        with engine(killed(tmp_path / "data")) as again:
            assert value(again) == 60


def test_the_journal_does_not_grow_without_bounds(tmp_path: Path) -> None:
    with engine(tmp_path / "data", journal_limit_nbytes=1 << 18) as first:
        create(first)
        for _ in range(60):
            add(first, 10)
            manager = first.checkpoints
            assert manager is not None
            manager.save_if_due()
        # The thread of the manager may have been quicker.
        assert len(manager.list()) > 1
        assert sum(path.stat().st_size for path in (tmp_path / "data" / "wal").glob("*.wal")) < 3 << 20
        with engine(killed(tmp_path / "data")) as again:
            assert value(again) == 600


def test_without_a_journal_again_it_goes_and_a_checkpoint_takes_its_place(tmp_path: Path) -> None:
    with engine(tmp_path / "data") as first:
        create(first)
        add(first)
        path = killed(tmp_path / "data")
    with engine(path, durability="none") as second:
        assert value(second) == 1
        assert second.durability == "none"
        assert not list((path / "wal").iterdir())
        add(second)
        with engine(killed(path), durability="none") as third:
            assert value(third) == 1
    with engine(path) as again:
        assert value(again) == 2
        add(again)
        with engine(killed(path)) as last:
            assert value(last) == 3


def test_another_build_makes_a_checkpoint_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with engine(tmp_path / "data", durability="always") as first:
        create(first)
        add(first)
        path = killed(tmp_path / "data")
        monkeypatch.setattr("paramserver.engine.journaling._BUILDS", {"paramserver": "9.9", "numpy": "9.9"})
        with engine(path, durability="always") as second:
            assert value(second) == 1
            assert incarnation(second) != incarnation(first)
            assert second.checkpoints is not None
            assert [info["commit"] for info in second.checkpoints.list()] == [2]
            with engine(killed(path), durability="always") as third:
                assert third.start_report is not None
                assert "records" not in str(third.start_report)


def test_a_foreign_journal_is_refused(tmp_path: Path) -> None:
    for name in ("one", "other"):
        with engine(tmp_path / name) as opened:
            create(opened)
            killed(tmp_path / name).rename(tmp_path / f"{name}-killed")
    shutil.rmtree(tmp_path / "one-killed" / "wal")
    shutil.copytree(tmp_path / "other-killed" / "wal", tmp_path / "one-killed" / "wal")
    with pytest.raises(JournalForeign, match="belongs to the data directory"):
        Engine.open(tmp_path / "one-killed", **OPTIONS)


def test_an_identity_that_is_lost_is_found_in_the_journal(tmp_path: Path) -> None:
    with engine(tmp_path / "data") as first:
        create(first)
        add(first)
        path = killed(tmp_path / "data")
    (path / "MANIFEST").unlink()
    for _ in range(2):
        with engine(path) as again:
            assert value(again) == 1


def test_a_data_directory_has_one_server(tmp_path: Path) -> None:
    with engine(tmp_path / "data"), pytest.raises(DataDirInUse):
        Engine.open(tmp_path / "data", **OPTIONS)


def test_until_it_is_started_it_takes_nothing_but_questions_about_itself(tmp_path: Path) -> None:
    prepared = Engine.prepare(tmp_path / "data", **OPTIONS)
    with pytest.raises(Restoring, match="starting"):
        prepared.perform(Message("assign", {"name": "w", "value": np.ones(1)}, "c-1"))
    assert prepared.perform(Message("server", {})).body["state"] == "restoring"
    prepared.start()
    assert prepared.perform(Message("server", {})).body["state"] == "ready"
    prepared.close()
