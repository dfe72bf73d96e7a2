from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paramserver.grants import ALL, EVERYTHING, ROLES, Grant, Need, Role, grant_of, refused
from support.arrays import QUICK

NAMES = st.lists(st.sampled_from(["model", "model2", "a", "mod"]), min_size=1, max_size=3).map("/".join)
NEEDS = st.builds(Need, st.sampled_from(ROLES), NAMES, st.booleans())


@pytest.mark.parametrize(
    ("right", "covered", "not_covered"),
    [
        ("read:*", ["read:a", "read:a/b/*", "read:*"], ["write:a", "admin:*"]),
        (
            "write:model/*",
            ["read:model", "write:model", "write:model/a/b", "write:model/a/*"],
            ["write:model2", "write:*"],
        ),
        ("write:model/*", ["read:model/*"], ["read:mod", "read:model2/model", "admin:model/a", "read:a/model"]),
        ("admin:model/step", ["write:model/step"], ["read:model/step/*", "read:model/step/a", "read:model/step2"]),
    ],
)
def test_what_a_right_covers(right: str, covered: list[str], not_covered: list[str]) -> None:
    grant = grant_of("somebody", right)
    wanted = {text: text in covered for text in (*covered, *not_covered)}
    assert {text: grant.allows(grant_of("", text).rights[0]) for text in wanted} == wanted


@given(right=NEEDS, need=NEEDS)
@QUICK
def test_a_right_covers_by_whole_segments_and_by_rank(right: Need, need: Need) -> None:
    inside = need.name.split("/")[: right.name.count("/") + 1] == right.name.split("/")
    placed = inside if right.below else (need.name == right.name and not need.below)
    ranked = ROLES.index(right.role) >= ROLES.index(need.role)
    assert Grant("", (right,)).allows(need) is (placed and ranked)


@given(need=NEEDS)
@QUICK
def test_everything_and_nothing(need: Need) -> None:
    assert EVERYTHING.allows(need)
    assert not Grant("", ()).allows(need)
    assert str(grant_of("", str(need)).rights[0]) == str(need)


def test_several_rights_add_up() -> None:
    grant = grant_of("w", "read:*, write:model/*")
    assert not grant.unlimited
    assert grant_of("ops", "admin:*").unlimited
    needs: list[tuple[Role, str]] = [
        ("read", "a"),
        ("write", "model/a"),
        ("write", "a"),
        ("write", "a"),
        ("admin", "model/a"),
    ]
    assert refused(grant, [Need(*need) for need in needs]) == [Need("write", "a"), Need("admin", "model/a")]
    assert grant.sees("anything")
    assert not grant.allows(ALL)
