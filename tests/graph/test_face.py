"""The public face: its names, its examples, and what importing it does not pull in."""

from __future__ import annotations

import doctest
import importlib
import pathlib
import pkgutil
import re
import subprocess
import sys

import pytest

import paramserver_client.graph as tf

OPERATIONS = {"control_flow", "ops_activation", "ops_check", "ops_clip", "ops_elements", "ops_join", "ops_math", "ops_matmul",
              "ops_nn", "ops_norm", "ops_rearrange", "ops_reduce", "ops_scan", "ops_slice", "ops_unary", "ops_watch",
              "ops_window"}  # fmt: skip
ASSERTED = ("equal", "none_equal", "less", "less_equal", "greater", "greater_equal", "near", "positive", "negative",
            "non_negative", "non_positive", "rank", "rank_at_least", "rank_in", "scalar", "type", "integer")  # fmt: skip
MODULES = sorted(module.name for module in pkgutil.iter_modules(tf.__path__))

SPACES = (tf.nn, tf.math, tf.debugging, tf.layers, tf.losses, tf.metrics, tf.contrib.layers)


def test_every_public_name_is_there_once() -> None:
    assert len(set(tf.__all__)) == len(tf.__all__)
    for name in tf.__all__:
        assert hasattr(tf, name), name
    for namespace in (tf.nn, tf.train, tf.errors, *SPACES):
        for name in namespace.__all__:
            assert hasattr(namespace, name), name
        assert list(namespace.__all__) == sorted(namespace.__all__)


@pytest.mark.parametrize("module", ["", *(f".{name}" for name in MODULES)])
def test_examples(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"{tf.__name__}{module}"))
    assert found.failed == 0


def test_public_functions_and_classes_say_what_they_do() -> None:
    silent = {"abs", "exp", "negative", "neg", "sign", "sqrt", "square", "tanh", "not_equal", "less", "less_equal",
              "greater", "greater_equal", "logical_and", "logical_or", "logical_not", "logical_xor"}  # fmt: skip
    for name in tf.__all__:
        found = getattr(tf, name)
        if callable(found) and not isinstance(found, tf.DType):
            assert found.__doc__ or name in silent, name
    for namespace in SPACES:
        for name in namespace.__all__:
            assert getattr(namespace, name).__doc__ or name in silent, name


def test_the_page_of_the_graph_lists_every_operation_and_layer() -> None:
    page = (pathlib.Path(__file__).parents[2] / "docs" / "graph.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`([A-Za-z_0-9]+)`", page))
    asserted = {f"assert_{word}" for word in ASSERTED}
    for namespace in SPACES:
        assert set(namespace.__all__) - asserted <= listed, set(namespace.__all__) - listed
    operations = {
        name for name in tf.__all__ if getattr(getattr(tf, name), "__module__", "").rpartition(".")[2] in OPERATIONS
    }
    aliases = {"mul", "sub", "neg", "lin_space"}
    assert operations - aliases - asserted <= listed, operations - listed


def test_importing_it_brings_no_server() -> None:
    program = (
        "import sys, paramserver_client.graph\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('paramserver', 'fastapi', 'uvicorn', 'pydantic')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_tf_initializers() -> None:
    assert isinstance(tf.initializers.zeros(), tf.zeros_initializer)
    assert tf.initializers.he_normal(3).get_config()["seed"] == 3
