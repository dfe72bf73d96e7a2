from __future__ import annotations

import pytest

from faults import syscalls


@pytest.mark.skipif(bool(syscalls.cannot_trace()), reason=syscalls.cannot_trace() or "it can")
@pytest.mark.parametrize(
    ("call", "fault"),
    [("pwritev2", "SIGKILL"), ("fdatasync", "EIO"), ("rename", "SIGKILL"), ("fallocate", "ENOSPC")],
)
def test_a_server_that_fails_at_a_system_call_keeps_its_word(
    call: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syscalls, "_points", lambda: iter([(call, fault)]))
    outcome = syscalls.run(seed=3, count=2)
    assert outcome.wrong == ()
    assert outcome.cases >= 1
