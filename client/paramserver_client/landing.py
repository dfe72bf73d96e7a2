"""Where the tensors of an answer are received: arrays of the caller's, with no copy in between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paramserver_client.encoding import MAX_ANSWER_HEADER_NBYTES, damaged
from paramserver_client.results import arrays_of
from paramserver_client.values import checked_out
from paramserver_wire import frame
from paramserver_wire.errors import WireError
from paramserver_wire.tensors import Array, Tensor


class Landing:
    """Takes the answer to a `pull` as it comes, and that to a `read`, whose one tensor has the name "".

    The header comes first: everything in it is checked against `out` before the first byte of a value is received. Used for one
    call, whose tries begin again at `begin_nbytes`. What does not fit raises `InvalidRequestError`, what is no sound frame
    `UnexpectedAnswerError`.
    """

    def __init__(self, out: Mapping[str, Array]) -> None:
        self._out = out
        self._arrival: frame.Arrival | None = None
        self._is_whole = False

    @property
    def tree(self) -> Any:
        """The answer's body; None unless the whole of it was received here."""
        return self._arrival.tree if self._arrival is not None and self._is_whole else None

    def begin_nbytes(self, preamble: memoryview, nbytes: int) -> int | None:
        """How much of a body that begins with so much, and has `nbytes`, comes before its values; None if it is no frame."""
        self._arrival, self._is_whole = None, False
        if bytes(preamble[: len(frame.MAGIC)]) != frame.MAGIC:
            return None
        try:
            return frame.begin_nbytes(preamble, nbytes, max_header=MAX_ANSWER_HEADER_NBYTES)
        except WireError as error:
            raise damaged(frame.MEDIA_TYPE, error) from error

    def views(self, begin: memoryview, nbytes: int) -> list[memoryview]:
        """Where the rest of the body is to be received, in its order."""
        try:
            arrival = self._arrival = frame.Arrival(begin, nbytes)
            tensors = tensors_in(arrival.tree)
            checked_out(self._out, arrays_of(tensors))
            placed = {id(tensor): self._out[name] for name, tensor in tensors.items() if name in self._out}
            return arrival.views(lambda tensor: _in_one_piece(placed.get(id(tensor))))
        except WireError as error:
            raise damaged(frame.MEDIA_TYPE, error) from error

    def end(self) -> None:
        """All of it was received."""
        assert self._arrival is not None, "it began"
        try:
            self._arrival.check()
        except WireError as error:
            raise damaged(frame.MEDIA_TYPE, error) from error
        self._is_whole = True


def tensors_in(tree: Any) -> Mapping[str, Tensor]:
    """The tensors in the body of an answer to a `read` or a `pull`, by name."""
    if isinstance(tree, Tensor):
        return {"": tree}
    tensors = tree.get("tensors") if isinstance(tree, dict) else None
    return tensors if isinstance(tensors, dict) and all(isinstance(each, Tensor) for each in tensors.values()) else {}


def _in_one_piece(array: Array | None) -> Array | None:
    """The array, if bytes can be received into it. Others are filled from a fresh one."""
    return array if array is not None and array.flags.c_contiguous else None
