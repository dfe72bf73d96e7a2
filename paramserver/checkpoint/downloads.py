"""One file of a checkpoint, opened to be sent: it can be read to its end whatever becomes of the checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from typing import Final

from paramserver.checkpoint.catalogue import Entry
from paramserver.checkpoint.errors import CheckpointCorrupt, disk_trouble
from paramserver.checkpoint.format import SavedFile
from paramserver.checkpoint.shards import INDEX
from paramserver.disk import Disk
from paramserver.store.errors import InvalidRequest

PIECE_NBYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Download:
    """An open file of a checkpoint. Whoever has it closes it."""

    saved: SavedFile
    file: FileIO
    disk: Disk

    def pieces(self, begin: int, end: int) -> Iterator[bytes]:
        """The bytes from `begin` up to `end`, a MiB at a time. Blocks for the disk; raises CheckpointError."""
        with disk_trouble(f"reading {self.saved.name}"):
            self.file.seek(begin)
            while begin < end:
                piece = bytearray(min(PIECE_NBYTES, end - begin))
                if self.disk.read_into(self.file, memoryview(piece)) < len(piece):
                    raise CheckpointCorrupt(f"{self.saved.name} became shorter while it was read; try again")
                begin += len(piece)
                yield bytes(piece)

    def close(self) -> None:
        self.file.close()


def chosen(entry: Entry, file: str | None) -> SavedFile:
    """The file of that name among those the manifest lists, or the one file of values when none is named."""
    if entry.summary is None:
        raise CheckpointCorrupt(f"checkpoint {entry.id!r} is damaged: {entry.problem}")
    files = entry.summary.files
    model_files = [saved for saved in files if saved.name != INDEX]
    if file is None and len(model_files) == 1:
        return model_files[0]
    for saved in files:
        if saved.name == file:
            return saved
    names = [saved.name for saved in files]
    shown = ", ".join(names[:5]) + (" and more" if len(names) > 5 else "")
    got = "none" if file is None else repr(file[:200])
    raise InvalidRequest(f"file: wanted one of the checkpoint's files, {shown}; got {got}")
