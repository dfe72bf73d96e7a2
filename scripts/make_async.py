"""Makes the async client from the sync one: `make generate`.

The sync sources are the one truth. Whatever waits there, at whatever remove, is written again with `async` and `await`
into `client/paramserver_client/aio`; whatever decides is imported from where it stands. Every module of `calls` is
taken, and those in `SOURCES`.

What waits: the functions of `waiting.py` (whose twin `aio/waiting.py` is written by hand, as are the constructor and
the embedded server), what is called on a transport, and every function that calls one of these. Examples in docstrings
are changed along; they run where `await` may stand by itself, as in `python -m asyncio`.
"""

from __future__ import annotations

import ast
import doctest
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
# Found, not imported: what was made from older sources may not fit the newer ones.
PACKAGE: Final = Path(find_spec("paramserver_client").submodule_search_locations[0])
SOURCES: Final = ("connection.py", "socket_transport.py", "transport.py")
WAITING: Final = "paramserver_client.waiting"

RENAMED_CLASSES: Final = re.compile(
    r"\b(BaseTransport|Connection|HttpTransport|ParameterClient|Pool|SocketTransport|Transport)\b"
)
# All methods of these wait: their bodies are elsewhere.
PROTOCOLS: Final = ("Transport",)
# So do these, for the sake of the seam they stand at.
SEAMS: Final = (
    "Places.take",
    "SocketTransport.handle_request",
    "SocketTransport.close",
    "HttpTransport.close",
    "HttpTransport._sleep",
)
# Whose methods are called on a variable of this name, where it is not the client's own.
RECEIVERS: Final = {"connection": "Connection", "pool.places": "Places", "sockets": "SocketTransport"}
# What httpx calls otherwise on its async side, by the class we are in and the variable it is called on.
HTTPX: Final = {
    ("SocketTransport", "handle_request"): "handle_async_request",
    ("SocketTransport", "close"): "aclose",
    ("HttpTransport", "self._transport.handle_request"): "handle_async_request",
    ("HttpTransport", "self._transport.close"): "aclose",
    ("", "response.read"): "aread",
    ("", "request.read"): "aread",
}

Definition = ast.FunctionDef | ast.ClassDef
Edit = tuple[int, int, str]


class Source:
    """One sync module: its definitions, and what it needs to be made async."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text()
        self.tree = ast.parse(self.text)
        self.dotted = _dotted(path)
        self.target = PACKAGE / "aio" / path.relative_to(PACKAGE)
        self.definitions: dict[str, Definition] = {
            node.name: node for node in self.tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        }
        self.imports = [node for node in self.tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        self.is_calls = path.parent.name == "calls"

    def family(self, name: str) -> str:
        """Whose `self` a class shares: all mixins are one client."""
        return "calls" if self.is_calls else name

    def functions(self) -> Iterator[tuple[str, ast.FunctionDef]]:
        """Every function with the family of its class, or this module's name."""
        for name, node in self.definitions.items():
            if isinstance(node, ast.FunctionDef):
                yield self.dotted, node
            else:
                yield from ((self.family(name), each) for each in node.body if isinstance(each, ast.FunctionDef))


def made(sources: list[Source]) -> dict[Path, str]:
    """The text of each async module, by its path."""
    waits = _what_waits(sources)
    converted = _what_is_converted(sources, waits)
    return {source.target: _converted(source, waits, converted) for source in sources if converted[source.dotted]}


def sources() -> list[Source]:
    """The sync modules that wait."""
    return [Source(path) for path in (*sorted((PACKAGE / "calls").glob("*.py")), *(PACKAGE / name for name in SOURCES))]


def _what_waits(sources: list[Source]) -> set[str]:
    waits = set(SEAMS)
    for source in sources:
        for node in source.imports:
            if isinstance(node, ast.ImportFrom) and node.module == WAITING:
                waits |= {f"{source.dotted}.{each.name}" for each in node.names if each.name[0].islower()}
        waits |= {f"{family}.{node.name}" for family, node in source.functions() if family in PROTOCOLS}
    while True:
        found = {
            f"{family}.{node.name}"
            for source in sources
            for family, node in source.functions()
            if any(_is_awaited(call, family, source, waits) for call in ast.walk(node))
        }
        if found <= waits:
            return waits
        waits |= found


def _is_awaited(call: ast.AST, family: str, source: Source, waits: set[str], *, example: bool = False) -> bool:
    if not isinstance(call, ast.Call):
        return False
    if isinstance(call.func, ast.Name):
        return f"{source.dotted}.{call.func.id}" in waits
    if not isinstance(call.func, ast.Attribute):
        return False
    receiver, name = ast.unparse(call.func.value), call.func.attr
    if receiver == "self" or (example and isinstance(call.func.value, ast.Name)):
        return f"{family}.{name}" in waits
    return (
        receiver == "self._transport"
        or ("", f"{receiver}.{name}") in HTTPX
        or (f"{RECEIVERS.get(receiver)}.{name}" in waits)
    )


def _what_is_converted(sources: list[Source], waits: set[str]) -> dict[str, set[str]]:
    """The definitions that are written again: those that wait, and those that name one that is."""
    converted: dict[str, set[str]] = {source.dotted: set() for source in sources}
    while True:
        before = sum(map(len, converted.values()))
        for source in sources:
            for family, node in source.functions():
                if f"{family}.{node.name}" in waits:
                    converted[source.dotted] |= {
                        name for name, each in source.definitions.items() if each is node or node in ast.walk(each)
                    }
            moved = converted[source.dotted] | {
                each.name
                for node in source.imports
                if isinstance(node, ast.ImportFrom)
                for each in node.names
                if each.name in converted.get(str(node.module), ())
            }
            for name, definition in source.definitions.items():
                if any(isinstance(node, ast.Name) and node.id in moved for node in ast.walk(definition)):
                    converted[source.dotted].add(name)
        if sum(map(len, converted.values())) == before:
            return converted


def _converted(source: Source, waits: set[str], converted: dict[str, set[str]]) -> str:
    names = converted[source.dotted]
    relative = source.path.relative_to(PACKAGE)
    parts = [
        f"# Made from {relative} by scripts/make_async.py. Do not change it here: change {relative}, run `make generate`.\n",
        f'"""{ast.get_docstring(source.tree, clean=False)}"""\n\n',
        "from __future__ import annotations\n\n",
        *_imports(source, converted),
    ]
    for node in source.tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            parts.append(f"\n{ast.unparse(node)}\n")
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in names:
            parts.append(f"\n\n{_definition(source, node, waits)}\n")
    return _formatted(RENAMED_CLASSES.sub(r"Async\1", "".join(parts)), source.target)


def _imports(source: Source, converted: dict[str, set[str]]) -> Iterator[str]:
    """The imports of the source, each name from where it is now; ruff takes out those that are not needed."""
    for node in source.imports:
        if isinstance(node, ast.Import):
            yield f"{ast.unparse(node)}\n"
        elif node.module != "__future__":
            for each in node.names:
                moved = node.module == WAITING or each.name in converted.get(str(node.module), ())
                alias = f" as {each.asname}" if each.asname else ""
                yield f"from {_moved(node.module) if moved else node.module} import {each.name}{alias}\n"
    for node in source.tree.body:
        for name in _bound(node) - converted[source.dotted] - {"__all__"}:
            yield f"from {source.dotted} import {name}\n"


def _bound(node: ast.stmt) -> set[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {each.id for each in targets if isinstance(each, ast.Name)}


def _definition(source: Source, definition: Definition, waits: set[str]) -> str:
    family = source.dotted if isinstance(definition, ast.FunctionDef) else source.family(definition.name)
    edits: list[Edit] = []
    text = source.text.encode()
    starts = _line_starts(text)
    _edit(definition, [], family, source, waits, starts, edits)
    for node in ast.walk(definition):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
            begin, end = _span(node.body[0], starts)
            edits.append((begin, end, _examples(text[begin:end].decode(), source, waits)))
    first = min([definition, *definition.decorator_list], key=lambda node: node.lineno)
    begin, end = starts[first.lineno], _span(definition, starts)[1]
    return _edited(text, [edit for edit in edits if begin <= edit[0] < end], begin, end)


def _edit(
    node: ast.AST,
    above: list[ast.AST],
    family: str,
    source: Source,
    waits: set[str],
    starts: list[int],
    edits: list[Edit],
    *,
    example: bool = False,
) -> None:
    """Add the edits that make `node` and all in it async."""
    if isinstance(node, ast.FunctionDef) and f"{family}.{node.name}" in waits:
        begin = _span(node, starts)[0]
        edits.append((begin, begin, "async "))
        if name := HTTPX.get((family, node.name)):
            edits.append((begin + 4, begin + 4 + len(node.name), name))
    elif isinstance(node, ast.Call) and _is_awaited(node, family, source, waits, example=example):
        if closed := next((each for each in above if isinstance(each, (ast.Lambda, ast.GeneratorExp))), None):
            raise SystemExit(
                f"{source.path}:{node.lineno}: {ast.unparse(closed)} waits, and a lambda or a generator expression can't. "
                "Write it as a loop."
            )
        begin, end = _span(node, starts)
        inner = isinstance(above[-1], (ast.Attribute, ast.Subscript)) and above[-1].value is node
        edits.append((begin, begin, "(await " if inner else "await "))
        if inner:
            edits.append((end, end, ")"))
        called = ast.unparse(node.func)
        if name := HTTPX.get((family, called)) or HTTPX.get(("", called)):
            end = _span(node.func, starts)[1]
            edits.append((end - len(called.rpartition(".")[2]), end, name))
    elif example and isinstance(node, ast.With) and "ParameterClient(" in ast.unparse(node.items[0]):
        begin = _span(node, starts)[0]
        edits.append((begin, begin, "async "))
    for child in ast.iter_child_nodes(node):
        _edit(child, [*above, node], family, source, waits, starts, edits, example=example)


def _examples(docstring: str, source: Source, waits: set[str]) -> str:
    """The docstring with its examples made async."""
    lines = docstring.splitlines()
    for example in doctest.DocTestParser().get_examples(docstring):
        text = example.source.encode()
        starts, edits = _line_starts(text), list[Edit]()
        _edit(ast.parse(text), [], "calls", source, waits, starts, edits, example=True)
        for number, line in enumerate(_edited(text, edits, 0, len(text)).splitlines()):
            prompt = "..." if number else ">>>"
            lines[example.lineno + number] = f"{' ' * example.indent}{prompt} {line}"
    return "\n".join(lines)


def _edited(text: bytes, edits: list[Edit], begin: int, end: int) -> str:
    parts, at = [], begin
    for first, last, new in sorted(edits, key=lambda edit: edit[:2]):
        parts += [text[at:first].decode(), new]
        at = last
    return "".join([*parts, text[at:end].decode()])


def _line_starts(text: bytes) -> list[int]:
    """The offset of each line, by its number from 1 on."""
    starts = [0, 0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts


def _span(node: ast.AST, starts: list[int]) -> tuple[int, int]:
    assert isinstance(node, (ast.stmt, ast.expr))
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return starts[node.lineno] + node.col_offset, starts[node.end_lineno] + node.end_col_offset


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def _moved(module: str | None) -> str:
    return f"paramserver_client.aio.{str(module).removeprefix('paramserver_client.')}"


def _formatted(text: str, target: Path) -> str:
    for step in (["check", "--select", "F401,I", "--fix", "--quiet"], ["format", "--quiet"]):
        settings = ["--config", str(ROOT / "pyproject.toml"), "--stdin-filename", target.name, "-"]
        command = [sys.executable, "-m", "ruff", *step, *settings]
        run = subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT, check=False)
        if run.returncode:
            raise SystemExit(f"{target}: {run.stdout}{run.stderr}")
        text = run.stdout
    return text


def main() -> None:
    """Write the async modules, and remove those whose source is gone."""
    texts = made(sources())
    for path in (PACKAGE / "aio" / "calls").glob("*.py"):
        if path not in texts:
            path.unlink()
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
