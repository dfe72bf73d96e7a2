"""`paramserver save`, `restore` and `checkpoints`: to and from the server's disk."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from paramserver.cli import completing
from paramserver.cli.asking import DEFAULT_TIMEOUT_S, DEFAULT_URL, USAGE, Json, Timeout, TokenFile, Url, asking, fail
from paramserver.cli.showing import (
    Column,
    age_text,
    ago_text,
    count_text,
    fields_of,
    names_text,
    print_fields,
    print_json,
    print_table,
    size_text,
)

if TYPE_CHECKING:
    from paramserver_client import CheckpointInfo

_COLUMNS: Final = (
    Column("id"),
    Column("step", right=True),
    Column("variables", right=True),
    Column("size", right=True),
    Column("age", right=True),
    Column("holds"),
    Column("series", spare=True),
)

_SAVE_EXAMPLES: Final = """\b
Examples:
  paramserver save                            everything, as ckpt-<commit>
  paramserver save epoch-3 --step 2400        under a name of your own
  paramserver save conv --prefix conv1        one scope; no recovery point
"""

_RESTORE_EXAMPLES: Final = """\b
Examples:
  paramserver restore                         the newest checkpoint
  paramserver restore epoch-3                 an earlier one
  paramserver restore epoch-3 --name conv1/weight --name conv1/bias
  paramserver restore epoch-3 --dry-run       what would be done
  paramserver restore epoch-3 --name head/bias --rename head/bias=conv1/bias
  paramserver restore epoch-3 --no-strict --no-create     what fits
"""

_CHECKPOINTS_EXAMPLES: Final = """\b
Examples:
  paramserver checkpoints
  paramserver checkpoints --json | jq -r '.checkpoints[0].id'
  paramserver checkpoints --delete epoch-3
"""


def register(app: typer.Typer) -> None:
    """Add `save`, `restore` and `checkpoints` to the command line."""
    app.command(
        "save",
        help="Save a checkpoint on the server. It is one consistent cut; pushes go on meanwhile.",
        epilog=_SAVE_EXAMPLES,
    )(save)
    app.command(
        "restore",
        help="Restore variables from a checkpoint. All in one commit, or none.",
        epilog=_RESTORE_EXAMPLES,
    )(restore)
    app.command(
        "checkpoints",
        help="List the checkpoints, newest first.",
        epilog=_CHECKPOINTS_EXAMPLES,
    )(checkpoints)


def save(
    id: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="Its name; one of that name is replaced.",
            show_default=False,
            autocompletion=completing.checkpoints,
        ),
    ] = None,
    step: Annotated[int | None, typer.Option(metavar="N", help="The training step to note in it.")] = None,
    prefix: Annotated[
        str | None, typer.Option(metavar="SCOPE", help="Only this scope.", autocompletion=completing.scopes)
    ] = None,
    collection: Annotated[str | None, typer.Option(metavar="KEY", help="Only this collection.")] = None,
    series: Annotated[str | None, typer.Option(metavar="NAME", help="The series that it counts in.")] = None,
    max_to_keep: Annotated[
        int | None, typer.Option("--max-to-keep", metavar="N", help="How many of the series stay; 0 keeps all.")
    ] = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    token_file: TokenFile = None,
) -> None:
    """Save a checkpoint on the server."""
    with asking(url, timeout_s, token_file) as client:
        saved = client.save(id, step=step, prefix=prefix, collection=collection, series=series, max_to_keep=max_to_keep)
    if as_json:
        print_json(fields_of(saved))
        return
    print(f"saved {saved.id}: {_content_text(saved)}, commit {saved.commit}")
    if saved.skipped:
        print_fields({"left out, without a value": names_text(saved.skipped)})


def restore(
    id: Annotated[
        str, typer.Argument(metavar="ID", help="Which checkpoint.", autocompletion=completing.checkpoints)
    ] = "latest",
    names: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="NAME", help="Only this variable. Repeat.", autocompletion=completing.variables),
    ] = None,
    renames: Annotated[
        list[str] | None,
        typer.Option("--rename", metavar="NAME=SAVED", help="Take the value saved by another name. Repeat."),
    ] = None,
    reshape: Annotated[
        bool, typer.Option("--reshape", help="Take values of another shape with as many elements.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict/--no-strict", help="Refuse the whole when a part is not there or does not fit.")
    ] = True,
    create: Annotated[
        bool, typer.Option("--create/--no-create", help="Create the variables that the server lacks.")
    ] = True,
    sequentially: Annotated[
        bool, typer.Option("--sequentially", help="One variable after the other, in little memory; not atomic.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; say what would be done.")] = False,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    token_file: TokenFile = None,
) -> None:
    """Restore variables from a checkpoint."""
    rename = dict(_renamed(each) for each in renames or ())
    with asking(url, timeout_s, token_file) as client:
        # Which one `latest` is, is settled first: what is told below is then about the one that was restored.
        checkpoint = client.get_checkpoint(id)
        restored = client.restore(
            checkpoint.id,
            names=names or None,
            rename=rename or None,
            reshape=reshape,
            strict=strict,
            create=create,
            restore_sequentially=sequentially,
            dry_run=dry_run,
        )
    if as_json:
        print_json({"id": checkpoint.id, **fields_of(restored)})
        return
    done = "would restore" if dry_run else "restored"
    print(f"{done} {checkpoint.id} ({_content_text(checkpoint)}, {ago_text(_age_s(checkpoint))})")
    fields = {
        f"{done}, {len(restored.restored):,}": restored.restored,
        "missing in it, left alone": restored.missing,
        "unexpected, not restored": restored.unexpected,
    }
    shown = {label: names_text(names) for label, names in fields.items() if names}
    print_fields(shown | ({} if dry_run else {"commit": str(restored.commit)}))


def checkpoints(
    delete: Annotated[
        str | None,
        typer.Option("--delete", metavar="ID", help="Delete this one first.", autocompletion=completing.checkpoints),
    ] = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    token_file: TokenFile = None,
) -> None:
    """List the checkpoints, newest first."""
    with asking(url, timeout_s, token_file) as client:
        if delete is not None:
            client.delete_checkpoint(delete)
        found = client.checkpoints()
    if as_json:
        print_json({"checkpoints": [fields_of(each) for each in found]})
        return
    if found:
        print_table(_COLUMNS, map(_row, found))
    for each in found:
        if each.detail:
            print(f"{each.id} is {each.state}: {each.detail}")
    print(f"{count_text(len(found), 'checkpoint')}, {size_text(sum(each.nbytes for each in found))}")


def _renamed(text: str) -> tuple[str, str]:
    name, sign, saved = text.partition("=")
    if not (name and sign and saved):
        fail(f"--rename {text}: wanted NAME=SAVED, the variable and the name it was saved by", USAGE)
    return name, saved


def _row(checkpoint: CheckpointInfo) -> tuple[str, ...]:
    if checkpoint.state != "complete":
        return (checkpoint.id, "-", "-", "-", "-", checkpoint.state, "-")
    return (
        checkpoint.id,
        "-" if checkpoint.step is None else str(checkpoint.step),
        f"{checkpoint.variables:,}",
        size_text(checkpoint.nbytes),
        age_text(_age_s(checkpoint)),
        _holds(checkpoint),
        checkpoint.series,
    )


def _content_text(checkpoint: CheckpointInfo) -> str:
    parts = [_holds(checkpoint), count_text(checkpoint.variables, "variable"), size_text(checkpoint.nbytes)]
    if checkpoint.step is not None:
        parts.append(f"step {checkpoint.step}")
    return ", ".join(parts)


def _holds(checkpoint: CheckpointInfo) -> str:
    return "full" if checkpoint.full else "partial"


def _age_s(checkpoint: CheckpointInfo) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(checkpoint.created)).total_seconds()
