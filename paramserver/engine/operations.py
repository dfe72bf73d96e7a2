"""One method per operation of the REST surface, without a network: arguments in, `Answer` out.

The names and arguments are those of `paramserver_wire.messages.OPERATIONS`. What an answer holds, and which problems
there are, is the table in the REST reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from paramserver.engine import values
from paramserver.store import Claim, NewVariable, Receipt, Selection, Store, VariableSnapshot
from paramserver.store.errors import InvalidRequest, Uninitialized, refuse_any
from paramserver.store.selection import no_value
from paramserver.store.updates import Array
from paramserver_wire.messages import Answer
from paramserver_wire.tensors import Tensor, Untyped

Value = Array | Untyped
MAX_PAGE_SIZE: Final = 1000
MAX_WAIT_S: Final = 60.0
_REUSE: Final[Mapping[str, bool | None]] = {"false": False, "true": True, "auto": None}


Settled = Callable[[str, str], None]
"""Hears how a save ended that goes on behind its answer: the checkpoint's id, and the code of the problem or ''."""


def unheard(checkpoint: str, code: str) -> None:
    """For those who do not ask."""


@dataclass(slots=True)
class Call:
    """How an operation is to be performed, beside its arguments.

    `claim` is the right to do it once; `blocking` allows waiting for locks; `donated_nbytes` is the size of the
    memory that the values lie in when it may be kept, 0 when it may not. `count` hears of the arrays that are made for
    the answer, before they are. `sees` says which names (or scopes, where its second argument is true) a list may show;
    None: all. `settled` hears how what goes on behind the answer ended, from a thread.
    """

    claim: Claim | None = None
    blocking: bool = True
    donated_nbytes: int = 0
    count: values.Count = values.uncounted
    sees: Callable[[str, bool], bool] | None = None
    settled: Settled = unheard

    def shown(self, names: Iterable[str], *, scopes: bool = False) -> list[str]:
        """Those of the names that a list may show; a scope tells of all that is in it."""
        return [name for name in names if self.sees is None or self.sees(name, scopes)]


class VariableOperations:
    """Operations on variables, over one store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    # ---------------------------------------------------------------- metadata

    def list_variables(
        self,
        call: Call,
        *,
        prefix: str = "",
        collection: str | None = None,
        initialized: bool | None = None,
        trainable: bool | None = None,
        page_size: int = 100,
        page_token: str | None = None,
    ) -> Answer:
        if not 1 <= page_size <= MAX_PAGE_SIZE:
            raise InvalidRequest(f"page_size is 1 to {MAX_PAGE_SIZE}, got {page_size}; follow next_page_token for more")
        after = page_token or ""
        filtered = initialized is not None or trainable is not None or call.sees is not None
        if collection is None:
            found = self._behind(after, prefix, MAX_PAGE_SIZE if filtered else page_size + 1)
        else:
            found = self._members_behind(after, prefix, collection)
        if filtered:
            found = (each for each in found if _passes(each, initialized, trainable) and call.shown([each.name]))
        # One more than the page holds, to know whether another page follows.
        first = list(islice(found, page_size + 1))
        page = [values.metadata(variable) for variable in first[:page_size]]
        return Answer({"variables": page, "next_page_token": page[-1]["name"] if len(first) > page_size else None})

    def _behind(self, after: str, prefix: str, at_a_time: int) -> Iterator[VariableSnapshot]:
        """The variables in scope `prefix` behind the name `after`, looked up so many at a time, as they are asked for."""
        while found := self.store.page(prefix, after, at_a_time):
            yield from found
            after = found[-1].name

    def _members_behind(self, after: str, prefix: str, collection: str) -> Iterator[VariableSnapshot]:
        members = self.store.snapshot(Selection(prefix=prefix, collection=collection)).variables
        return (members[name] for name in sorted(members) if name > after)

    def create_variable(
        self,
        call: Call,
        *,
        name: str,
        shape: Sequence[int] | None = None,
        dtype: str | None = None,
        initializer: Mapping[str, Any] | None = None,
        value: Value | None = None,
        trainable: bool | None = None,
        collections: Sequence[str] | None = None,
        reuse: str = "false",
        initialize: bool = False,
    ) -> Answer:
        if reuse not in _REUSE:
            raise InvalidRequest(f"reuse is false, true or auto; got {reuse!r}", name=name)
        given = None if value is None else values.for_store(value, name, spread=True)
        new = NewVariable(name, shape, dtype, initializer, given, trainable, collections)
        variable, created = self.store.create(
            new,
            reuse=_REUSE[reuse],
            initialize=initialize,
            claim=call.claim,
            answer=lambda variable, created: _stored(_created(variable, created)),
            blocking=call.blocking,
        )
        return _created(variable, created)

    def get_variable(self, call: Call, *, name: str) -> Answer:
        return Answer(values.metadata(self.store.get(name)))

    def update_variable(
        self,
        call: Call,
        *,
        name: str,
        trainable: bool | None = None,
        collections: Sequence[str] | None = None,
    ) -> Answer:
        variable = self.store.change(
            name,
            trainable=trainable,
            collections=collections,
            claim=call.claim,
            answer=lambda receipt: _stored(Answer(values.metadata(receipt.variables[name]))),
            blocking=call.blocking,
        )
        return Answer(values.metadata(variable))

    def delete_variable(self, call: Call, *, name: str) -> Answer:
        gone = Answer(None, 204)
        self.store.delete(
            Selection(names=[name]), claim=call.claim, answer=lambda _: _stored(gone), blocking=call.blocking
        )
        return gone

    def delete_variables(self, call: Call, *, prefix: str = "", confirm: bool = False) -> Answer:
        if not confirm:
            raise InvalidRequest(
                f"deleting all variables in scope {prefix!r} needs confirm=true; list them first with the same prefix"
            )
        receipt = self.store.delete(
            Selection(prefix=prefix), claim=call.claim, answer=lambda r: _stored(_deleted(r)), blocking=call.blocking
        )
        return _deleted(receipt)

    # ---------------------------------------------------------------- one value

    def read(
        self,
        call: Call,
        *,
        name: str,
        slice: str | None = None,
        dtype: str | None = None,
        after_version: str | None = None,
        wait_s: float = 0.0,
        if_none_match: str | None = None,
    ) -> Answer:
        """The value; 304 when `if_none_match` names it still, 204 when `after_version` does. `wait_s` is the caller's
        to wait: this method never does."""
        if not 0 <= wait_s <= MAX_WAIT_S:
            raise InvalidRequest(
                f"wait_s is 0 to {MAX_WAIT_S:g} seconds, got {wait_s}; ask again for longer", name=name
            )
        variable = self.store.get(name)
        if after_version is not None and not is_newer(variable, after_version):
            return Answer(None, 204)
        if if_none_match is not None and any(
            variable.matches(tag) or tag.strip() == "*" for tag in if_none_match.split(",")
        ):
            return Answer({"name": name, **_version_of(variable)}, 304)
        value = values.value_of(variable)
        if slice is not None:
            value = values.sliced(name, value, slice)
        found = values.in_dtype(name, value, dtype, count=call.count)
        return Answer(Tensor(found, {"name": name, **_version_of(variable)}))

    def gather(self, call: Call, *, name: str, indices: Value, dtype: str | None = None) -> Answer:
        variable = self.store.get(name)
        rows = values.gathered(variable, indices, limit_nbytes=self.store.tensor_limit_nbytes, count=call.count)
        found = values.in_dtype(name, rows, dtype, count=call.count)
        return Answer(Tensor(found, {"name": name, **_version_of(variable)}))

    def assign(self, call: Call, *, name: str, value: Value, **options: Any) -> Answer:
        return self._write(call, "assign", name, value, **options)

    def assign_add(self, call: Call, *, name: str, value: Value, **options: Any) -> Answer:
        return self._write(call, "assign_add", name, value, **options)

    def assign_sub(self, call: Call, *, name: str, value: Value, **options: Any) -> Answer:
        return self._write(call, "assign_sub", name, value, **options)

    def scatter_update(self, call: Call, *, name: str, indices: Value, value: Value, **options: Any) -> Answer:
        return self._write(call, "scatter_update", name, value, indices=indices, **options)

    def scatter_add(self, call: Call, *, name: str, indices: Value, value: Value, **options: Any) -> Answer:
        return self._write(call, "scatter_add", name, value, indices=indices, **options)

    def scatter_sub(self, call: Call, *, name: str, indices: Value, value: Value, **options: Any) -> Answer:
        return self._write(call, "scatter_sub", name, value, indices=indices, **options)

    def _write(
        self,
        call: Call,
        op: str,
        name: str,
        value: Value,
        *,
        indices: Value | None = None,
        use_locking: bool = True,
        allow_non_finite: bool = False,
        if_match: str | None = None,
        return_representation: bool = False,
    ) -> Answer:
        if_version = None if if_match == "*" else if_match
        update = values.write(
            name, op, value, indices, if_version, allow_non_finite=allow_non_finite, donated_nbytes=call.donated_nbytes
        )
        receipt = self.store.push(
            [update],
            use_locking=use_locking,
            allow_non_finite=allow_non_finite,
            claim=call.claim,
            answer=lambda receipt: [200, values.written(receipt.variables[name], receipt.commit)],
            blocking=call.blocking,
        )
        variable = receipt.variables[name]
        body = values.written(variable, receipt.commit)
        return Answer(Tensor(values.value_of(variable), body) if return_representation else body)

    # ---------------------------------------------------------------- many values

    def pull(
        self,
        call: Call,
        *,
        names: Sequence[str] | None = None,
        prefix: str | None = None,
        collection: str | None = None,
        if_versions: Mapping[str, str] | None = None,
        dtype: str | None = None,
    ) -> Answer:
        cut = self.store.snapshot(Selection(names, prefix, collection))
        refuse_any([no_value(variable.name) for variable in cut.variables.values() if not variable.initialized])
        known = if_versions or {}
        changed = [
            variable
            for name, variable in cut.variables.items()
            if name not in known or not variable.matches(str(known[name]))
        ]
        return Answer(
            {
                "commit": cut.commit,
                "tensors": {each.name: values.tensor(each, dtype, count=call.count) for each in changed},
            }
        )

    def push(
        self,
        call: Call,
        *,
        updates: Sequence[Mapping[str, Any]],
        returns: Sequence[str] | None = None,
        allow_non_finite: bool = False,
    ) -> Answer:
        receipt = self.store.push(
            values.updates(updates, allow_non_finite=allow_non_finite, donated_nbytes=call.donated_nbytes),
            returns=returns or (),
            allow_non_finite=allow_non_finite,
            claim=call.claim,
            answer=lambda receipt: [200, _pushed(receipt)],
            blocking=call.blocking,
        )
        body = _pushed(receipt)
        if returns is not None:
            body["tensors"] = {name: values.tensor(variable) for name, variable in receipt.fetched.items()}
        return Answer(body)

    # ---------------------------------------------------------------- initialization

    def initialize_variable(
        self, call: Call, *, name: str, only_uninitialized: bool = True, seed: int | None = None
    ) -> Answer:
        return self._initialize(call, Selection(names=[name]), only_uninitialized, seed, skip=False)

    def initialize(
        self,
        call: Call,
        *,
        names: Sequence[str] | None = None,
        prefix: str | None = None,
        collection: str | None = None,
        only_uninitialized: bool = True,
        seed: int | None = None,
    ) -> Answer:
        selection = Selection(names, prefix, collection, skip_local=True)
        return self._initialize(call, selection, only_uninitialized, seed, skip=True)

    def is_initialized(self, call: Call, *, name: str) -> Answer:
        return Answer({"initialized": self.store.get(name).initialized})

    def report_uninitialized(self, call: Call, *, collection: str | None = None, prefix: str = "") -> Answer:
        return Answer({"names": self._uninitialized(Selection(None, prefix, collection, skip_local=True))})

    def assert_initialized(
        self,
        call: Call,
        *,
        names: Sequence[str] | None = None,
        prefix: str | None = None,
        collection: str | None = None,
    ) -> Answer:
        found = self._uninitialized(Selection(names, prefix, collection, skip_local=True))
        if found:
            raise Uninitialized(
                f"variables without a value: {', '.join(found[:20])}{' ...' if len(found) > 20 else ''}; "
                "initialize, assign or restore them first",
                errors=[no_value(name) for name in found],
            )
        return Answer(None, 204)

    def _initialize(
        self, call: Call, selection: Selection, only_uninitialized: bool, seed: int | None, *, skip: bool
    ) -> Answer:
        receipt, skipped, drawn = self.store.initialize(
            selection,
            only_uninitialized=only_uninitialized,
            seed=seed,
            skip_without_initializer=skip,
            claim=call.claim,
            answer=lambda receipt, skipped, drawn: [200, _initialized(receipt, skipped, drawn)],
            blocking=call.blocking,
        )
        return Answer(_initialized(receipt, skipped, drawn))

    def _uninitialized(self, selection: Selection) -> list[str]:
        return [name for name, variable in self.store.snapshot(selection).variables.items() if not variable.initialized]

    # ---------------------------------------------------------------- repeats

    def tensors_afresh(self, operation: str, arguments: Mapping[str, Any], stored: Any) -> Answer:
        """The answer of a request that was done before: what was stored, and its tensors as they are now."""
        status, body = stored
        if operation in ("push", "apply_gradients") and arguments.get("returns") is not None:
            found = [self.store.find(name) for name in dict.fromkeys(arguments["returns"])]
            body = dict(body) | {
                "tensors": {v.name: values.tensor(v) for v in found if v is not None and v.initialized}
            }
        elif arguments.get("return_representation"):
            variable = self.store.find(arguments["name"])
            if variable is not None and variable.initialized:
                return Answer(Tensor(values.value_of(variable), body), status, replayed=True)
        return Answer(body, status, replayed=True)


def is_newer(variable: VariableSnapshot, after: str) -> bool:
    """Whether the variable has been written since the version or tag `after`; another incarnation counts as newer."""
    incarnation, dash, version = after.strip().removeprefix("W/").strip('"').rpartition("-")
    if not (version.isascii() and version.isdigit()):
        raise InvalidRequest(
            f"a version is a number or a tag such as {variable.tag!r}; got {after!r}", name=variable.name
        )
    if dash and incarnation != variable.incarnation:
        return True
    return variable.version > int(version)


def finished(call: Call, store: Store, answer: Answer) -> Answer:
    """Remember the answer of an operation that is no transaction of the store."""
    if call.claim is not None:
        store.remember(call.claim, _stored(answer))
    return answer


def _stored(answer: Answer) -> list[Any]:
    return [answer.status, answer.body]


def _created(variable: VariableSnapshot, created: bool) -> Answer:
    return Answer(values.metadata(variable), 201 if created else 200)


def _deleted(receipt: Receipt) -> Answer:
    return Answer({"deleted": list(receipt.variables)})


def _pushed(receipt: Receipt) -> dict[str, Any]:
    return {
        "commit": receipt.commit,
        "versions": {name: variable.version for name, variable in receipt.variables.items()},
    }


def _initialized(receipt: Receipt, skipped: Sequence[str], drawn: int | None) -> dict[str, Any]:
    body: dict[str, Any] = {"commit": receipt.commit, "initialized": list(receipt.variables), "skipped": list(skipped)}
    return body if drawn is None else body | {"seed": drawn}


def _version_of(variable: VariableSnapshot) -> dict[str, Any]:
    return {"version": variable.version, "incarnation": variable.incarnation}


def _passes(variable: VariableSnapshot, initialized: bool | None, trainable: bool | None) -> bool:
    return initialized in (None, variable.initialized) and trainable in (None, variable.state.trainable)
