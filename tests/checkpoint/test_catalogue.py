"""Which checkpoints count, and how they are listed: pure decisions."""

from __future__ import annotations

from dataclasses import replace

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
)


def entry(id: str, sequence: int, *, series: str = "s", full: bool = False, server: str = "me") -> Entry:
    about = About(id, 0.0, full=full, series=series, sequence=sequence, server=server)
    return Entry(id, f"{id}.{sequence:06x}", sequence, Summary(about, sequence, 1, (), ()))


def test_a_damaged_one_is_no_recovery_point() -> None:
    damaged = Entry("bad", "bad.000001", 1, None, "damaged", "checkpoint_corrupt", "broken")
    assert recovery_points([damaged, entry("f", 2, full=True)], "me") == [entry("f", 2, full=True)]
    info = damaged.info()
    assert (info["state"], info["problem"]) == ("damaged", {"code": "checkpoint_corrupt", "detail": "broken"})


def test_the_listing_comes_back() -> None:
    entries = newest_first([replace(entry("a", 1), kept=True), entry("b/c", 2)])
    content = encode_listing(entries, {"s": 7.5}).replace(b"b/c.", b"b%2Fc.")
    listed = decode_listing(content, "here")
    assert [(one.id, one.directory, one.sequence, one.kept) for one in listed.entries] == [
        ("b/c", "b%2Fc.000002", 2, False),
        ("a", "a.000001", 1, True),
    ]
    assert listed.since == {"s": 7.5}


def test_the_listing_of_the_first_version_is_read() -> None:
    content = b'{"format_version": 1, "checkpoints": [{"id": "a", "directory": "a.000001", "sequence": 1}]}'
    listed = decode_listing(content, "here")
    assert (listed.entries, listed.since) == ((Entry("a", "a.000001", 1, None),), {})


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
        b'{"format_version": 2, "checkpoints": [], "series": []}',
        b'{"format_version": 2, "checkpoints": [], "series": {"s": 1}}',
        b'{"format_version": 2, "checkpoints": [], "series": {"s": {"kept_until": "x"}}}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_listing_is_refused(content: bytes) -> None:
    with pytest.raises(CheckpointCorrupt, match="here"):
        decode_listing(content, "here")


def test_a_newer_listing_is_refused_by_name() -> None:
    with pytest.raises(CheckpointTooNew, match="here was written by a newer version"):
        decode_listing(b'{"format_version": 3}', "here")


@pytest.mark.parametrize("id", ["m", "a/b", "..x", "a" * 200, "/".join("a" * 100), "x.saving", "checkpoint.json"])
def test_a_directory_name_is_one_plain_name(id: str) -> None:
    name = directory_name(id, "0a1b2c")
    assert "/" not in name
    assert name.endswith(".0a1b2c")
    assert len(name) <= 207
