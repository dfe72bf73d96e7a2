from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paramserver_wire.errors import InvalidName
from paramserver_wire.names import MAX_SLOT_NAME, ancestors, check_checkpoint_id, check_name, in_scope
from support.arrays import QUICK


@pytest.mark.parametrize("name", ["w", "conv1/weight", "a.b-c_D9", "_x", ".hidden", "...", "a/.x/..y", "0", "a" * 200])
def test_legal_names_come_back(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/..",
        "../a",
        "a/./b",
        "-a",
        "a/-b",
        "a:0",
        "a b",
        "a\n",
        "a\x00",
        "é",
        "a\\b",
        "a%2f",
        "a?b",
        "a" * 201,
        "�",
        "１",
        "w:assign",
    ],
)
def test_illegal_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidName, match="name"):
        check_name(name)


@pytest.mark.parametrize("name", [None, 3, True, b"w", ["w"]])
def test_a_name_is_text(name: object) -> None:
    with pytest.raises(InvalidName, match="text"):
        check_name(name)


def test_slots_may_have_longer_names() -> None:
    assert check_name("a" * 255, limit=MAX_SLOT_NAME)
    with pytest.raises(InvalidName, match="at most 255"):
        check_name("a" * 256, limit=MAX_SLOT_NAME)


@QUICK
@given(st.text(alphabet="aZ9_.-/:\n é", max_size=12))
def test_the_rule_agrees_with_one_written_the_slow_way(name: str) -> None:
    legal = all(re.match(r"^[A-Za-z0-9_.]", part) and part not in (".", "..") for part in name.split("/"))
    legal = legal and all(character.isascii() and (character.isalnum() or character in "_.-/") for character in name)
    try:
        assert check_name(name) == name
        assert legal
    except InvalidName:
        assert not legal


def test_a_long_hostile_name_is_refused_at_once() -> None:
    with pytest.raises(InvalidName, match="10000001 characters") as refusal:
        check_name("./" * 5_000_000 + ":")
    assert len(refusal.value.detail) < 200


def test_checkpoint_ids_follow_the_rule_of_names_but_latest_is_taken() -> None:
    assert check_checkpoint_id("temp/test-3") == "temp/test-3"
    assert check_checkpoint_id("latest/x") == "latest/x"
    with pytest.raises(InvalidName, match="reserved"):
        check_checkpoint_id("latest")
    with pytest.raises(InvalidName, match="checkpoint id"):
        check_checkpoint_id("../x")


@pytest.mark.parametrize(
    ("scope", "name", "inside"),
    [
        ("", "w", True),
        ("conv1", "conv1", True),
        ("conv1", "conv1/w", True),
        ("conv1", "conv10/w", False),
        ("a/b", "a", False),
        ("a/b", "a/b/c/d", True),
        ("w", "a/w", False),
    ],
)
def test_scopes_hold_whole_segments(scope: str, name: str, inside: bool) -> None:
    assert in_scope(scope, name) is inside


def test_ancestors_are_the_scopes_from_outside_in() -> None:
    assert ancestors("w") == []
    assert ancestors("a/b/w") == ["a", "a/b"]
    assert all(in_scope(scope, "a/b/w") for scope in ancestors("a/b/w"))
