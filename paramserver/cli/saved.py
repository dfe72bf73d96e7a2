"""How a checkpoint directory and a data directory look from outside, offline."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from paramserver.cli.asking import REFUSED, fail
from paramserver.cli.inspecting import NO_VALUE, show_value
from paramserver.cli.showing import (
    Column,
    age_text,
    ago_text,
    count_text,
    print_fields,
    print_json,
    print_table,
    shape_text,
    shown_text,
    size_text,
)

if TYPE_CHECKING:
    from paramserver.checkpoint import Manifest, SavedVariable, Survey

_COLUMNS: Final = (
    Column("name"),
    Column("shape"),
    Column("dtype"),
    Column("size", right=True),
    Column("version", right=True),
    Column("trainable", spare=True),
)
_CHECKPOINTS: Final = (
    Column("id"),
    Column("step", right=True),
    Column("variables", right=True),
    Column("size", right=True),
    Column("age", right=True),
    Column("holds"),
    Column("state"),
    Column("series", spare=True),
)


def show_checkpoint(directory: Path, *, verify: bool, variable: str | None, as_json: bool) -> None:
    """Print a checkpoint, or one variable of it. With `verify` damage ends the command with 1."""
    from paramserver import checkpoint

    manifest = checkpoint.read_manifest(directory)
    if variable is not None:
        _saved_variable(directory, manifest, variable, as_json)
        return
    damage = checkpoint.verify(directory, manifest) if verify else []
    if as_json:
        print_json(_document(directory, manifest) | ({"damage": damage} if verify else {}))
    else:
        print(f"checkpoint {manifest.about.id}")
        print_fields(_described(directory, manifest))
        print()
        print_table(_COLUMNS, map(_row, manifest.variables.values()))
        empty = sum(not each.initialized for each in manifest.variables.values())
        total = sum(each.nbytes for each in manifest.variables.values() if each.initialized)
        print(
            f"{count_text(len(manifest.variables), 'variable')}, {size_text(total)}"
            + (f", {empty} without a value" if empty else "")
        )
    _tell_damage(verify, {manifest.about.id: damage}, as_json)


def _saved_variable(directory: Path, manifest: Manifest, name: str, as_json: bool) -> None:
    from paramserver.checkpoint import read_values

    saved = manifest.variables.get(name)
    if saved is None:
        fail(f"variable_not_found: {directory} holds no variable {name!r}; without --variable all are listed", REFUSED)
    value = read_values(directory, manifest, [name]).get(name)
    show_value(name, _saved_fields(saved), value, as_json)


def _document(directory: Path, manifest: Manifest) -> dict[str, Any]:
    about = manifest.about
    return {
        "kind": "checkpoint",
        "path": str(directory),
        "id": about.id,
        "commit": manifest.commit,
        "step": about.step,
        "created": _time(about.created),
        "full": about.full,
        "series": about.series,
        "metadata": dict(about.metadata),
        "files": [{"name": each.name, "nbytes": each.nbytes, "sha256": each.sha256} for each in manifest.files],
        "scopes": {name: dict(defaults) for name, defaults in manifest.scopes.items()},
        "optimizers": {name: state.row() for name, state in manifest.optimizers.items()},
        "request_ids": len(manifest.requests),
        "variables": [{"name": name, **_saved_fields(each)} for name, each in manifest.variables.items()],
    }


def _described(directory: Path, manifest: Manifest) -> dict[str, str]:
    about = manifest.about
    holds = "full: a server can start from it" if about.full else "partial: no recovery point"
    described = {
        "directory": str(directory),
        "saved": f"{ago_text(_age_s(about.created))} ({_time(about.created)})",
        "commit": str(manifest.commit),
        "step": "" if about.step is None else str(about.step),
        "holds": holds,
        "series": shown_text(about.series),
        "metadata": json.dumps(about.metadata) if about.metadata else "",
        "optimizers": ", ".join(manifest.optimizers),
        "scopes with defaults": ", ".join(manifest.scopes),
        "request ids": f"{len(manifest.requests):,}" if manifest.requests else "",
        "files": ", ".join(f"{each.name} ({size_text(each.nbytes)})" for each in manifest.files),
    }
    return {label: text for label, text in described.items() if text}


def _saved_fields(saved: SavedVariable) -> dict[str, Any]:
    from paramserver_wire.dtypes import name_of

    return {
        "shape": saved.shape,
        "dtype": name_of(saved.dtype),
        "nbytes": saved.nbytes,
        "version": saved.version,
        "initialized": saved.initialized,
        "trainable": saved.trainable,
        "collections": saved.collections,
        "initializer": saved.initializer,
    }


def _row(saved: SavedVariable) -> tuple[str, ...]:
    return (
        saved.name,
        shape_text(saved.shape),
        saved.dtype.name,
        size_text(saved.nbytes),
        str(saved.version) if saved.initialized else NO_VALUE,
        "yes" if saved.trainable else "no",
    )


def show_data_directory(path: Path, *, verify: bool, as_json: bool) -> None:
    """Print a data directory. With `verify` damage in any checkpoint ends the command with 1."""
    from paramserver import checkpoint

    found = checkpoint.survey(path)
    damage = {entry.id: [entry.problem] for entry in found.entries if entry.summary is None}
    if verify:
        for entry in found.entries:
            if entry.summary is not None:
                # One that is gone meanwhile was retired by the server.
                with suppress(checkpoint.CheckpointNotFound):
                    damage[entry.id] = checkpoint.verify(path / "checkpoints" / entry.directory)
    damage = {id: told for id, told in damage.items() if told}
    infos = [entry.info() | {"directory": entry.directory} for entry in found.entries]
    if as_json:
        document = {
            "kind": "data directory",
            "path": str(path),
            "server": found.server,
            "in_use_by": found.holder,
            "leftovers": found.leftovers,
            "gone": found.gone,
            "checkpoints": [info | {"created": _time(info["created"])} for info in infos],
        }
        print_json(document | ({"damage": damage} if verify else {}))
    else:
        print(f"data directory {path}")
        print_fields(_about(found, damage))
        if infos:
            print()
            print_table(_CHECKPOINTS, (_checkpoint_row(info, damage) for info in infos))
        print(f"{count_text(len(infos), 'checkpoint')}, {size_text(sum(info['nbytes'] for info in infos))}")
    _tell_damage(verify, damage, as_json)


def _about(found: Survey, damage: Mapping[str, list[str]]) -> dict[str, str]:
    start = next((entry.id for entry in found.recovery_points if entry.id not in damage), None)
    fields = {
        "server": found.server or "none yet",
        "in use": "no" if found.holder is None else f"by process {found.holder}",
        "next start": "starts empty" if start is None else f"restores {start}",
        "leftovers": ", ".join(found.leftovers),
        "listed but gone": ", ".join(found.gone),
    }
    return {label: text for label, text in fields.items() if text}


def _checkpoint_row(info: Mapping[str, Any], damage: Mapping[str, list[str]]) -> tuple[str, ...]:
    if info["state"] == "damaged":
        return (info["id"], "-", "-", "-", "-", "-", "damaged", "-")
    return (
        info["id"],
        "-" if info["step"] is None else str(info["step"]),
        f"{info['variables']:,}",
        size_text(info["nbytes"]),
        age_text(_age_s(info["created"])),
        "full" if info["full"] else "partial",
        "damaged" if info["id"] in damage else "complete",
        shown_text(info["series"]),
    )


def _tell_damage(verify: bool, damage: Mapping[str, Iterable[str]], as_json: bool) -> None:
    """The end of a verification: what is wrong, and status 1."""
    found = [f"{id}: {told}" for id, each in damage.items() for told in each]
    if verify and not as_json:
        print("\n".join(found) if found else "sound: every checksum matches")
    if verify and found:
        raise typer.Exit(REFUSED)


def _age_s(seconds: float) -> float:
    return datetime.now(UTC).timestamp() - seconds


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
