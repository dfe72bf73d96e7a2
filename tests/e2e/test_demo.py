"""`make demo`, as its target runs it: real digits, three workers, a killed server, and what was learned."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_three_workers_learn_real_digits_through_a_server_that_is_killed(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PARAMSERVER_")}
    run = subprocess.run(
        [sys.executable, "-m", "examples.digits", "--home", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=110,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "server killed (SIGKILL)" in run.stdout
    assert "server back at commit" in run.stdout
    assert "lost: no push" in run.stdout
    assert "none lost, none applied twice" in run.stdout
    accuracy = re.search(r"^held-out accuracy: (\d+\.\d\d) %$", run.stdout, re.MULTILINE)
    assert accuracy is not None
    assert float(accuracy[1]) >= 95
    assert (tmp_path / "data" / "checkpoints").is_dir()
    assert "Traceback" not in run.stderr
