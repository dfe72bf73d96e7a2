"""What the Dockerfile says."""

from __future__ import annotations

import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from support.image import ROOT, stages

STAGES = stages()
FINAL = ["server", "workers"]


def test_the_linter_has_nothing_to_say() -> None:
    linter = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([linter, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_server_is_what_is_built_unless_asked_otherwise() -> None:
    assert list(STAGES)[-1] == "server"
    assert list(STAGES) == ["builder", "workers-builder", "workers", "server"]


@pytest.mark.parametrize("name", FINAL)
def test_it_runs_as_nobody_in_exec_form(name: str) -> None:
    stage = STAGES[name]
    assert stage.last("USER") == "10001:10001"
    assert stage.exec_form("ENTRYPOINT")
    assert stage.environment["PYTHONUNBUFFERED"] == "1"


def test_the_server_listens_saves_is_checked_and_ends_as_told() -> None:
    server = STAGES["server"]
    assert [*server.exec_form("ENTRYPOINT"), *server.exec_form("CMD")] == ["paramserver", "serve"]
    environment = server.environment
    assert environment["PARAMSERVER_HOST"] == "0.0.0.0"
    assert environment["PARAMSERVER_PORT"] == server.last("EXPOSE") == "8080"
    assert environment["PARAMSERVER_DATA_DIR"] == server.last("VOLUME") == "/data"
    assert server.last("STOPSIGNAL") == "SIGTERM"
    assert not {name for name in environment if "TOKEN" in name or "INSECURE" in name}
    assert server.health_command == ["python", "-m", "paramserver.cli.health"]
    labels = server.last("LABEL")
    for label in ("title", "description", "licenses"):
        assert f"org.opencontainers.image.{label}=" in labels


def test_nothing_comes_from_the_network_but_locked_packages() -> None:
    commands = [value for stage in STAGES.values() for name, value in stage.instructions if name == "RUN"]
    assert not [command for command in commands if re.search(r"\b(curl|wget|git|apt-get)\b", command)]
    assert STAGES["builder"].environment["PIP_NO_CACHE_DIR"] == "1"
    assert not [value for stage in STAGES.values() for name, value in stage.instructions if name == "ADD"]
    installs = [step for command in commands for step in command.split("&&") if " install " in step and "pip" in step]
    assert len(installs) == 4
    for step in installs:
        assert "--no-deps" in step
        assert "--require-hashes -r locks/" in step or step.strip().endswith("/dist/paramserver-*.whl")
    (build,) = [step for command in commands for step in command.split("&&") if "pip wheel" in step]
    assert "--no-deps" in build
    assert "--no-build-isolation" in build


def test_the_builder_sees_what_it_copies_and_no_more() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied: set[str] = set()
    for stage in STAGES.values():
        for name, value in stage.instructions:
            if name == "COPY" and not value.startswith("--from="):
                copied.update(value.split()[:-1])
    assert copied == set(allowed)
    for source in copied:
        assert (ROOT / source).exists(), source
    for secret in ("secrets", ".git", "data", ".venv", ".env"):
        assert not any(fnmatch(secret, pattern) for pattern in allowed)
