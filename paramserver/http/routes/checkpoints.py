"""Routes of checkpoints: save, list, inspect, delete, restore."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from paramserver.http import models
from paramserver.http.endpoints import Route

ROUTES: Final[Sequence[Route]] = (
    Route(
        "save",
        "Save a checkpoint",
        "One cut, taken without stopping pushes, that exists whole or not at all once this answers. An id that exists is "
        "replaced. Variables without a value are skipped in a whole save, and refused when they are named. With "
        "`Prefer: respond-async` it answers 202 as soon as the cut is taken; `GET` shows how it goes on.",
        body=models.SaveBody,
        answer=models.CheckpointInfo,
        status=201,
        done="Saved: it exists whole.",
        also={202: "With `Prefer: respond-async`: the cut is taken, and is being written."},
        problems=(
            "variable_not_found",
            "collection_not_found",
            "uninitialized",
            "checkpoint_busy",
            "no_data_dir",
            "invalid_name",
            "disk_full",
        ),
    ),
    Route(
        "list_checkpoints",
        "List checkpoints",
        "All checkpoints, newest first.",
        answer=models.CheckpointList,
        problems=("no_data_dir",),
    ),
    Route(
        "get_checkpoint",
        "Inspect a checkpoint",
        "What one checkpoint holds; `latest` is the newest.",
        answer=models.CheckpointInfo,
        problems=("checkpoint_not_found", "no_data_dir", "checkpoint_corrupt"),
    ),
    Route(
        "download_checkpoint",
        "Download a file of a checkpoint",
        "One of its files as it lies on the disk; a single range of bytes with `Range` (several, or nonsense: the whole). "
        "Its `ETag` is its SHA-256, which `If-Range` and `If-None-Match` take. A download that has begun goes on although "
        "the checkpoint is deleted.",
        query=models.DownloadQuery,
        done="The file.",
        also={206: "The range that was asked for.", 304: "The file still has the tag of If-None-Match."},
        problems=("checkpoint_not_found", "no_data_dir", "checkpoint_corrupt", "range_not_satisfiable"),
    ),
    Route(
        "delete_checkpoint",
        "Delete a checkpoint",
        "Deletes the checkpoint and its files.",
        status=204,
        problems=("checkpoint_not_found", "checkpoint_busy", "no_data_dir"),
    ),
    Route(
        "restore",
        "Restore a checkpoint",
        "Writes saved values back in one transaction, after verifying their checksums; each version rises by one. With "
        "`strict` anything that does not fit refuses the whole, all of it listed. `dry_run` answers the same and changes "
        "nothing. `restore_sequentially` takes one variable after the other: in bounded memory, not atomic, and others "
        "are answered `restoring` meanwhile.",
        body=models.RestoreBody,
        answer=models.Restored,
        problems=(
            "checkpoint_not_found",
            "checkpoint_busy",
            "no_data_dir",
            "checkpoint_incompatible",
            "checkpoint_corrupt",
            "memory_limit_exceeded",
            "invalid_name",
        ),
    ),
)
