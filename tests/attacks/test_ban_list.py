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
SOURCES = sorted((path, path.relative_to(room.parent).as_posix()) for room in ROOMS for path in room.rglob("*.py"))

MODULES = frozenset({"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "dbm", "yaml", "imp", "telnetlib", "ftplib", "xmlrpc", "pty", "xml", "code", "codeop"})  # fmt: skip
BUILTINS = frozenset({"eval", "exec", "compile", "__import__", "input", "breakpoint"})
NAMES = frozenset({"os.system", "os.popen", "os.posix_spawn", "os.posix_spawnp", "subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell", "tempfile.mktemp", "torch.load", "ctypes.CDLL", "ssl._create_unverified_context", "ssl.CERT_NONE", "runpy.run_path", "runpy.run_module", "numpy.lib.npyio.load", "pandas.read_pickle"})  # fmt: skip
BEGINNINGS = ("os.exec", "os.spawn")
EXCEPTIONS = {
    # It asks its own server on loopback whether it is ready, and sends nothing secret.
    "paramserver/cli/health.py": ["ssl._create_unverified_context"],
}
# Harmless only with the word.
WITHOUT_PICKLE = frozenset({"numpy.load", "numpy.lib.format.read_array"})


def banned(source: str) -> Iterator[tuple[int, str]]:
    """The line and the name of everything in `source` that is on the list, whatever it is called there. What is put together
    while the program runs (`getattr(os, word)`) is not seen."""
    tree = ast.parse(source)
    known = _imported(tree)
    harmless: set[ast.expr] = set()
    # Calls come before what they call.
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, each.name) for each in node.names if each.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            yield node.lineno, node.module or ""
        elif isinstance(node, ast.ImportFrom):
            names = (f"{node.module}.{each.name}" for each in node.names)
            yield from ((node.lineno, name) for name in names if name in NAMES or name.startswith(BEGINNINGS))
        elif isinstance(node, ast.Call):
            called = _full(node.func, known)
            if any(each.arg == "allow_pickle" and ast.unparse(each.value) == "False" for each in node.keywords):
                harmless.add(node.func)
            if called == "importlib.import_module" and not _is_of_ours(node.args[0]):
                yield node.lineno, called
            if called in BUILTINS:
                yield node.lineno, called
            for keyword in node.keywords:
                told = isinstance(keyword.value, ast.Constant) and bool(keyword.value.value)
                if (keyword.arg in ("shell", "allow_pickle") and told) or (
                    keyword.arg == "verify" and not told and isinstance(keyword.value, ast.Constant)
                ):
                    yield node.lineno, f"{called}({keyword.arg}={ast.unparse(keyword.value)})"
        elif isinstance(node, ast.Name | ast.Attribute):
            name = _full(node, known)
            if name in NAMES or name.startswith(BEGINNINGS) or (name in WITHOUT_PICKLE and node not in harmless):
                yield node.lineno, name
        elif isinstance(node, ast.Assign) and any(
            isinstance(each, ast.Attribute) and each.attr == "check_hostname" for each in node.targets
        ):
            if ast.unparse(node.value) != "True":
                yield node.lineno, "check_hostname"
        elif isinstance(node, ast.Assign) and _full(node.value, known) in BUILTINS:
            yield node.lineno, _full(node.value, known)


def _imported(tree: ast.AST) -> dict[str, str]:
    """What the names that a source imports stand for."""
    known = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {each.asname: each.name for each in node.names if each.asname}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            known |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    return known


def _is_of_ours(name: ast.expr) -> bool:
    """Whether what is imported is told in the source and not on the list, or lies below the module that imports it."""
    if isinstance(name, ast.Constant):
        return str(name.value).partition(".")[0] not in MODULES
    return ast.unparse(name).startswith(("f'{__name__}.", 'f"{__name__}.'))


def _full(node: ast.expr, known: dict[str, str]) -> str:
    first, dot, rest = ast.unparse(node).partition(".")
    return (known.get(first, first) + dot + rest).removeprefix("builtins.")


@pytest.mark.parametrize(("path", "name"), [pytest.param(path, name, id=name) for path, name in SOURCES])
def test_nothing_of_it_is_in(path: Path, name: str) -> None:
    found = list(banned(path.read_text()))
    # An exception that is not needed any more has to go.
    assert [each for _, each in found] == EXCEPTIONS.get(name, []), found


@pytest.mark.parametrize(
    "planted",
    [
        "import pickle",
        "from yaml import safe_load",
        "import xml.etree.ElementTree as tree",
        "def f(x):\n    return eval(x)",
        "exec('1')",
        "import importlib; __import__(name)",
        "import importlib; importlib.import_module(name)",
        "from importlib import import_module as get\nget(name)",
        "import builtins; builtins.eval(x)",
        "from builtins import exec as run\nrun(x)",
        "run = eval",
        "from os import system",
        "import os as o; o.system(command)",
        "from os import system as run\nrun(command)",
        "import os; run = os.popen",
        "import os; os.execvpe(file, words, env)",
        "import os; os.spawnlp(0, file)",
        "import asyncio; asyncio.create_subprocess_shell(command)",
        "from tempfile import mktemp as place\nplace()",
        "import numpy; numpy.load(file)",
        "import numpy as n; n.load(file)",
        "from numpy import load\nload(file)",
        "import numpy as np; read = np.load",
        "import ssl; context = ssl._create_unverified_context()",
        "import os; os.system(command)",
        "subprocess.run(command, shell=True)",
        "import numpy as np; np.load(file)",
        "np.lib.format.read_array(file, allow_pickle=True)",
        "import torch; torch.load(path)",
        "import tempfile; tempfile.mktemp()",
        "httpx.get(url, verify=False)",
        "import importlib; importlib.import_module('pickle')",
        "import runpy; runpy.run_path(path)",
        "import code; code.interact()",
        "import numpy as np; np.lib.npyio.load(file)",
        "import ssl; context.verify_mode = ssl.CERT_NONE",
        "context.check_hostname = False",
        "import pandas as pd; pd.read_pickle(path)",
    ],
)
def test_what_is_planted_is_found(planted: str) -> None:
    assert list(banned(planted))


def test_what_is_harmless_is_let_be() -> None:
    assert not list(
        banned(
            "import json\nsubprocess.run(words, shell=False)\nre.compile('x')\nimportlib.import_module('json')\nnumpy.load(file, allow_pickle=False)\nself.eval(x)\nhttpx.get(url, verify=context)"
        )
    )
