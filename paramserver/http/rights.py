"""Which rights an operation takes: one row for each. A name counts wherever it stands, in the path or deep in the body.

What a request names outright, and may not touch, refuses it whole, with every such name listed, whether there is such a
variable or not. A choice without names (a scope, a collection, everything) must lie in a scope that the token is for. Lists show
what may be read, and nothing else. An optimizer makes scalars below its own name and slots below its variables: all of these
are needed as scopes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from paramserver.grants import Grant, Need, Role, refused
from paramserver.store.errors import Difference, StoreError

Arguments = Mapping[str, Any]


class Forbidden(StoreError):
    code = "forbidden"


class Row(NamedTuple):
    """The role that an operation takes, as the reference tells it, and what for; lists take none, and show what may be read."""

    role: Role | None
    needs: Callable[[Arguments], Iterable[Need]]


def check(grant: Grant, operation: str, arguments: Arguments) -> None:
    """Raise `Forbidden` unless the grant covers what the operation needs."""
    if not grant.unlimited:
        check_all(grant, ROWS[operation].needs(arguments))
        check_role(grant, operation)


def check_head(grant: Grant, operation: str, arguments: Arguments) -> None:
    """Raise `Forbidden` for what a request's head alone shows: the name in its path, or a role that the grant has for nothing."""
    if not grant.unlimited:
        if "name" in arguments:
            check_all(grant, ROWS[operation].needs(arguments))
        check_role(grant, operation)


def check_role(grant: Grant, operation: str) -> None:
    """Raise `Forbidden` unless the grant has the operation's role for anything, as a request takes that names nothing."""
    role = ROWS[operation].role
    if role is not None and not grant.holds(role):
        raise Forbidden(
            f"this takes the right to {role} something, which the token of {grant.holder!r} does not give; ask with another, "
            "or have its line in the token file changed"
        )


def holder_of(grant: Grant) -> str:
    """The holder whose share a request takes of what is bounded for each; '' is nobody in particular, for who may everything."""
    return "" if grant.unlimited else grant.holder


def check_all(grant: Grant, needs: Iterable[Need]) -> None:
    """Raise `Forbidden` unless the grant covers all of it."""
    missing = refused(grant, needs)
    if missing:
        told = ", ".join(map(str, missing[:10])) + (" ..." if len(missing) > 10 else "")
        raise Forbidden(
            f"this takes the right {told}, which the token of {grant.holder!r} does not give; ask for names it is for, or "
            "have its line in the token file changed",
            errors=[Difference(need.name, "forbidden", f"takes {need}") for need in missing],
        )


def is_admin(operation: str) -> bool:
    """Whether it is for the record who did it."""
    return ROWS[operation].role == "admin"


def names_in(operation: str, arguments: Arguments) -> list[str]:
    """The names and scopes that it is about, each once; where it is about everything whatever it names, those it names, or '*'."""
    needed = [need.name for need in ROWS[operation].needs(arguments)]
    if not any(needed):
        needed = arguments.get("names") or [arguments.get("name") or arguments.get("prefix") or "*"]
    return list(dict.fromkeys(needed))


def _nothing(arguments: Arguments) -> Iterable[Need]:
    return ()


def _named(role: Role) -> Callable[[Arguments], Iterable[Need]]:
    return lambda arguments: [Need(role, arguments["name"])]


def _below(role: Role) -> Callable[[Arguments], Iterable[Need]]:
    return lambda arguments: [Need(role, arguments["name"], True)]


def _everything(role: Role) -> Callable[[Arguments], Iterable[Need]]:
    return lambda arguments: [Need(role, "", True)]


def _chosen(role: Role) -> Callable[[Arguments], Iterable[Need]]:
    def needs(arguments: Arguments) -> Iterable[Need]:
        names = arguments.get("names")
        if names is None:
            return [Need(role, arguments.get("prefix") or "", True)]
        return [Need(role, name) for name in names]

    return needs


def _listed(role: Role) -> Callable[[Arguments], Iterable[Need]]:
    return lambda arguments: [Need(role, name) for name in arguments.get("names") or ()]


def _with_initializer(*, below: bool) -> Callable[[Arguments], Iterable[Need]]:
    def needs(arguments: Arguments) -> Iterator[Need]:
        yield Need("write", arguments["name"], below)
        initializer = arguments.get("initializer")
        if isinstance(initializer, Mapping) and isinstance(initializer.get("like"), str):
            yield Need("read", initializer["like"])

    return needs


def _updates(updates: Iterable[Mapping[str, Any]]) -> Iterator[Need]:
    for update in updates:
        yield from (Need("write", update[field]) for field in ("name", "target") if update.get(field) is not None)
        if update.get("source") is not None:
            yield Need("read", update["source"])


def _push(arguments: Arguments) -> Iterator[Need]:
    yield from _updates(arguments.get("updates") or ())
    yield from (Need("read", name) for name in arguments.get("returns") or ())


def _apply_gradients(arguments: Arguments) -> Iterator[Need]:
    yield Need("write", arguments["name"], below=True)
    yield from (Need("write", name, below=True) for name in arguments.get("gradients") or ())
    if arguments.get("global_step") is not None:
        yield Need("write", arguments["global_step"])
    yield from _updates(arguments.get("then") or ())
    yield from (Need("read", name) for name in arguments.get("returns") or ())


def _create_optimizer(arguments: Arguments) -> Iterator[Need]:
    yield Need("write", arguments["name"], below=True)
    spec = arguments.get("spec") or {}
    slots = spec.get("slots") or {}
    for variable, names in slots.items() if isinstance(slots, Mapping) else ():
        yield Need("write", variable, below=True)
        yield from (Need("write", name) for name in names)
    yield from (Need("write", name) for name in spec.get("scalars") or ())


def _restore(arguments: Arguments) -> Iterable[Need]:
    if not arguments.get("names"):
        return [Need("admin", "", True)]
    rename = arguments.get("rename") or {}
    return [Need("admin", name) for name in (*arguments["names"], *rename, *rename.values())]


def _import(arguments: Arguments) -> Iterable[Need]:
    # The names stand in the file: they are checked once its header is there.
    prefix = arguments.get("prefix")
    return [Need("write", prefix, True)] if prefix else ()


_READ, _WRITE = _named("read"), _named("write")

ROWS: Final[Mapping[str, Row]] = {
    "server": Row(None, _nothing),
    "list_variables": Row("read", _nothing),
    "create_variable": Row("write", _with_initializer(below=False)),
    "get_variable": Row("read", _READ),
    "update_variable": Row("write", _WRITE),
    "delete_variable": Row("admin", _named("admin")),
    "delete_variables": Row("admin", _chosen("admin")),
    "read": Row("read", _READ),
    "gather": Row("read", _READ),
    "is_initialized": Row("read", _READ),
    **{
        operation: Row("write", _WRITE)
        for operation in ("assign", "assign_add", "assign_sub", "scatter_update", "scatter_add", "scatter_sub")
    },
    "initialize_variable": Row("write", _WRITE),
    "initialize": Row("write", _chosen("write")),
    "report_uninitialized": Row("read", _chosen("read")),
    "assert_initialized": Row("read", _chosen("read")),
    "pull": Row("read", _chosen("read")),
    "push": Row("write", _push),
    "create_optimizer": Row("write", _create_optimizer),
    "get_optimizer": Row("read", _READ),
    "list_optimizers": Row("read", _nothing),
    "delete_optimizer": Row("admin", _everything("admin")),
    "apply_gradients": Row("write", _apply_gradients),
    "export_variables": Row("read", _chosen("read")),
    "import_variables": Row("write", _import),
    "list_scopes": Row("read", _nothing),
    "get_scope": Row("read", _below("read")),
    "set_scope": Row("write", _with_initializer(below=True)),
    "delete_scope": Row("admin", _below("admin")),
    "list_collections": Row("read", _nothing),
    "get_collection": Row("read", _nothing),
    "add_to_collection": Row("write", _listed("write")),
    "remove_from_collection": Row("write", _listed("write")),
    "save": Row("admin", _everything("admin")),
    "list_checkpoints": Row("read", _everything("read")),
    "get_checkpoint": Row("read", _everything("read")),
    "download_checkpoint": Row("read", _everything("read")),
    "delete_checkpoint": Row("admin", _everything("admin")),
    "restore": Row("admin", _restore),
}
"""By operation. `tests/attacks/matrix.py` holds it against the description of the API."""
