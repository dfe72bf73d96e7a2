"""A journal written once by the first version: it must be done again for ever, to the same bits."""

from __future__ import annotations

import shutil
from pathlib import Path

from paramserver.disk import Disk
from paramserver.journal import recover
from paramserver.journal.format import KINDS
from paramserver.journal.survey import entries, survey
from support.journals import BUILDS, SERVER, assert_same, live
from support.stores import seeded_store

GOLDEN = Path(__file__).parent.parent / "golden" / "journal-v1"


def test_a_journal_of_format_1_is_done_again(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "wal")
    store, now = seeded_store(), seeded_store()
    report = recover(tmp_path / "wal", store, Disk(), server=SERVER, builds=BUILDS)
    assert (report.cut, report.is_proven, report.other_build) == (None, True, None)
    live(now)
    assert_same(store, now)


def test_it_has_a_record_of_every_kind() -> None:
    found = survey(GOLDEN)
    kinds = {record.header.kind for segment in found.segments for record, _ in entries(segment.path)}
    assert kinds == KINDS.keys() - {"mark", "seal"}
