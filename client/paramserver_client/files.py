"""Files that travel without ever standing in memory: where their bytes are read, and where they are written.

They are what a `Message` carries for a transport: a `FileSource` in the place of a body, a `FileSink` for that of the
answer. Neither waits for a network, so threads and asyncio share them; the disk is read and written a piece at a time.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from paramserver_client.errors import InvalidRequestError, UnexpectedAnswerError
from paramserver_wire import safetensors
from paramserver_wire.errors import WireError

Progress = Callable[[int, int], None]
"""Is called with the bytes that are done, and with those there are in all (0 while that is not known)."""

PIECE_NBYTES: Final = 1024 * 1024


class FileSource:
    """A file to be sent, from its beginning as often as need be. `nbytes` is its size now.

    Iterating gives its pieces; each is good until the next is asked for. `progress` starts again with each try.
    Raises `OSError` when the file cannot be read, `InvalidRequestError` when it has become shorter meanwhile.
    """

    def __init__(self, path: str | os.PathLike[str], progress: Progress | None = None) -> None:
        self.path = Path(path)
        self.nbytes = self.path.stat().st_size
        self._progress = progress

    def __iter__(self) -> Iterator[memoryview]:
        piece = memoryview(bytearray(min(PIECE_NBYTES, self.nbytes)))
        with self.open() as file:
            done = 0
            while done < self.nbytes:
                filled = piece[: self.nbytes - done]
                self.fill(file, filled)
                # Whoever asks for the next piece has sent this one.
                yield filled
                done += len(filled)
                self.tell(done)

    def open(self) -> BinaryIO:
        """The file, at its beginning."""
        return open(self.path, "rb", buffering=0)

    def fill(self, file: BinaryIO, target: memoryview) -> None:
        """Read the next bytes of the opened file, as many as `target` takes."""
        while target:
            count = file.readinto(target)  # type: ignore[attr-defined]
            if not count:
                raise InvalidRequestError(
                    f"Wanted {self.nbytes} bytes of {self.path}, got the file's end. It was cut short meanwhile; "
                    "leave it alone until the call is over."
                )
            target = target[count:]

    def tell(self, done_nbytes: int) -> None:
        """Report progress."""
        if self._progress is not None:
            self._progress(done_nbytes, self.nbytes)


class FileSink:
    """A file to be received. It is written beside `path`, and takes its place by `commit`, or leaves nothing.

    A context manager: leaving it without `commit` removes what was written.
    """

    def __init__(self, path: str | os.PathLike[str], progress: Progress | None = None) -> None:
        self.path = Path(path)
        # Beside it, so that renaming moves no bytes.
        self.part = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}.part")
        self._progress = progress
        self._file: BinaryIO | None = None
        self._done_nbytes = 0
        self._total_nbytes = 0

    def __enter__(self) -> Self:
        self._file = open(self.part, "xb", buffering=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self.part.unlink(missing_ok=True)

    def begin(self, total_nbytes: int | None) -> None:
        """Begin a try: what an earlier one has written is dropped."""
        file = self._opened()
        # Not for nothing: ext4 brings a file that was ever emptied to the disk when it is closed, 0.4 s for a gigabyte.
        if file.tell():
            file.seek(0)
            file.truncate()
        self._done_nbytes, self._total_nbytes = 0, total_nbytes or 0

    def write(self, piece: bytes | memoryview) -> None:
        """Write the next bytes."""
        file, left = self._opened(), memoryview(piece)
        while left:
            left = left[file.write(left) :]
        self._done_nbytes += len(piece)
        if self._progress is not None:
            self._progress(self._done_nbytes, self._total_nbytes)

    def metadata(self) -> dict[str, str]:
        """The metadata of the safetensors file that was received. Raises `UnexpectedAnswerError` if it is none."""
        total = self.part.stat().st_size
        try:
            with open(self.part, "rb") as file:
                begin = file.read(safetensors.data_start_of(file.read(8)) - 8)
                file.seek(0)
                begin = file.read(8 + len(begin))
            return dict(safetensors.parse(begin, total).metadata)
        except WireError as error:
            raise UnexpectedAnswerError(
                f"Wanted a safetensors file, got something else: {error} Check that the URL is a parameter server's.",
                outcome="not applied",
            ) from error

    def commit(self) -> None:
        """Put what was written in the place of `path`, at once and whole."""
        self._opened().close()
        os.replace(self.part, self.path)
        self._file = None

    def _opened(self) -> BinaryIO:
        assert self._file is not None, "a sink is used inside its with block, until it is committed"
        return self._file
