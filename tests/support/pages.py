"""The documentation as a program: the blocks of a page, its Python run from top to bottom, its curl lines run in a shell."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from support.server import Server

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

_RUNNER = """
import contextlib, io, json, sys

name, blocks = json.load(sys.stdin)
namespace, printed = {"__name__": "__main__"}, []
for line, code in blocks:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile("\\n" * line + code, name, "exec"), namespace)
    printed.append(out.getvalue())
json.dump(printed, sys.stdout)
"""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its content, and the line of the page it begins on."""

    language: str
    text: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text()
    return [Block(found[1], found[2], text.count("\n", 0, found.start()) + 1) for found in _BLOCK.finditer(text)]


def run_page(page: Path, directory: Path) -> list[tuple[Block, str, str | None]]:
    """Run all Python of a page in one process, in `directory`: each block, what it printed, and what the page says that
    it prints (the `text` block right below it, if there is one). A block that fails fails the call, with its traceback."""
    blocks = blocks_of(page)
    python = [block for block in blocks if block.language == "python"]
    if not python:
        return []
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", _RUNNER],
        input=json.dumps([page.name, [(block.line, block.text) for block in python]]),
        capture_output=True,
        text=True,
        cwd=directory,
        # On a busy machine the threads of a small matrix product wait for each other.
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        timeout=100,
    )
    assert run.returncode == 0, f"{page.name}:\n{run.stderr}"
    shown = {one: other.text for one, other in pairwise(blocks) if other.language == "text"}
    return [(block, out, shown.get(block)) for block, out in zip(python, json.loads(run.stdout), strict=True)]


def curl_blocks(page: Path) -> list[Block]:
    """The console blocks that ask the server on this machine."""
    return [
        block
        for block in blocks_of(page)
        if block.language == "console" and "$ curl" in block.text and "localhost:8080" in block.text
    ]


def run_curl(page: Path, directory: Path) -> None:
    """Run the curl lines of a page, in order, against a server that was just started; what stands below a line must be
    what it prints, and without that it must print something that is no problem."""
    with Server(data_dir=directory / "data") as server:
        # The lines name port 8080; this server has whatever port was free.
        address = server.url.removeprefix("http://")
        (directory / ".curlrc").write_text(f"connect-to = localhost:8080:{address}\nsilent\n")
        environment = {"HOME": str(directory), "PATH": os.environ["PATH"]}
        for command, wanted in (line for block in curl_blocks(page) for line in _lines_of(block.text)):
            run = subprocess.run(
                command, shell=True, capture_output=True, text=True, env=environment, timeout=30, cwd=directory
            )
            assert run.returncode == 0, (command, run.stderr)
            if wanted:
                assert _shown(run.stdout) == wanted, command
            else:
                assert '"status":' not in run.stdout, (command, run.stdout)


def _lines_of(block: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output shown below it."""
    found: list[tuple[str, str]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        else:
            found[-1] = (found[-1][0], f"{found[-1][1]}\n{line}".strip())
    return found


def _shown(output: str) -> str:
    """Output as a page shows it: what differs at every run is an ellipsis."""
    return re.sub(r'("(?:incarnation|updated_at)":)"[^"]*"', r'\1"…"', output).strip()
