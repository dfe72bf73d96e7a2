"""How sizes, ages, tables and documents look."""

from __future__ import annotations

import doctest
import json

import pytest

from paramserver.cli import showing
from paramserver.cli.showing import Column, json_text, names_text, print_fields, print_table, size_text

COLUMNS = (Column("name"), Column("size", right=True), Column("updated", spare=True))
ROWS = [("conv1/weight", "800 B", "12 s"), ("b", "1.0 kB", "now")]


def test_examples_of_the_docstrings_hold() -> None:
    assert doctest.testmod(showing).failed == 0


def test_a_pipe_gets_bare_words_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, ROWS)
    assert capsys.readouterr().out.splitlines() == [
        "name            size  updated",
        "conv1/weight   800 B  12 s",
        "b             1.0 kB  now",
    ]


def test_a_pipe_gets_long_names_uncut(capsys: pytest.CaptureFixture[str]) -> None:
    name = "a" * 200
    print_table(COLUMNS, [(name, "1 B", "now")])
    assert f"{name}   1 B  now" in capsys.readouterr().out


def test_a_terminal_gets_a_ruled_head(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    as_terminal(monkeypatch, 80)
    print_table(COLUMNS, ROWS)
    head, rule, *rows = capsys.readouterr().out.splitlines()
    assert "updated" in head
    assert "\x1b[1m" in head
    assert set(rule.strip()) == {"─"}
    assert len(rows) == 2


def test_a_narrow_terminal_goes_without_spare_columns_before_it_folds_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    as_terminal(monkeypatch, 24)
    print_table(COLUMNS, ROWS)
    narrow = capsys.readouterr().out
    assert "updated" not in narrow
    assert "conv1/weight" in narrow
    as_terminal(monkeypatch, 16)
    print_table(COLUMNS, ROWS)
    narrowest = capsys.readouterr().out
    assert "conv1/weight" not in narrowest
    assert "1.0 kB" in narrowest


def test_no_color_is_obeyed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    as_terminal(monkeypatch, 80)
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(COLUMNS, ROWS)
    assert "\x1b[3" not in capsys.readouterr().out


def test_text_with_brackets_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_table((Column("name"),), [("[red]x[/red]",)])
    assert "[red]x[/red]" in capsys.readouterr().out


def test_fields_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    print_fields({"shape": "3x4", "collections": "variables", "empty": ""})
    assert capsys.readouterr().out.splitlines() == [
        "  shape        3x4",
        "  collections  variables",
        "  empty        ",
    ]


def test_json_text_has_one_field_or_item_a_line_and_is_json() -> None:
    document = {"id": "x", "value": [[1, 2], [3, 4]], "files": [{"name": "a"}, {"name": "b"}], "none": []}
    text = json_text(document)
    assert json.loads(text) == document
    assert len(text.splitlines()) == 9


def test_of_very_many_names_the_first_are_listed() -> None:
    text = names_text([f"v{number}" for number in range(30)])
    assert "v19" in text
    assert "v20" not in text
    assert "10 more" in text


@pytest.mark.parametrize("power", range(1, 6))
def test_sizes_never_show_four_digits_before_the_point(power: int) -> None:
    for nbytes in (1000**power - 1, 1000**power, 999_949 * 1000 ** (power - 1)):
        assert len(size_text(nbytes).split()[0].split(".")[0]) <= 3


def as_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    for name in ("NO_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
