"""`paramserver tree`: scopes, and the variables in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from paramserver.cli import completing
from paramserver.cli.asking import DEFAULT_TIMEOUT_S, DEFAULT_URL, Json, Timeout, TokenFile, Url, asking
from paramserver.cli.inspecting import metadata_fields, total_text
from paramserver.cli.showing import Column, on_terminal, print_json, print_table, shape_text, size_text

if TYPE_CHECKING:
    from paramserver_client import Metadata

_COLUMNS: Final = (
    Column("scope"),
    Column("variables", right=True),
    Column("size", right=True),
    Column("shape"),
    Column("dtype"),
)
_EXAMPLES: Final = """\b
Examples:
  paramserver tree                            everything
  paramserver tree conv1                      what is in one scope
  paramserver tree --depth 1                  the outermost scopes
  paramserver tree --json | jq '.children[] | {name, nbytes}'
"""


@dataclass(slots=True)
class Node:
    """A name: a variable, a scope with what is below it, or both at once."""

    name: str
    metadata: Metadata | None = None
    children: dict[str, Node] = field(default_factory=dict)
    variables: int = 0
    nbytes: int = 0


def register(app: typer.Typer) -> None:
    """Add `tree` to the command line."""
    app.command(
        "tree",
        help="Show the scopes of a server as a tree: their variables, how many they are, and how large.",
        short_help="Show scopes and variables as a tree.",
        epilog=_EXAMPLES,
    )(tree)


def tree(
    scope: Annotated[
        str,
        typer.Argument(metavar="SCOPE", help="Only this scope.", show_default=False, autocompletion=completing.scopes),
    ] = "",
    depth: Annotated[
        int | None, typer.Option("--depth", metavar="N", min=1, help="How many levels to show; the rest is summed up.")
    ] = None,
    collection: Annotated[str | None, typer.Option(metavar="KEY", help="Only this collection.")] = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    token_file: TokenFile = None,
) -> None:
    """Show the scopes of a server as a tree."""
    with asking(url, timeout_s, token_file) as client:
        found = client.list_variables(prefix=scope or None, collection=collection)
    root = grown(found, scope)
    if as_json:
        print_json(_document(root, depth))
        return
    if found:
        guides = _GUIDES if on_terminal() else _INDENTS
        print_table(_COLUMNS, _rows(root, depth, guides))
    print(total_text(found))


def grown(variables: Iterable[Metadata], scope: str = "") -> Node:
    """The tree of these variables, all of which are in `scope` or are that name itself."""
    root = Node(scope)
    for metadata in variables:
        rest = metadata.name[len(scope) :].strip("/")
        node = root
        _count(node, metadata)
        for segment in rest.split("/") if rest else ():
            path = f"{node.name}/{segment}" if node.name else segment
            node = node.children.setdefault(segment, Node(path))
            _count(node, metadata)
        node.metadata = metadata
    return root


def _count(node: Node, metadata: Metadata) -> None:
    node.variables += 1
    node.nbytes += metadata.nbytes


# Before a child, before the last child, and before what is below each of them.
_GUIDES: Final = ("├── ", "└── ", "│   ", "    ")
_INDENTS: Final = ("  ", "  ", "  ", "  ")


def _rows(root: Node, depth: int | None, guides: tuple[str, str, str, str]) -> Iterator[tuple[str, ...]]:
    """A row for each name. What is looked at stands first, without a guide; of a whole server that is nothing."""
    if root.name:
        yield _row(root, root.name, "", shut=depth == 0)
        yield from _below(root, "", depth, guides)
        return
    for label, child in root.children.items():
        yield _row(child, label, "", shut=depth == 1)
        yield from _below(child, "", None if depth is None else depth - 1, guides)


def _below(node: Node, lead: str, depth: int | None, guides: tuple[str, str, str, str]) -> Iterator[tuple[str, ...]]:
    if depth == 0:
        return
    child, last_child, under, under_last = guides
    labels = list(node.children)
    for label in labels:
        at_end = label == labels[-1]
        below = node.children[label]
        yield _row(below, label, lead + (last_child if at_end else child), shut=depth == 1)
        yield from _below(below, lead + (under_last if at_end else under), None if depth is None else depth - 1, guides)


def _row(node: Node, label: str, lead: str, *, shut: bool) -> tuple[str, ...]:
    scope = bool(node.children)
    own = node.metadata
    more = "/..." if scope and shut else "/" if scope else ""
    return (
        f"{lead}{label}{more}",
        f"{node.variables:,}" if scope else "",
        size_text(node.nbytes),
        "" if own is None else shape_text(own.shape),
        "" if own is None else own.dtype.name if own.initialized else f"{own.dtype.name}, no value",
    )


def _document(node: Node, depth: int | None) -> dict[str, Any]:
    document: dict[str, Any] = {"name": node.name, "variables": node.variables, "nbytes": node.nbytes}
    if node.metadata is not None:
        document["variable"] = metadata_fields(node.metadata)
    if node.children and depth != 0:
        below = None if depth is None else depth - 1
        document["children"] = [_document(child, below) for child in node.children.values()]
    return document
