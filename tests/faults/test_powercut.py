from __future__ import annotations

import pytest

from faults import plants, powercut
from faults.mounts import cannot_mount

pytestmark = pytest.mark.skipif(bool(cannot_mount()), reason=cannot_mount() or "it can")


def test_a_power_cut_takes_no_more_than_was_promised() -> None:
    outcome = powercut.run(seed=1, count=7)
    assert outcome.wrong == ()
    assert outcome.cases == 7


def test_a_server_that_never_syncs_is_found() -> None:
    assert powercut.run(seed=2, count=5, plant=plants.NEVER_SYNCS).wrong
