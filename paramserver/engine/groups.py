"""Operations on scopes and collections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paramserver.engine.operations import Call
from paramserver.store import Receipt, Scope, Store
from paramserver.store.errors import InvalidRequest
from paramserver.store.selection import no_collection
from paramserver_wire.messages import Answer


class GroupOperations:
    """Operations on scopes and collections, over one store."""

    store: Store

    def list_scopes(self, call: Call, *, prefix: str = "", depth: int | None = None) -> Answer:
        if depth is not None and depth < 1:
            raise InvalidRequest(f"depth is a number of levels, 1 or more; got {depth}")
        found = {scope.name: scope for scope in self.store.list_scopes(prefix, depth)}
        return Answer({"scopes": [_described(found[name]) for name in call.shown(found, scopes=True)]})

    def get_scope(self, call: Call, *, name: str) -> Answer:
        return Answer(_described(self.store.scope(name)))

    def set_scope(
        self,
        call: Call,
        *,
        name: str,
        initializer: Mapping[str, Any] | None = None,
        dtype: str | None = None,
        trainable: bool | None = None,
        collections: Sequence[str] | None = None,
    ) -> Answer:
        given = {"initializer": initializer, "dtype": dtype, "trainable": trainable, "collections": collections}
        defaults = {key: value for key, value in given.items() if value is not None}
        receipt = self.store.set_scope(
            name,
            defaults,
            claim=call.claim,
            answer=lambda receipt: [200, _stored(name, receipt)],
            blocking=call.blocking,
        )
        return Answer(_stored(name, receipt))

    def delete_scope(self, call: Call, *, name: str) -> Answer:
        self.store.delete_scope(name, claim=call.claim, answer=lambda _: [204, None], blocking=call.blocking)
        return Answer(None, 204)

    def list_collections(self, call: Call) -> Answer:
        counts = self.store.collections()
        if call.sees is not None:
            counts = {key: len(call.shown(self.store.members(key))) for key in counts}
            counts = {key: count for key, count in counts.items() if count}
        return Answer({"collections": counts})

    def get_collection(self, call: Call, *, name: str) -> Answer:
        names = self.store.members(name)
        shown = call.shown(names)
        if names and not shown:
            # To whom it shows nothing it is not there.
            raise no_collection(name)
        return Answer({"names": shown})

    def add_to_collection(self, call: Call, *, name: str, names: Sequence[str]) -> Answer:
        return self._regroup(call, name, names, add=True)

    def remove_from_collection(self, call: Call, *, name: str, names: Sequence[str]) -> Answer:
        return self._regroup(call, name, names, add=False)

    def _regroup(self, call: Call, key: str, names: Sequence[str], *, add: bool) -> Answer:
        def body(receipt: Receipt) -> dict[str, Any]:
            return {"commit": receipt.commit, "names": list(dict.fromkeys(names))}

        receipt = self.store.regroup(
            key,
            names,
            add=add,
            claim=call.claim,
            answer=lambda receipt: [200, body(receipt)],
            blocking=call.blocking,
        )
        return Answer(body(receipt))


def _described(scope: Scope) -> dict[str, Any]:
    return {
        "name": scope.name,
        "variables": scope.variables,
        "nbytes": scope.nbytes,
        "defaults": dict(scope.defaults),
    }


def _stored(name: str, receipt: Receipt) -> dict[str, Any]:
    return {"name": name, "commit": receipt.commit}
