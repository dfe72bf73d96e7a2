"""The guide for operators, every command as it stands: where it says compose, the server runs as compose would run it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from support.pages import blocks_of
from support.raw_http import eventually
from support.server import Server

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guides" / "in-the-open.md"
BASE = yaml.safe_load((ROOT / "compose.yaml").read_text())
ADDED = yaml.safe_load((ROOT / "compose.tls.yaml").read_text())
COMPOSE = "docker compose -f compose.yaml -f compose.tls.yaml"


class Operator:
    """Types the commands into one shell after the other, in a directory where only the secrets are."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.server: Server | None = None
        self.exported: dict[str, str] = {}

    def type(self, command: str) -> str:
        if command.startswith(f"{COMPOSE} up"):
            self.start()
            return ""
        if command.startswith(f"{COMPOSE} kill --signal HUP"):
            assert self.server is not None
            self.server.process.send_signal(signal.SIGHUP)
            return ""
        assert "docker" not in command
        if command.startswith("export "):
            self.exported |= dict(word.split("=", 1) for word in self.as_run(command).split()[1:])
            return ""
        bin_dir = Path(sys.executable).parent
        done = subprocess.run(
            ["bash", "-euc", self.as_run(command)],
            cwd=self.place,
            env={**os.environ, "PATH": f"{bin_dir}:{os.environ['PATH']}", **self.exported},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def as_run(self, command: str) -> str:
        """On the port that the server has here."""
        return (
            command
            if self.server is None
            else command.replace("https://localhost:8443", self.server.url.replace("127.0.0.1", "localhost"))
        )

    def start(self) -> None:
        """As the container would: with the settings that compose gives it, and its secrets from where compose takes them."""
        files = {
            f"/run/secrets/{name}": self._mounted(self.place / told["file"]) for name, told in ADDED["secrets"].items()
        }
        flags = []
        environment = {**BASE["services"]["server"]["environment"], **ADDED["services"]["server"]["environment"]}
        for name, value in environment.items():
            value = re.sub(r"\$\{\w+:-(.*)\}", r"\1", value).replace("/data/", f"{self.place}/")
            if name not in ("PARAMSERVER_PORT", "PARAMSERVER_UDS"):
                flags += [
                    f"--{name.removeprefix('PARAMSERVER_').lower().replace('_', '-')}",
                    str(files.get(value, value)),
                ]
        self.server = Server(*flags, data_dir=self.place / "data")
        self.server.start()

    def _mounted(self, file: Path) -> Path:
        """A file as the container has it: another name of the one that is there now. One that takes its place it never sees."""
        (self.place / "mounted").mkdir(exist_ok=True)
        os.link(file, self.place / "mounted" / file.name)
        return self.place / "mounted" / file.name


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    operator = Operator(tmp_path)
    yield operator
    if operator.server is not None:
        operator.server.stop()


def commands() -> list[str]:
    """Every command of the page, in order; those of several lines as one."""
    text = "".join(block.text for block in blocks_of(PAGE) if block.language == "bash")
    return [command.replace("\n", " ") for command in text.replace("\\\n", "").strip().split("\n")]


def test_the_guide_as_it_stands(operator: Operator) -> None:
    answers: list[str] = []
    kept = ""
    for command in commands():
        if command.startswith("old="):
            kept = command
            continue
        told = f"{kept}; {command}" if "$old" in command else command
        if "HUP" in command:
            operator.type(command)
            settled(operator)
            continue
        answers.append(operator.type(told))
    codes = [json.loads(answer).get("code", "done") for answer in answers if answer.startswith("{")]
    assert codes == ["unauthenticated", "done", "forbidden", "forbidden", "done", "unauthenticated", "done"]
    assert "[1. 2.]\n" in answers
    assert any("model/w" in answer and "float32" in answer for answer in answers)
    lines = [json.loads(line) for line in (operator.place / "audit.jsonl").read_text().splitlines()]
    assert [(each["who"], each["did"], each["code"]) for each in lines] == [("worker", "delete_variable", "forbidden")]
    for name in ("ops", "worker", "worker2"):
        token = (operator.place / "secrets" / f"{name}.token").read_text().strip()
        assert token not in (operator.place / "secrets" / "tokens").read_text()
        assert token not in (operator.place / "audit.jsonl").read_text()


def settled(operator: Operator) -> None:
    """Wait until the file of tokens, as it is now, is what the server goes by."""
    secrets = operator.place / "secrets"
    rotated = secrets / ("worker2.token" if "worker" in (secrets / "tokens").read_text() else "ops.token")
    listed = len((secrets / "tokens").read_text().splitlines())
    old = "in" if listed == 3 else "out"

    def gone_on() -> bool:
        def status(token: Path) -> str:
            return operator.type(
                f"curl --silent --output /dev/null --write-out '%{{http_code}}' --cacert secrets/cert.pem "
                f"-H 'Authorization: Bearer {token.read_text().strip()}' https://localhost:8443/v1/variables"
            )

        return status(rotated) == "200" and status(secrets / "worker.token") == ("200" if old == "in" else "401")

    eventually(gone_on)
