from __future__ import annotations

from faults import disk


def test_a_disk_that_is_full_or_breaks_is_told_as_it_is() -> None:
    outcome = disk.run(seed=1, count=1)
    assert outcome.wrong == ()
    assert outcome.cases >= 1
