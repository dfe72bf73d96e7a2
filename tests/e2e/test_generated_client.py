"""A client generated from /openapi.json works, and reads as docs/generated-clients.md says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx

from support.server import Server

GUIDE = (Path(__file__).parents[2] / "docs" / "generated-clients.md").read_text()
PACKAGE = "parameter-server-client"


def block(kind: str) -> str:
    """The first block of code of a kind in the guide."""
    found = re.search(rf"```{kind}\n(.*?)```", GUIDE, re.DOTALL)
    assert found is not None, kind
    return found[1]


def generate(description: str, into: Path) -> Path:
    """Where the generated package lies. The generator must have nothing to say against the description."""
    (into / "openapi.json").write_text(description)
    (into / "client.yaml").write_text(block("yaml"))
    # It calls ruff, which lies beside the interpreter, to put what it wrote in order.
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "openapi_python_client",
            "generate",
            "--path",
            "openapi.json",
            "--config",
            "client.yaml",
        ],
        cwd=into,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    said = run.stdout + run.stderr
    assert run.returncode == 0, said
    assert "warning" not in said.lower(), said
    assert "error" not in said.lower(), said
    return into / PACKAGE


def test_the_guides_client_creates_initializes_pushes_and_pulls(tmp_path: Path) -> None:
    with Server() as server:
        package = generate(httpx.get(f"{server.url}/openapi.json", trust_env=False).text, tmp_path)
        script = tmp_path / "guide.py"
        script.write_text(block("py").replace("http://localhost:8080", server.url))
        run = subprocess.run(
            [sys.executable, "-W", "error", str(script)],
            env={**os.environ, "PYTHONPATH": str(package)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert run.returncode == 0, run.stderr
        assert run.stdout == shown()
        read = httpx.get(f"{server.url}/v1/variables/conv1/bias:read", trust_env=False)
        assert read.json()["value"] == [0.5, -0.5]


def shown() -> str:
    """What the guide says that its program prints."""
    found = re.search(r"```\n\n```\n(.*?)```", GUIDE, re.DOTALL)
    assert found is not None
    return found[1]
