"""Calls about checkpoints on the server's disk: save, list, inspect, delete, restore."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from paramserver_client.calls.base import Calls
from paramserver_client.results import CheckpointInfo, Restored, checkpoint_of, restored_of
from paramserver_client.values import names_of


class CheckpointCalls(Calls):
    """Calls about checkpoints on the server's disk: save, list, inspect, delete, restore."""

    def save(
        self,
        id: str | None = None,
        *,
        step: int | None = None,
        names: str | Iterable[str] | None = None,
        prefix: str | None = None,
        collection: str | None = None,
        series: str | None = None,
        max_to_keep: int | None = None,
        keep_checkpoint_every_n_hours: float | None = None,
        shard_nbytes: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        respond_async: bool = False,
    ) -> CheckpointInfo:
        """Save one consistent cut to the server's disk; pushes go on meanwhile. When it returns, the checkpoint is
        whole and synced; when it raises, no checkpoint was made and an older one of that `id` is as it was.

        Without a selection it is a full checkpoint. `max_to_keep` of a `series` are kept; the oldest go, but for one for
        every `keep_checkpoint_every_n_hours`. More than `shard_nbytes` of values go into several files.

        With `respond_async` it returns as soon as the cut is taken, with the state "saving"; `get_checkpoint` shows when it
        is "complete", or "failed" and why.

        Raises `NoDataDirError`, `UninitializedError` (by name), `InvalidRequestError` (a name twice),
        `CheckpointBusyError`, `DiskFullError`.
        """
        answer = self._ask(
            "save",
            id=id,
            step=step,
            names=names_of(names),
            prefix=prefix,
            collection=collection,
            series=series,
            max_to_keep=max_to_keep,
            keep_checkpoint_every_n_hours=keep_checkpoint_every_n_hours,
            shard_nbytes=shard_nbytes,
            respond_async=respond_async or None,
            metadata=None if metadata is None else dict(metadata),
        )
        return checkpoint_of(answer.body)

    def restore(
        self,
        id: str = "latest",
        *,
        names: str | Iterable[str] | None = None,
        rename: Mapping[str, str] | None = None,
        reshape: bool = False,
        strict: bool = True,
        create: bool = True,
        restore_sequentially: bool = False,
        dry_run: bool = False,
    ) -> Restored:
        """Give variables the values of a checkpoint, in one commit, all or nothing.

        Variables that the server lacks are created unless `create=False`. `rename` maps a variable to the name it was
        saved by. `reshape` takes a saved value of another shape with as many elements. With `strict`, anything that is
        not there or does not fit refuses the whole. `dry_run` answers the same, or raises the same, and changes nothing.

        `restore_sequentially` takes one variable after the other, each in a commit of its own, so that the server needs
        memory for one value only. It is not atomic; meanwhile other calls are told to wait (`RestoringError` at their
        deadline).

        Raises `CheckpointNotFoundError`, `CheckpointIncompatibleError` (all differences in `errors`),
        `CheckpointCorruptError`, `CheckpointBusyError`, `NoDataDirError`, `MemoryLimitExceededError`.
        """
        answer = self._ask(
            "restore",
            id=id,
            names=names_of(names),
            rename=None if rename is None else dict(rename),
            reshape=reshape,
            strict=strict,
            create=create,
            restore_sequentially=restore_sequentially,
            dry_run=dry_run,
        )
        return restored_of(answer.body)

    def checkpoints(self) -> list[CheckpointInfo]:
        """The checkpoints on the server's disk, newest first."""
        return [checkpoint_of(each) for each in self._ask("list_checkpoints").body["checkpoints"]]

    def get_checkpoint(self, id: str = "latest") -> CheckpointInfo:
        """One checkpoint. Raises `CheckpointNotFoundError`."""
        return checkpoint_of(self._ask("get_checkpoint", id=id).body)

    def delete_checkpoint(self, id: str) -> None:
        """Delete a checkpoint. Raises `CheckpointNotFoundError`, `CheckpointBusyError`."""
        self._ask("delete_checkpoint", id=id)
