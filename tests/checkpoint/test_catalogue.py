"""Which checkpoints are to go, and how they are listed: pure decisions."""

from __future__ import annotations

import pytest

from paramserver.checkpoint import About, CheckpointCorrupt, CheckpointTooNew
from paramserver.checkpoint.catalogue import (
    Entry,
    Summary,
    decode_listing,
    directory_name,
    encode_listing,
    newest_first,
    recovery_points,
    to_retire,
)


def entry(id: str, sequence: int, *, series: str = "s", full: bool = False, server: str = "me") -> Entry:
    about = About(id, 0.0, full=full, series=series, sequence=sequence, server=server)
    return Entry(id, f"{id}.{sequence:06x}", sequence, Summary(about, sequence, 1, (), ()))


def retired(entries: list[Entry], max_to_keep: int, **more: list[str]) -> list[str]:
    return [old.id for old in to_retire(entries, "s", max_to_keep, server="me", spared=more.get("spared", ()))]


def test_the_oldest_of_a_series_go() -> None:
    entries = [entry("c", 3), entry("a", 1), entry("d", 4), entry("b", 2)]
    assert retired(entries, 2) == ["b", "a"]
    assert retired(entries, 4) == []
    assert retired(entries, 0) == []
    assert retired(entries, 1, spared=["b"]) == ["c", "a"]
    assert retired([*entries, entry("x", 9, series="t")], 4) == []


def test_the_newest_full_one_of_this_server_stays() -> None:
    entries = [entry("old", 1, full=True), entry("full", 2, full=True), entry("p", 3), entry("q", 4)]
    assert retired(entries, 1) == ["p", "old"]
    assert retired([*entries, entry("elsewhere", 5, full=True, series="t")], 1) == ["p", "full", "old"]
    assert retired([*entries, entry("foreign", 5, full=True, server="you")], 1) == ["q", "p", "old"]


def test_a_damaged_one_is_nobodys_to_retire() -> None:
    damaged = Entry("bad", "bad.000001", 1, None, "broken")
    assert retired([damaged, entry("a", 2), entry("b", 3)], 1) == ["a"]
    assert recovery_points([damaged, entry("f", 2, full=True)], "me") == [entry("f", 2, full=True)]
    assert damaged.info()["state"] == "damaged"


def test_the_listing_comes_back() -> None:
    entries = newest_first([entry("a", 1), entry("b/c", 2)])
    listed = decode_listing(encode_listing(entries).replace(b"b/c.", b"b%2Fc."), "here")
    assert [(one.id, one.directory, one.sequence) for one in listed] == [
        ("b/c", "b%2Fc.000002", 2),
        ("a", "a.000001", 1),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"null",
        b"{}",
        b'{"format_version": 0, "checkpoints": []}',
        b'{"format_version": 1, "checkpoints": [{"id": "a", "directory": "../../etc", "sequence": 1}]}',
        b'{"format_version": 1, "checkpoints": [{"id": "a", "directory": "a/b.000001", "sequence": 1}]}',
        b'{"format_version": 1, "checkpoints": [{"id": "a", "directory": "a.000001", "sequence": true}]}',
        b'{"format_version": 1, "checkpoints": [{"directory": "a.000001", "sequence": 1}]}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_listing_is_refused(content: bytes) -> None:
    with pytest.raises(CheckpointCorrupt, match="here"):
        decode_listing(content, "here")


def test_a_newer_listing_is_refused_by_name() -> None:
    with pytest.raises(CheckpointTooNew, match="here was written by a newer version"):
        decode_listing(b'{"format_version": 2}', "here")


@pytest.mark.parametrize("id", ["m", "a/b", "..x", "a" * 200, "/".join("a" * 100), "x.saving", "checkpoint.json"])
def test_a_directory_name_is_one_plain_name(id: str) -> None:
    name = directory_name(id, "0a1b2c")
    assert "/" not in name
    assert name.endswith(".0a1b2c")
    assert len(name) <= 207
