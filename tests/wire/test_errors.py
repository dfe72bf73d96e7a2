from __future__ import annotations

import pytest

from paramserver_wire.codes import CODES
from paramserver_wire.errors import WireError

CLASSES = WireError.__subclasses__()


@pytest.mark.parametrize("error", CLASSES)
def test_each_error_has_a_code_of_its_own_that_exists(error: type[WireError]) -> None:
    assert error.code in CODES
    assert sum(other.code == error.code for other in CLASSES) == 1


def test_an_error_reads_as_its_detail() -> None:
    error = CLASSES[0]("wanted this, got that; do so")
    assert str(error) == error.detail == "wanted this, got that; do so"
