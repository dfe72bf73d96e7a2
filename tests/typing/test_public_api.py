from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import paramserver_client as ps

PUBLIC_API = Path(__file__).with_name("public_api.py")
TREE = ast.parse(PUBLIC_API.read_text())


def test_the_types_are_what_they_promise() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(PUBLIC_API)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=110,
    )
    assert run.stdout == ""
    assert run.returncode == 0, run.stderr


def test_every_public_name_is_held_to_its_type() -> None:
    named = {
        node.attr
        for node in ast.walk(TREE)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ps"
    }
    # The errors are all alike: `ParameterServerError` speaks for them.
    kinds = {name for name in ps.__all__ if name.endswith("Error")}
    assert all(issubclass(getattr(ps, name), ps.ParameterServerError) for name in kinds)
    assert set(ps.__all__) - named - kinds == set()


def test_every_call_is_held_to_its_type_for_both_clients() -> None:
    calls = {name for name in dir(ps.ParameterClient) if not name.startswith("_")}
    for function, awaited in (("threads", False), ("tasks", True)):
        (body,) = (node for node in TREE.body if getattr(node, "name", "") == function)
        called = {
            node.func.attr
            for node in ast.walk(body)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        }
        assert calls - called - {"transport"} == set(), f"{function} (awaited: {awaited})"
