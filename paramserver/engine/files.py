"""Operations that move whole files of variables: export, and import in two steps, so that its values can be received
straight into the memory they are to stay in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np

from paramserver.engine import values
from paramserver.engine.operations import Call
from paramserver.store import Receipt, Selection, Store
from paramserver.store.creation import checked_name
from paramserver.store.errors import StoreError
from paramserver.store.importing import Offer
from paramserver.store.updates import Array
from paramserver_wire.errors import MalformedBody
from paramserver_wire.messages import Answer
from paramserver_wire.safetensors import Header


class FirstTryRefused(StoreError):
    """A repeat of a request whose first try was running, and was then refused."""

    code = "overloaded"


class Intake:
    """An import that was found to fit, on its way in. Close it, or leave its `with` block, when it is over.

    `buffers` are to be filled one after the other with the data of the file; they are the memory of `values`, which
    hold the arrays by the variables' names. As much of the memory budget is reserved for `holder`.
    """

    def __init__(self, store: Store, names: Sequence[str], header: Header, reserved_nbytes: int, holder: str) -> None:
        self.values: dict[str, Array] = {}
        self.buffers: list[memoryview] = []
        self._store = store
        self._reserved_nbytes = reserved_nbytes
        self._holder = holder
        try:
            for name, entry in zip(names, header.entries.values(), strict=True):
                array = self.values[name] = store.pool.empty(entry.shape, entry.dtype)
                if array.nbytes:
                    self.buffers.append(array.reshape(-1).view(np.uint8).data)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def hand_over(self) -> int:
        """The memory that is reserved for it, which is the caller's to give back from here on."""
        reserved, self._reserved_nbytes = self._reserved_nbytes, 0
        self._store.budget.disown(reserved, self._holder)
        return reserved

    def close(self) -> None:
        """Let go of the values and of the memory that is still reserved. A second time does nothing."""
        self._store.budget.release(self.hand_over())
        self.values = {}
        self.buffers = []


class FileOperations:
    """Operations on whole files, over one store."""

    store: Store

    def export_variables(self, call: Call, *, prefix: str | None = None, collection: str | None = None) -> Answer:
        cut = self.store.snapshot(Selection(None, prefix, collection))
        return Answer(
            {
                "commit": cut.commit,
                "skipped": [name for name, variable in cut.variables.items() if not variable.initialized],
                "tensors": {
                    name: values.tensor(variable) for name, variable in cut.variables.items() if variable.initialized
                },
            }
        )

    def prepare_import(
        self, header: Header, *, holder: str = "", create: bool = True, prefix: str = "", **_: Any
    ) -> Intake:
        """Check everything about a file that its header tells, and take the memory for its values, on behalf of `holder`.

        Raises as `import_variables`, with every difference listed; then no memory was taken.
        """
        if prefix:
            checked_name(prefix, "prefix")
        names = [f"{prefix}/{name}" if prefix else name for name in header.entries]
        entries = header.entries.values()
        offers = {name: Offer(entry.shape, entry.dtype) for name, entry in zip(names, entries, strict=True)}
        needed = self.store.check_import(offers, create=create)
        self.store.budget.reserve(needed, holder)
        return Intake(self.store, names, header, needed, holder)

    def import_variables(
        self,
        call: Call,
        *,
        file: Intake | None,
        create: bool = True,
        prefix: str = "",
        allow_non_finite: bool = False,
    ) -> Answer:
        """Make the values of an intake visible, all at once. `file` None: its data was not kept, because the request
        was known to be a repeat when it began to come."""
        if file is None:
            raise FirstTryRefused("the first try of this request was refused while this one came; send it again")
        for name, value in file.values.items():
            if value.dtype.kind == "b" and value.size and value.view(np.uint8).max() > 1:
                raise MalformedBody(
                    f"tensor {name!r}: wanted bytes 0 and 1 for a bool, got others; send one byte a value"
                )
        receipt, created = self.store.import_values(
            dict(file.values),
            create=create,
            allow_non_finite=allow_non_finite,
            reserved_nbytes=file.hand_over(),
            claim=call.claim,
            answer=lambda receipt, created: [200, _imported(receipt, created)],
            blocking=call.blocking,
        )
        return Answer(_imported(receipt, created))


def _imported(receipt: Receipt, created: Sequence[str]) -> Mapping[str, Any]:
    versions = {name: variable.version for name, variable in receipt.variables.items()}
    return {"commit": receipt.commit, "versions": versions, "created": list(created)}
