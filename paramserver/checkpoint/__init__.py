"""Checkpoints: a cut of the store on disk, whole or not at all, and the way back. Knows no network."""

from paramserver.checkpoint.data_dir import Identity
from paramserver.checkpoint.directory import remove_checkpoint, write_checkpoint
from paramserver.checkpoint.downloads import Download
from paramserver.checkpoint.errors import (
    CheckpointBusy,
    CheckpointCorrupt,
    CheckpointError,
    CheckpointNotFound,
    CheckpointTooNew,
    DataDirInUse,
    DiskFull,
    NoDataDir,
)
from paramserver.checkpoint.format import About, Manifest, SavedFile, SavedVariable
from paramserver.checkpoint.manager import CheckpointManager
from paramserver.checkpoint.reading import Checkpoint, read_checkpoint, read_manifest, read_values
from paramserver.checkpoint.recovery import Replayed, StartReport
from paramserver.checkpoint.retention import KEEP_EVERY_N_HOURS
from paramserver.checkpoint.shards import DEFAULT_SHARD_NBYTES
from paramserver.checkpoint.survey import Survey, holder_of, is_data_directory, survey, verify
from paramserver.disk import Disk

__all__ = [
    "DEFAULT_SHARD_NBYTES",
    "KEEP_EVERY_N_HOURS",
    "About",
    "Checkpoint",
    "CheckpointBusy",
    "CheckpointCorrupt",
    "CheckpointError",
    "CheckpointManager",
    "CheckpointNotFound",
    "CheckpointTooNew",
    "DataDirInUse",
    "Disk",
    "DiskFull",
    "Download",
    "Identity",
    "Manifest",
    "NoDataDir",
    "Replayed",
    "SavedFile",
    "SavedVariable",
    "StartReport",
    "Survey",
    "holder_of",
    "is_data_directory",
    "read_checkpoint",
    "read_manifest",
    "read_values",
    "remove_checkpoint",
    "survey",
    "verify",
    "write_checkpoint",
]
