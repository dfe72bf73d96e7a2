"""The highest synced commit in a file of its own, beside the segments: `b"PSSYNC"  u64 commit  u32 crc32`, little-endian.

The segments say so too, but what spoils the last record may spoil the mark behind it. It is not synced itself: after a
power cut it may be behind, never ahead, of what is on the disk.
"""

from __future__ import annotations

import struct
from io import FileIO
from pathlib import Path
from typing import Final

from paramserver.disk import Disk, read_file
from paramserver_wire.checksum import crc32

SYNCED: Final = "SYNCED"
_MAGIC: Final = b"PSSYNC"
_LAYOUT: Final = struct.Struct("<6sQI")


class Watermark:
    """Writes it. Raises OSError; for one user at a time."""

    def __init__(self, directory: Path, disk: Disk, commit: int) -> None:
        """Begin with `commit`, for good before this returns: what was said before may be higher."""
        self._disk = disk
        self._file: FileIO = disk.create(directory / SYNCED)
        self.put(commit)
        disk.sync(self._file)

    def put(self, commit: int) -> None:
        """All up to `commit` is on the disk."""
        told = _LAYOUT.pack(_MAGIC, commit, 0)[:-4]
        self._disk.write_at(self._file, [told + crc32(told).to_bytes(4, "little")], 0)

    def close(self) -> None:
        self._file.close()


def read_synced(directory: Path, disk: Disk) -> int:
    """The commit that was last put there; 0 if there is nothing that can be read."""
    try:
        magic, commit, crc = _LAYOUT.unpack(read_file(disk, directory / SYNCED, limit_nbytes=_LAYOUT.size))
    except (OSError, ValueError, struct.error):
        return 0
    told = _LAYOUT.pack(magic, commit, 0)[:-4]
    return int(commit) if magic == _MAGIC and crc == crc32(told) else 0
