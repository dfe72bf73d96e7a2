"""The README's lines, run as they stand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.server import Server

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CONSOLE = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
CURL = [block for block in CONSOLE if "$ curl" in block]


def lines_of(block: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output shown below it."""
    found: list[tuple[str, str]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        else:
            found[-1] = (found[-1][0], found[-1][1] + line)
    return found


def shown(output: str) -> str:
    """Output as the README shows it: what differs at every run is an ellipsis."""
    return re.sub(r'("(?:incarnation|updated_at)":)"[^"]*"', r'\1"…"', output).strip()


def test_the_curl_lines_do_what_the_readme_says(tmp_path: Path) -> None:
    assert len(CURL) == 2
    assert shutil.which("curl"), "the README is for people with curl"
    with Server(data_dir=tmp_path / "data") as server:
        # The lines name port 8080; this server has whatever port was free.
        address = server.url.removeprefix("http://")
        (tmp_path / ".curlrc").write_text(f"connect-to = localhost:8080:{address}\nsilent\n")
        environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
        for command, wanted in (line for block in CURL for line in lines_of(block)):
            run = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment, timeout=30)
            assert run.returncode == 0, (command, run.stderr)
            assert run.stdout, command
            if wanted:
                assert shown(run.stdout) == wanted
            else:
                assert '"status":' not in run.stdout, run.stdout


@pytest.mark.parametrize(
    "path", ["README.md", *sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").rglob("*.md"))]
)
def test_python_examples_run(path: str, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / path).read_text(), re.DOTALL)
    for number, block in enumerate(blocks):
        script = tmp_path / f"example_{number}.py"
        script.write_text(block)
        run = subprocess.run(
            [sys.executable, "-W", "error", str(script)], capture_output=True, text=True, cwd=tmp_path, timeout=60
        )
        assert run.returncode == 0, f"{path}, example {number}:\n{run.stderr}"


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = [line[len("$ make ") :] for line in CONSOLE[0].splitlines()]
    assert targets == ["demo", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
