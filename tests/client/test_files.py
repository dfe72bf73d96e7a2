"""Sources and sinks by themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import paramserver_client as ps
from paramserver_client.files import PIECE_NBYTES, FileSink, FileSource
from paramserver_wire import safetensors


def test_a_source_is_read_piece_by_piece_as_often_as_need_be(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(2 * PIECE_NBYTES + 5)
    path = tmp_path / "file"
    path.write_bytes(content)
    told: list[tuple[int, int]] = []
    source = FileSource(path, lambda done, total: told.append((done, total)))
    for _ in range(2):
        pieces = [bytes(piece) for piece in source]
        assert [len(piece) for piece in pieces] == [PIECE_NBYTES, PIECE_NBYTES, 5]
        assert b"".join(pieces) == content
    assert [done for done, _ in told[:3]] == [PIECE_NBYTES, 2 * PIECE_NBYTES, len(content)]
    assert {total for _, total in told} == {len(content)}


def test_progress_is_told_when_a_piece_is_out_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(10))
    told: list[int] = []
    pieces = iter(FileSource(path, lambda done, _: told.append(done)))
    next(pieces)
    assert told == []
    assert next(pieces, None) is None
    assert told == [10]


def test_an_empty_source(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    assert list(FileSource(path)) == []


def test_a_source_that_was_cut_short_or_has_gone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(10))
    source = FileSource(path)
    path.write_bytes(bytes(4))
    with pytest.raises(ps.InvalidRequestError, match="cut short"):
        list(source)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        list(source)


def test_a_sink_takes_its_place_by_commit_only(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with FileSink(path) as sink:
        sink.begin(5)
        sink.write(b"wrong and long")
        sink.begin(3)
        sink.write(b"new")
        assert path.read_bytes() == b"old"
        sink.commit()
    assert path.read_bytes() == b"new"
    for _ in range(2):
        with FileSink(path) as sink:
            sink.begin(None)
            sink.write(b"never")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_sink_tells_its_progress_and_its_metadata(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    parts = safetensors.file_parts({"w": np.ones(3)}, {"commit": "7"})
    with FileSink(tmp_path / "file", lambda done, total: told.append((done, total))) as sink:
        sink.begin(sum(map(len, parts)))
        for part in parts:
            sink.write(part)
        assert sink.metadata() == {"commit": "7"}
        assert told == [(len(parts[0]), len(parts[0]) + 24), (len(parts[0]) + 24,) * 2]
        sink.begin(None)
        sink.write(b"<html>a proxy's page</html>")
        with pytest.raises(ps.UnexpectedAnswerError, match="safetensors"):
            sink.metadata()
    assert list(tmp_path.iterdir()) == []
