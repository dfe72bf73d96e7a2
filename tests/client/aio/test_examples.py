"""The examples in the docstrings of the async client, where `await` may stand by itself."""

from __future__ import annotations

import ast
import asyncio
import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import CodeType, ModuleType
from typing import Any

import pytest

import paramserver_client as ps
from paramserver_client import aio
from paramserver_client.aio import calls


def modules_with_examples() -> Iterator[ModuleType]:
    for package in (aio, calls):
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(found.name)
            if ">>> " in inspect.getsource(module):
                yield module


@pytest.mark.parametrize("module", list(modules_with_examples()), ids=lambda module: module.__name__)
def test_the_examples_in_the_docstrings_run(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    with asyncio.Runner() as runner:

        def compiled(source: str, filename: str, mode: str, flags: int, dont_inherit: bool) -> CodeType:
            flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            return compile(source, filename, mode, flags, dont_inherit)  # type: ignore[no-any-return]

        def run(code: CodeType, names: dict[str, Any]) -> None:
            result = eval(code, names)  # noqa: S307 - these are our own docstrings
            if inspect.iscoroutine(result):
                runner.run(result)

        monkeypatch.setattr(doctest, "compile", compiled, raising=False)
        monkeypatch.setattr(doctest, "exec", run, raising=False)
        failed, examples = doctest.testmod(module, extraglobs={"AsyncParameterClient": ps.AsyncParameterClient})
    assert examples > 0
    assert not failed
