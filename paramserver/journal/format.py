"""The bytes of a journal: segments of records. Pure.

A segment is a file `<first commit, 20 digits>.wal`. It begins with a block of 4,096 bytes:

    b"PSWAL\\0"  u16 format version  u32 crc32 of the text  u32 length of the text  text (JSON)  zeros

and goes on with records, each at a multiple of 64, filled up with zeros:

    u32 crc32 of the segment's salt and the 36 bytes that follow
    u8 kind  3 zeros  u64 commit  u64 length of the payload  u64 highest synced commit  u32 crc32 of the payload  b"PSRC"

all little-endian. The salt is drawn for each life of a segment, so that records of an earlier one are no records. The
highest synced commit is what was known to survive a power cut when the record was written: of a bad record and a good one
behind it, it tells whether the bad one had been acknowledged for good.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from paramserver.journal.errors import JournalCorrupt, JournalTooNew
from paramserver_wire.checksum import crc32

FORMAT_VERSION: Final = 1
SEGMENT_MAGIC: Final = b"PSWAL\0"
SUFFIX: Final = ".wal"
DATA_START: Final = 4096
ALIGNMENT: Final = 64
SALT_NBYTES: Final = 8

_SEGMENT: Final = struct.Struct("<6sHII")
_RECORD: Final = struct.Struct("<IB3xQQQI4s")
HEADER_NBYTES: Final = _RECORD.size
RECORD_MAGIC: Final = b"PSRC"
assert HEADER_NBYTES == 40

KINDS: Final[Mapping[str, int]] = {
    "create": 1,
    "change": 2,
    "delete": 3,
    "initialize": 4,
    "push": 5,
    "apply_gradients": 6,
    "restore": 7,
    "import": 8,
    "scopes": 9,
    "regroup": 10,
    "set_optimizer": 11,
    "delete_optimizer": 12,
    "note": 32,
    "mark": 33,
    "seal": 34,
}
"""What a record holds. A `note` has the number of the transaction before it; `mark` and `seal` have no payload.

A `mark` stands at the end of what was written and says up to which commit that is, and how much of it is synced; the next
record takes its place. A `seal` ends a segment that another one follows.
"""
NAMES: Final[Mapping[int, str]] = {number: name for name, number in KINDS.items()}


class RecordHeader(NamedTuple):
    """The 40 bytes before a record's payload, once they are known to be sound."""

    kind: str
    commit: int
    nbytes: int
    synced: int
    crc32: int

    @property
    def counts(self) -> bool:
        """Whether it is a transaction, with a number of its own."""
        return KINDS[self.kind] < KINDS["note"]


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """What a segment says about itself: its first commit, whose it is, how many bytes it has, what had been synced when
    it was made, whether each record is synced before it is acknowledged (`always`), and what wrote it."""

    first_commit: int
    salt: bytes
    server: str
    nbytes: int
    synced: int
    always: bool
    builds: Mapping[str, str]
    created: float


def file_name(first_commit: int) -> str:
    """The name of the segment that begins with that commit."""
    return f"{first_commit:020d}{SUFFIX}"


def record_nbytes(payload_nbytes: int) -> int:
    """The room a record takes."""
    nbytes = HEADER_NBYTES + payload_nbytes
    return nbytes + -nbytes % ALIGNMENT


def pack_record_header(salt: bytes, header: RecordHeader) -> bytes:
    """The 40 bytes."""
    fields = (KINDS[header.kind], header.commit, header.nbytes, header.synced, header.crc32, RECORD_MAGIC)
    told = _RECORD.pack(0, *fields)[4:]
    return crc32(salt + told).to_bytes(4, "little") + told


def unpack_record_header(salt: bytes, buffer: bytes | memoryview) -> RecordHeader | None:
    """The header at the beginning of `buffer`; None if there is no sound one of this segment's life."""
    if len(buffer) < HEADER_NBYTES or bytes(buffer[36:40]) != RECORD_MAGIC:
        return None
    told = bytes(buffer[4:HEADER_NBYTES])
    crc, kind, commit, nbytes, synced, payload_crc, _ = _RECORD.unpack(bytes(buffer[:HEADER_NBYTES]))
    if crc != crc32(salt + told) or kind not in NAMES:
        return None
    return RecordHeader(NAMES[kind], commit, nbytes, synced, payload_crc)


def pack_segment_header(header: SegmentHeader) -> bytes:
    """The block that a segment begins with."""
    fields = {
        "first_commit": header.first_commit,
        "salt": header.salt.hex(),
        "server": header.server,
        "nbytes": header.nbytes,
        "synced": header.synced,
        "always": header.always,
        "builds": dict(header.builds),
        "created": header.created,
    }
    text = json.dumps(fields).encode()
    block = _SEGMENT.pack(SEGMENT_MAGIC, FORMAT_VERSION, crc32(text), len(text)) + text
    assert len(block) <= DATA_START, "a segment's header is a few hundred bytes"
    return block.ljust(DATA_START, b"\0")


def unpack_segment_header(block: bytes, where: str) -> SegmentHeader:
    """What the block says. Raises JournalTooNew, and JournalCorrupt for a damaged one; `where` names the file."""
    magic, version, crc, nbytes = _SEGMENT.unpack_from(block.ljust(_SEGMENT.size, b"\0"))
    text = block[_SEGMENT.size : _SEGMENT.size + nbytes]
    if magic != SEGMENT_MAGIC or len(text) != nbytes or crc != crc32(text):
        raise JournalCorrupt(f"{where} is damaged: its first {DATA_START} bytes are not the header of a segment")
    if version > FORMAT_VERSION:
        raise JournalTooNew(
            f"{where} has format {version}, this version reads up to {FORMAT_VERSION}; start the version that wrote it"
        )
    fields: dict[str, Any] = json.loads(text)
    return SegmentHeader(
        fields["first_commit"],
        bytes.fromhex(fields["salt"]),
        fields["server"],
        fields["nbytes"],
        fields["synced"],
        fields["always"],
        fields["builds"],
        fields["created"],
    )
