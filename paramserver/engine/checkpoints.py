"""Operations on checkpoints, over the manager of one data directory. Without one each answers `no_data_dir`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from paramserver.checkpoint import CheckpointManager, NoDataDir
from paramserver.engine.operations import Call, finished
from paramserver.engine.values import timestamp
from paramserver.store import Store
from paramserver.store.errors import Restoring, WouldBlock
from paramserver_wire.messages import Answer

_WHILE_RESTORING: Final = frozenset({"server", "list_checkpoints", "get_checkpoint", "download_checkpoint"})
"""What touches no variable goes on while a restore that is not atomic replaces them one by one."""


class CheckpointOperations:
    """Operations on checkpoints. `checkpoints` is None without a data directory."""

    store: Store
    checkpoints: CheckpointManager | None

    @property
    def restoring(self) -> bool:
        """Whether a restore is replacing the variables one by one, and everybody else has to wait."""
        return self.checkpoints is not None and self.checkpoints.restoring

    def save(
        self,
        call: Call,
        *,
        id: str | None = None,
        step: int | None = None,
        names: Sequence[str] | None = None,
        prefix: str | None = None,
        collection: str | None = None,
        series: str | None = None,
        max_to_keep: int | None = None,
        keep_checkpoint_every_n_hours: float | None = None,
        shard_nbytes: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        respond_async: bool = False,
    ) -> Answer:
        if not call.blocking:
            raise WouldBlock
        manager = self._manager()
        save = partial(manager.begin_save, then=call.settled) if respond_async else manager.save
        info = save(
            id,
            step=step,
            names=names,
            prefix=prefix,
            collection=collection,
            series=series,
            max_to_keep=max_to_keep,
            keep_checkpoint_every_n_hours=keep_checkpoint_every_n_hours,
            shard_nbytes=shard_nbytes,
            metadata=metadata,
        )
        return finished(call, self.store, Answer(_dated(info), 202 if respond_async else 201))

    def list_checkpoints(self, call: Call) -> Answer:
        return Answer({"checkpoints": [_dated(info) for info in self._manager().list()]})

    def get_checkpoint(self, call: Call, *, id: str) -> Answer:
        return Answer(_dated(self._manager().get(id)))

    def download_checkpoint(self, call: Call, *, id: str, file: str | None = None) -> Answer:
        """The answer's body is a `Download`, which the caller reads and closes."""
        if not call.blocking:
            raise WouldBlock
        return Answer(self._manager().download(id, file))

    def delete_checkpoint(self, call: Call, *, id: str) -> Answer:
        if not call.blocking:
            raise WouldBlock
        self._manager().delete(id)
        return finished(call, self.store, Answer(None, 204))

    def restore(
        self,
        call: Call,
        *,
        id: str,
        names: Sequence[str] | None = None,
        rename: Mapping[str, str] | None = None,
        reshape: bool = False,
        strict: bool = True,
        create: bool = True,
        restore_sequentially: bool = False,
        dry_run: bool = False,
    ) -> Answer:
        if not call.blocking:
            raise WouldBlock
        manager, fitting = self._manager(), {"reshape": reshape, "strict": strict, "create": create}
        if dry_run:
            done = manager.rehearse_restore(
                id, names=names, rename=rename, sequentially=restore_sequentially, **fitting
            )
        elif restore_sequentially:
            done = manager.restore_sequentially(id, names=names, rename=rename, **fitting)
        else:
            done = manager.restore(
                id,
                names=names,
                rename=rename,
                claim=call.claim,
                answer=lambda done: [200, done.as_answer()],
                **fitting,
            )
            return Answer(done.as_answer())
        return finished(call, self.store, Answer(done.as_answer()))

    def _refuse_while_restoring(self, operation: str) -> None:
        if self.restoring and operation not in _WHILE_RESTORING:
            raise Restoring(
                "the server is restoring a checkpoint, one variable after the other; send the request again when it is done"
            )

    def _manager(self) -> CheckpointManager:
        if self.checkpoints is None:
            raise NoDataDir(
                "checkpoints need a data directory and this server has none; start it with --data-dir DIR "
                "(or PARAMSERVER_DATA_DIR)"
            )
        return self.checkpoints


def _dated(info: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint's info with its time in words, as all times of the REST surface are."""
    return {**info, "created": timestamp(info["created"])}
