"""Every route, code, setting, command and word appears in the documentation, and links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from typer.main import get_command

from paramserver.cli import application
from paramserver.http.openapi import codes_of, document_of
from paramserver.http.routes import ROUTES, SECTIONS
from paramserver.settings import Settings
from paramserver_client import errors
from paramserver_client.graph import train
from paramserver_wire.codes import CODES
from paramserver_wire.messages import OPERATIONS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
REST = (ROOT / "docs" / "rest.md").read_text()
COMMAND_LINE = (ROOT / "docs" / "command-line.md").read_text()


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_route_and_argument_is_in_the_reference(name: str) -> None:
    operation = OPERATIONS[name]
    row = next(
        (
            line
            for line in REST.splitlines()
            if re.match(rf"\| `{operation.method} {re.escape(operation.path)}[`?]", line)
        ),
        None,
    )
    assert row is not None, f"{operation.method} {operation.path}"
    for argument, place in operation.places.items():
        if place in ("query", "body") and ":assign" not in operation.path:
            assert operation.wire_names.get(argument, argument) in row, f"{argument} of {operation.path}"


def test_the_page_of_every_route_is_what_would_be_made_today() -> None:
    spec = importlib.util.spec_from_file_location("make_rest_reference", ROOT / "scripts" / "make_rest_reference.py")
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    made = maker.page(document_of(SECTIONS))
    assert made == maker.PAGE.read_text(), "run `make generate`"
    for operation in OPERATIONS.values():
        assert f"`{operation.method} {operation.path}`" in made
    for code in {code for route in ROUTES for code in codes_of(route)}:
        assert f"`{code}`" in made


def test_everything_for_training_is_on_the_page_of_the_graph() -> None:
    page = (ROOT / "docs" / "graph.md").read_text()
    clipping = ("clip_by_value", "clip_by_norm", "clip_by_average_norm", "clip_by_global_norm", "global_norm")
    assert [name for name in (*train.__all__, *clipping) if f"`{name}`" not in page] == []


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_in_the_reference(code: str) -> None:
    assert f"`{code}`" in REST
    assert code in errors.BY_CODE


@pytest.mark.parametrize("setting", Settings.model_fields)
def test_every_setting_is_in_the_reference(setting: str) -> None:
    assert f"`PARAMSERVER_{setting.upper()}`" in COMMAND_LINE


@pytest.mark.parametrize("command", sorted(get_command(application()).commands))
def test_every_command_is_in_the_reference(command: str) -> None:
    assert f"`paramserver {command}" in COMMAND_LINE


@pytest.mark.parametrize("setting", Settings.model_fields)
def test_the_default_in_the_reference_is_the_setting_s(setting: str) -> None:
    rows = [[cell.strip() for cell in line.split("|")] for line in COMMAND_LINE.splitlines() if line.startswith("|")]
    (told,) = [row[3] for row in rows if row[2] == f"`PARAMSERVER_{setting.upper()}`"]
    default = Settings.model_fields[setting].default
    if isinstance(default, int | float) and not isinstance(default, bool):
        number, _, unit = told.replace(",", "").partition(" ")
        assert float(number) * {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "GB": 10**9}[unit] == default
    elif isinstance(default, str | bool):
        assert told == str(default).lower()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_tests_named_by_the_guarantees_exist() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text()
    named = re.findall(r"`(tests/[\w/.]+)`", text)
    assert len(named) > 10
    for path in named:
        assert (ROOT / path).exists(), path
