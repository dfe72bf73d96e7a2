"""Calls that move whole files of variables, a piece at a time: no file ever stands in memory."""

from __future__ import annotations

import os
from typing import Final

from paramserver_client.calls.base import Calls
from paramserver_client.files import FileSink, FileSource, Progress
from paramserver_client.results import Exported, Imported, exported_of, imported_of
from paramserver_client.waiting import apart

# A slower line than this is given up when it breaks; while bytes move, none is.
_SLOWEST_NBYTES_PER_S: Final = 1_000_000


class FileCalls(Calls):
    """Calls that move whole files of variables, a piece at a time: no file ever stands in memory."""

    def export_safetensors(
        self,
        path: str | os.PathLike[str],
        prefix: str | None = None,
        collection: str | None = None,
        progress: Progress | None = None,
    ) -> Exported:
        """Write variables (default: all) into a `.safetensors` file, as one consistent cut; pushes go on meanwhile.

        The file exists whole, or not at all: it is written beside `path` and then takes its place. Variables without
        a value are left out (`skipped`). `progress` is called with the bytes done and in all. While bytes move, no
        time-out counts but 20 s of silence.

        Raises `CollectionNotFoundError`, `NotAcceptableError` (complex128, which the format cannot hold), `OSError`.

        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> with ParameterClient() as client:
        ...     _ = client.create_variable("enc/w", value=[1.0, 2.0])
        ...     _ = client.export_safetensors(f"{folder.name}/model.safetensors")
        ...     client.import_safetensors(f"{folder.name}/model.safetensors", prefix="copy").created
        ('copy/enc/w',)
        >>> folder.cleanup()
        """
        with FileSink(path, progress) as sink:
            self._ask("export_variables", prefix=prefix, collection=collection, sink=sink)
            done = exported_of(apart(sink.metadata))
            apart(sink.commit)
        return done

    def import_safetensors(
        self,
        path: str | os.PathLike[str],
        prefix: str | None = None,
        create: bool = True,
        progress: Progress | None = None,
        *,
        allow_non_finite: bool = False,
    ) -> Imported:
        """Write the values of a `.safetensors` file to variables, in one transaction: all of them or none.

        `prefix` is a scope put before every name of the file. Variables that do not exist are created unless
        `create=False`. What does not fit is refused by the file's header, before its data is sent, with every
        difference in `errors`. A try that breaks is repeated from the file's beginning, with the same request id.

        Raises `VariableNotFoundError`, `InvalidNameError`, `ShapeMismatchError`, `DtypeMismatchError`,
        `NonFiniteError`, `MalformedBodyError` (it is no such file), `MemoryLimitExceededError`, `OSError`;
        `OutcomeUnknownError` when the answer was lost and could not be learnt in time.
        """
        source = apart(FileSource, path, progress)
        answer = self._ask(
            "import_variables",
            extra_s=source.nbytes / _SLOWEST_NBYTES_PER_S,
            file=source,
            prefix=prefix or None,
            create=None if create else False,
            allow_non_finite=allow_non_finite or None,
        )
        return imported_of(answer.body, answer.replayed)

    def download_checkpoint(
        self,
        path: str | os.PathLike[str],
        id: str = "latest",
        file: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Write one file of a checkpoint on the server's disk into `path`: whole, or not at all.

        `file` names it, as in the checkpoint's `files`; a checkpoint with one file of values needs none. Raises
        `CheckpointNotFoundError`, `InvalidRequestError` (no such file), `CheckpointCorruptError`, `NoDataDirError`,
        `OSError`.
        """
        with FileSink(path, progress) as sink:
            self._ask("download_checkpoint", id=id, file=file, sink=sink)
            apart(sink.commit)
