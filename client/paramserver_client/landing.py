"""Where the tensors of an answer are received: arrays of the caller's, with no copy in between."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np

from paramserver_client.encoding import MAX_ANSWER_HEADER_NBYTES, damaged
from paramserver_client.errors import ParameterServerError
from paramserver_client.outs import check_fitting, check_given
from paramserver_client.results import arrays_of
from paramserver_wire import frame
from paramserver_wire.errors import WireError
from paramserver_wire.tensors import Array, Tensor

_UNTOUCHED: Final = "No array was written to."
_TORN: Final = (
    "A try broke in the midst of the values: what the arrays of out= hold now is not defined; fill them anew."
)


class Landing:
    """Takes the answer to a `pull` as it comes, and that to a `read`, whose one tensor has the name "".

    The header comes first: everything in it is checked against `out` before the first byte of a value is received. Used for one
    call, whose tries begin again at `begin_nbytes`. What does not fit raises `InvalidRequestError`, what is no sound frame
    `UnexpectedAnswerError`.

    What can be known of `out` beforehand is checked at once, against the `names` and the `dtype` that are asked for.
    """

    def __init__(
        self, out: Mapping[str, Array], *, names: Collection[str] | None = None, dtype: str | None = None
    ) -> None:
        check_given(out, names, dtype)
        self._out = out
        self._arrival: frame.Arrival | None = None
        self._is_whole = False
        self._is_torn = False

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
            check_fitting(self._out, arrays_of(tensors))
            placed = {id(tensor): self._out[name] for name, tensor in tensors.items() if name in self._out}
            views = arrival.views(lambda tensor: _in_one_piece(placed.get(id(tensor))))
        except WireError as error:
            raise damaged(frame.MEDIA_TYPE, error) from error
        self._is_torn = True
        return views

    def end(self) -> None:
        """All of it was received."""
        assert self._arrival is not None, "it began"
        try:
            self._arrival.check()
        except WireError as error:
            raise damaged(frame.MEDIA_TYPE, error) from error
        self._is_whole, self._is_torn = True, False

    def filled(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """The tensors, those of `out` in its arrays: checked first, and copied where they were not received there."""
        try:
            check_fitting(self._out, tensors)
        except ParameterServerError as error:
            self.tell(error)
            raise
        values = dict(tensors)
        for name in tensors.keys() & self._out.keys():
            if values[name] is not self._out[name]:
                np.copyto(self._out[name], values[name])
                values[name] = self._out[name]
        return values

    def tell(self, error: ParameterServerError) -> None:
        """Have the error that ends the call say also what became of the arrays."""
        error.detail = f"{error.detail} {_TORN if self._is_torn else _UNTOUCHED}"
        error.args = (error.detail,)


def tensors_in(tree: Any) -> Mapping[str, Tensor]:
    """The tensors in the body of an answer to a `read` or a `pull`, by name."""
    if isinstance(tree, Tensor):
        return {"": tree}
    tensors = tree.get("tensors") if isinstance(tree, dict) else None
    return tensors if isinstance(tensors, dict) and all(isinstance(each, Tensor) for each in tensors.values()) else {}


def _in_one_piece(array: Array | None) -> Array | None:
    """The array, if bytes can be received into it. Others are filled from a fresh one; so is a matrix, which has no flat view."""
    return array if array is not None and array.flags.c_contiguous and not isinstance(array, np.matrix) else None
