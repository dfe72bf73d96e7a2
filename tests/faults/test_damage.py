from __future__ import annotations

from faults import damage, plants


def test_damage_is_mended_or_refused_and_never_passed_over() -> None:
    wrong, counted = damage.damaged(seed=1, count=600)
    assert wrong == []
    assert counted["refused"] > 10
    assert counted["whole"] > 100


def test_silent_truncation_is_found() -> None:
    assert damage.run(seed=2, count=400, plant=plants.SKIPS_DAMAGE).wrong
