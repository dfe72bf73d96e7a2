"""schemathesis makes up requests from the description, sound ones and spoilt ones, and holds the answers to it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paramserver_wire.messages import Message

CONFIG = Path(__file__).with_name("schemathesis.toml")
ENVIRONMENT = {"NO_PROXY": "*", "SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(CONFIG.parent)}


@pytest.mark.timeout(240)
def test_what_the_server_does_is_what_it_describes(keeping: Any, tmp_path: Path) -> None:
    keeping.create("conv1/weight", np.zeros((2, 2), np.float32))
    keeping.create("conv1/bias", np.zeros(2, np.float32))
    keeping.create("step", np.asarray(0, np.int32))
    keeping.engine.perform(Message("save", {"id": "mnist/epoch-3"}))
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIG)]
    command += ["run", f"{keeping.url}/openapi.json", "--phases", "examples,coverage,fuzzing"]
    run = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, timeout=220
    )
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    tested = f"Operations:       {len(operations(keeping))} selected"
    assert tested in run.stdout


def operations(served: Any) -> list[str]:
    with served.client() as http:
        paths = http.get("/openapi.json").json()["paths"]
    return [f"{method} {path}" for path, item in paths.items() for method in item]
