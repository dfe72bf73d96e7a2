"""Every example of the help texts, and of docs/command-line.md, run as it stands against a real server.

What stands for the reader's own surroundings is set up: the server, files in the working directory, and the address
127.0.0.1:8080 wherever a line names it.
"""

from __future__ import annotations

import glob
import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jq
import numpy as np
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from paramserver.cli import application
from paramserver_client import ParameterClient
from support.server import LISTENING, Server

DOCS = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()
OWN_ADDRESS = "127.0.0.1:8080"


def commands_of(text: str) -> list[str]:
    """The example lines of a help text, without what they are explained by."""
    return [re.split(r"\s{3,}", line.strip())[0] for line in text.splitlines() if "paramserver " in line]


def epilogs() -> Iterator[tuple[str, str]]:
    """Name and examples of each command."""
    command = get_command(application())
    yield "paramserver", command.epilog or ""
    for name, each in command.commands.items():
        yield name, each.epilog or ""
        for sub_name, sub in getattr(each, "commands", {}).items():
            yield f"{name} {sub_name}", sub.epilog or ""


def examples() -> Iterator[tuple[str, list[str]]]:
    """Name and example lines of each command, and of the documentation."""
    for name, text in epilogs():
        yield name, [line for line in commands_of(text) if "COMMAND" not in line]
    blocks = re.findall(r"```console\n(.*?)```", DOCS, re.DOTALL)
    yield "docs", [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


EXAMPLES = dict(examples())


@pytest.fixture
def surroundings(
    running: Server, client: ParameterClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ParameterClient:
    """The working directory of somebody who uses that server."""
    for name in ("epoch-3", "latest-but-one"):
        client.save(name, step=1)
    client.create_optimizer("Adam", "adam", learning_rate=0.1)
    data = next(each for each in running.process.args if each.endswith("/data"))
    (tmp_path / "data").symlink_to(data)
    (tmp_path / "paramserver.toml").write_text("max_to_keep = 3\n")
    np.save(tmp_path / "w.npy", np.ones((3, 4), np.float32))
    (file,) = (tmp_path / "data" / "checkpoints").glob("epoch-3.*/model.safetensors")
    (tmp_path / "model.safetensors").write_bytes(file.read_bytes())
    for part in (Path(__file__).parents[1] / "golden" / "tensorflow").glob("parts.ckpt.*"):
        (tmp_path / part.name.replace("parts.ckpt", "model.ckpt-1000")).write_bytes(part.read_bytes())
    monkeypatch.chdir(tmp_path)
    return client


def run_jq(stage: str, document: bytes) -> bytes:
    """What the command `jq` prints, by the library it is made of: not every machine has the command."""
    *options, program = shlex.split(stage)[1:]
    assert set(options) <= {"-r"}, stage
    found = jq.compile(program).input_text(document.decode()).all()
    raw = "-r" in options
    return "\n".join(each if raw and isinstance(each, str) else json.dumps(each) for each in found).encode()


def run_line(line: str, url: str) -> None:
    """Run a line as a shell would: our own command in this process, what it is piped from or to in another."""
    stages = [stage.strip() for stage in re.split(r" \| (?=jq|paramserver)", line)]
    output = b""
    for stage in stages:
        if stage.startswith("jq "):
            output = run_jq(stage, output)
            continue
        if not stage.startswith("paramserver "):
            output = subprocess.run(
                ["bash", "-c", stage], input=output, capture_output=True, timeout=60, check=True
            ).stdout
            continue
        words = shlex.split(stage.replace(OWN_ADDRESS, url.removeprefix("http://")))[1:]
        arguments = [name for word in words for name in (glob.glob(word) or [word])]
        done = CliRunner().invoke(application(), arguments, input=output, env={"PARAMSERVER_URL": url})
        assert done.exit_code == 0, f"{line}\n{done.output}"
        output = done.stdout_bytes
        if "--json" in arguments:
            json.loads(output)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "serve"])
def test_examples_run_as_they_stand(name: str, running: Server, surroundings: ParameterClient) -> None:
    assert EXAMPLES[name], f"{name} --help teaches by no example"
    for line in EXAMPLES[name]:
        if "paramserver serve" not in line:
            run_line(line, running.url)


def test_no_example_is_wider_than_a_terminal() -> None:
    for name, text in epilogs():
        for line in text.splitlines():
            # The help indents what it shows by two.
            assert len(line) + 2 <= 80, f"{name} --help: {line}"


def test_examples_of_serve_run_until_they_are_told_to_stop(tmp_path: Path) -> None:
    started = []
    for number, line in enumerate(EXAMPLES["serve"]):
        # Each for itself, and on any port: 8080 may be taken.
        place = tmp_path / str(number)
        place.mkdir()
        (place / "paramserver.toml").write_text("max_to_keep = 3\n")
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "paramserver.cli", *shlex.split(line)[1:]],
                stdout=subprocess.PIPE,
                text=True,
                cwd=place,
                env={"PARAMSERVER_PORT": "0"},
            )
        )
    for process in started:
        assert process.stdout is not None
        with process.stdout:
            assert any(LISTENING.search(line) for line in iter(process.stdout.readline, "")), process.args
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
