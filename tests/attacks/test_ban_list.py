"""What our packages never do: run what came from outside (CWE-502 pickle, CWE-95 eval, CWE-78 shell), or trust a name (CWE-377)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import paramserver
import paramserver_client
import paramserver_wire

ROOMS = [Path(package.__file__ or "").parent for package in (paramserver, paramserver_client, paramserver_wire)]
SOURCES = sorted((path, room.parent) for room in ROOMS for path in room.rglob("*.py"))

MODULES = frozenset({"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "dbm", "yaml", "imp", "telnetlib", "ftplib", "xmlrpc", "pty", "xml"})  # fmt: skip
BUILTINS = frozenset({"eval", "exec", "compile", "__import__", "input", "breakpoint"})
CALLS = frozenset({"os.system", "os.popen", "os.execv", "os.execvp", "os.spawnv", "tempfile.mktemp", "torch.load", "ctypes.CDLL"})  # fmt: skip
# Harmless only with the word.
WITHOUT_PICKLE = frozenset({"np.load", "numpy.load"})


def banned(source: str) -> Iterator[tuple[int, str]]:
    """The line and the name of everything in `source` that is on the list."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, each.name) for each in node.names if each.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            yield node.lineno, node.module or ""
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            plain = any(each.arg == "allow_pickle" and ast.unparse(each.value) == "False" for each in node.keywords)
            if called in BUILTINS or called in CALLS or (called in WITHOUT_PICKLE and not plain):
                yield node.lineno, called
            for keyword in node.keywords:
                told = isinstance(keyword.value, ast.Constant) and bool(keyword.value.value)
                if (keyword.arg in ("shell", "allow_pickle") and told) or (
                    keyword.arg == "verify" and not told and isinstance(keyword.value, ast.Constant)
                ):
                    yield node.lineno, f"{called}({keyword.arg}={ast.unparse(keyword.value)})"


@pytest.mark.parametrize("path", [pytest.param(path, id=str(path.relative_to(above))) for path, above in SOURCES])
def test_nothing_of_it_is_in(path: Path) -> None:
    found = [f"line {line}: {name}" for line, name in banned(path.read_text())]
    assert found == []


@pytest.mark.parametrize(
    "planted",
    [
        "import pickle",
        "from yaml import safe_load",
        "import xml.etree.ElementTree as tree",
        "def f(x):\n    return eval(x)",
        "exec('1')",
        "import importlib; __import__(name)",
        "import os; os.system(command)",
        "subprocess.run(command, shell=True)",
        "np.load(file)",
        "np.lib.format.read_array(file, allow_pickle=True)",
        "torch.load(path)",
        "tempfile.mktemp()",
        "httpx.get(url, verify=False)",
    ],
)
def test_what_is_planted_is_found(planted: str) -> None:
    assert list(banned(planted))


def test_what_is_harmless_is_let_be() -> None:
    assert not list(
        banned(
            "import json\nsubprocess.run(words, shell=False)\nre.compile('x')\nnp.load(file, allow_pickle=False)\nself.eval(x)\nhttpx.get(url, verify=context)"
        )
    )
