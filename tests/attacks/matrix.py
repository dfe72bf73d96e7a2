"""Every route, by every kind of token, about names inside its scope, outside, and beside it: who is let in, and who is not.

The routes are those of the API's description. What each should take is written down here a second time, on purpose: a route
without a row, or with another's rights, is found.

    PYTHONPATH=tests:. python -m attacks.matrix
"""

from __future__ import annotations

import itertools
import json
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np

from faults.outcome import Outcome, main, timed
from paramserver.keyring import hashed_line
from paramserver_wire import frame, packed, safetensors
from paramserver_wire.tensors import Tensor
from support.server import Server

SCOPE: Final = "model"
DIRECT: Final = re.compile(r":(read|gather|assign|assign_\w+|scatter_\w+|pull|push|apply_gradients)$")
"""The paths of the data plane."""
INSIDE: Final = ("model", "model/w", "model/deep/er")
OUTSIDE: Final = ("model2", "model2/w", "mod", "other/w", "other/model/w")
RANKS: Final = {"read": 1, "write": 2, "admin": 3}
ONE: Final = {"value": 1.0}
# What a request is about: names, or everything there is.
WHOLE: Final = None
NOTHING: Final = ""


@dataclass(frozen=True)
class Row:
    """The role that a route takes. `ask(name)` gives the ways to be about a name: each a query and a body; a route whose path
    has a name is about that. `whole` are the ways to be about everything. `nothing` are those that name nothing at all, which still take the
    role (or everything, where `all_or_nothing`). `lists`: shows what may be read. `anywhere`: is
    about everything, whatever it names. `kind` is how a body travels."""

    role: str | None
    ask: Callable[[str], list[tuple[Mapping[str, str], Any]]] = lambda name: [({}, None)]
    whole: tuple[tuple[Mapping[str, str], Any], ...] = ()
    nothing: tuple[tuple[Mapping[str, str], Any], ...] = ()
    all_or_nothing: bool = False
    lists: bool = False
    anywhere: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


def _body(make: Callable[[str], Any]) -> Callable[[str], list[tuple[Mapping[str, str], Any]]]:
    return lambda name: [({}, body) for body in make(name)]


def _chosen(name: str) -> list[tuple[Mapping[str, str], Any]]:
    return [({}, {"names": [name]}), ({}, {"names": ["model/w", name]}), ({}, {"prefix": name})]


def _file(*names: str) -> bytes:
    return b"".join(
        bytes(part)
        for part in safetensors.encode({"tensors": {name: Tensor(np.ones(1, np.float32)) for name in names}})
    )


_CHOICE: Final[tuple[tuple[Mapping[str, str], Any], ...]] = (({}, {}), ({}, {"collection": "trainable_variables"}))
_NOBODY: Final[tuple[tuple[Mapping[str, str], Any], ...]] = (({}, {"names": []}),)
_VALUE = _body(lambda name: [ONE])
_ROWS_OF = _body(lambda name: [{"indices": [0], "value": [1.0]}])
_FILES: Final = {"content-type": "application/x-safetensors"}
_EXPORT: Final = {"accept": "application/x-safetensors"}

ROWS: Final[Mapping[tuple[str, str], Row]] = {
    ("get", "/v1/server"): Row(None),
    ("get", "/v1/variables"): Row("read", lists=True),
    ("delete", "/v1/variables"): Row(
        "admin",
        lambda name: [({"prefix": name, "confirm": "true"}, None)],
        (({"prefix": "", "confirm": "true"}, None),),
    ),
    ("put", "/v1/variables/{name}"): Row(
        "write",
        _body(lambda name: [{"shape": [1]}, {"shape": [1], "initializer": {"type": "zeros_like", "like": name}}]),
    ),
    ("get", "/v1/variables/{name}"): Row("read"),
    ("patch", "/v1/variables/{name}"): Row("write", _body(lambda name: [{"trainable": True}])),
    ("delete", "/v1/variables/{name}"): Row("admin"),
    ("get", "/v1/variables/{name}:read"): Row("read"),
    ("get", "/v1/variables/{name}:is_initialized"): Row("read"),
    ("post", "/v1/variables/{name}:gather"): Row("read", _body(lambda name: [{"indices": [0]}])),
    **{("post", f"/v1/variables/{{name}}:{op}"): Row("write", _VALUE) for op in ("assign", "assign_add", "assign_sub")},
    **{
        ("post", f"/v1/variables/{{name}}:{op}"): Row("write", _ROWS_OF)
        for op in ("scatter_update", "scatter_add", "scatter_sub")
    },
    ("post", "/v1/variables/{name}:initialize"): Row("write", _body(lambda name: [{}])),
    ("post", "/v1/variables:initialize"): Row("write", _chosen, _CHOICE, _NOBODY),
    ("get", "/v1/variables:report_uninitialized"): Row("read", lambda name: [({"prefix": name}, None)], (({}, None),)),
    ("post", "/v1/variables:assert_initialized"): Row("read", _chosen, _CHOICE, _NOBODY),
    ("post", "/v1/variables:pull"): Row("read", _chosen, _CHOICE, _NOBODY),
    ("post", "/v1/variables:push"): Row(
        "write",
        _body(
            lambda name: [
                {"updates": [{"name": name, "op": "assign", **ONE}]},
                {"updates": [{"name": "model/w", "op": "assign", **ONE}, {"name": name, "op": "assign_add", **ONE}]},
                {"updates": [{"name": "model/w", "op": "assign", **ONE}], "return": [name]},
                {"updates": [{"op": "ema", "target": name, "source": "model/w", "decay": 0.9}]},
                {"updates": [{"op": "ema", "target": "model/w", "source": name, "decay": 0.9}]},
            ]
        ),
        nothing=(({}, {"updates": []}),),
    ),
    ("get", "/v1/variables:export"): Row(
        "read", lambda name: [({"prefix": name}, None)], (({}, None),), headers=_EXPORT
    ),
    ("put", "/v1/variables:import"): Row(
        "write",
        lambda name: [({}, _file(name)), ({}, _file("model/w", name)), ({"prefix": name}, _file("w"))],
        nothing=(({}, _file()),),
        headers=_FILES,
    ),
    ("get", "/v1/scopes"): Row("read", lists=True),
    ("get", "/v1/scopes/{name}"): Row("read"),
    ("put", "/v1/scopes/{name}"): Row(
        "write",
        _body(lambda name: [{"trainable": True}, {"initializer": {"type": "zeros_like", "like": name}}]),
    ),
    ("delete", "/v1/scopes/{name}"): Row("admin"),
    ("get", "/v1/collections"): Row("read", lists=True),
    ("get", "/v1/collections/{name}"): Row("read", lists=True),
    ("post", "/v1/collections/{name}:add"): Row(
        "write", _body(lambda name: [{"names": [name]}, {"names": ["model/w", name]}]), nothing=_NOBODY
    ),
    ("post", "/v1/collections/{name}:remove"): Row("write", _body(lambda name: [{"names": [name]}]), nothing=_NOBODY),
    ("get", "/v1/optimizers"): Row("read", lists=True),
    ("get", "/v1/optimizers/{name}"): Row("read"),
    ("put", "/v1/optimizers/{name}"): Row(
        "write",
        _body(
            lambda name: [
                {"type": "adam", "learning_rate": 0.1},
                {"type": "adam", "learning_rate": 0.1, "slots": {name: ["model/m", "model/v"]}},
                {"type": "adam", "learning_rate": 0.1, "scalars": ["model/b1", name]},
            ]
        ),
    ),
    ("delete", "/v1/optimizers/{name}"): Row("admin", anywhere=True),
    ("post", "/v1/optimizers/{name}:apply_gradients"): Row(
        "write",
        _body(
            lambda name: [
                {"gradients": {"model/w": [1.0]}},
                {"gradients": {name: [1.0]}},
                {"gradients": {"model/w": [1.0]}, "global_step": name},
                {"gradients": {"model/w": [1.0]}, "return": [name]},
                {"gradients": {"model/w": [1.0]}, "then": [{"name": name, "op": "assign_add", **ONE}]},
            ]
        ),
    ),
    ("post", "/v1/checkpoints"): Row("admin", _chosen, _CHOICE, anywhere=True),
    ("get", "/v1/checkpoints"): Row("read", anywhere=True),
    ("get", "/v1/checkpoints/{id}"): Row("read", anywhere=True),
    ("get", "/v1/checkpoints/{id}:download"): Row("read", anywhere=True),
    ("delete", "/v1/checkpoints/{id}"): Row("admin", anywhere=True),
    ("post", "/v1/checkpoints/{id}:restore"): Row(
        "admin",
        _body(lambda name: [{"names": [name]}, {"names": ["model/w"], "rename": {"model/w": name}}]),
        (({}, {}), ({}, {"dry_run": True})),
        nothing=(*_NOBODY, ({}, {"names": [], "restore_sequentially": True})),
        all_or_nothing=True,
    ),
}
"""What each route should take. The probes are open: they stand in no row."""
OPEN: Final = frozenset({("get", "/healthz"), ("get", "/readyz")})


@dataclass(frozen=True)
class Cell:
    """One request, and whether it should be let in: 401, 403, or anything else."""

    holder: str
    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    headers: Mapping[str, str]
    wanted: str
    lists: bool = False

    def __str__(self) -> str:
        body = f"{len(self.body)} bytes" if isinstance(self.body, bytes) else json.dumps(self.body)
        return f"{self.holder}: {self.method.upper()} {self.path} {dict(self.query)} {body}: wanted {self.wanted}"


def run(seed: int, count: int, program: Sequence[str] = ("-m", "paramserver.cli")) -> Outcome:
    """All cells (`count` is not asked for); the order is the seed's. `program` is the server, for ones with a planted bug."""
    with timed() as seconds, tempfile.TemporaryDirectory() as place:
        tokens = {holder: secrets.token_hex(32) for holder in (*RANKS, "ops")}
        lines = [hashed_line(tokens[role], role, f"{role}:{SCOPE}/*") for role in RANKS]
        file = Path(place) / "tokens"
        file.write_text("\n".join([*lines, hashed_line(tokens["ops"], "ops", "admin:*")]))
        with Server(
            "--token-file",
            str(file),
            "--wrong-tokens-limit",
            "0",
            "--log-level",
            "error",
            data_dir=Path(place) / "data",
            program=program,
        ) as server:
            tried, wrong, routes = _try_all(server.url, tokens, seed)
    figures = {"routes": str(routes), "cells as expected": f"{tried - len(wrong):,} of {tried:,}"}
    return Outcome("authorization matrix", tried, tuple(wrong), figures, seconds())


def _try_all(url: str, tokens: Mapping[str, str], seed: int) -> tuple[int, list[str], int]:
    wrong: list[str] = []
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
        # Heads that say what they want of the connection are never known.
        del http.headers["connection"]
        ops = {"authorization": f"Bearer {tokens['ops']}"}
        document = http.get("/openapi.json", headers=ops).json()
        routes = {(method, path) for path, methods in document["paths"].items() for method in methods} - OPEN
        wrong += [f"{method} {path} has no row" for method, path in sorted(routes - ROWS.keys())]
        wrong += [f"{method} {path} is no route" for method, path in sorted(ROWS.keys() - routes)]
        for name in (*INSIDE, *OUTSIDE):
            http.put(f"/v1/variables/{name}", json={"value": [1.0]}, headers=ops).raise_for_status()
        before = _outside(http, ops)
        cells = [cell for route in sorted(routes & ROWS.keys()) for cell in _cells(*route)]
        cells.sort(key=lambda cell: (not cell.lists, hash((seed, str(cell)))))
        for cell in cells:
            wrong += _tried(http, cell, tokens)
        if _outside(http, ops) != before:
            wrong.append(f"what is outside was changed: {before} became {_outside(http, ops)}")
    return len(cells), wrong, len(routes)


def _cells(method: str, path: str) -> Iterator[Cell]:
    row = ROWS[method, path]
    methods = (method, "head") if method == "get" else (method,)
    for verb, holder in itertools.product(methods, ("nobody", "a stranger", *RANKS)):
        for name in (*INSIDE, *OUTSIDE, WHOLE, NOTHING):
            if name is WHOLE and "{name}" in path:
                continue
            ways = row.whole if name is WHOLE else row.nothing if name == NOTHING else row.ask(name)
            wanted = _wanted(row, holder, name)
            for query, body in ways:
                for place in _places(path, name, body):
                    yield Cell(holder, verb, place, query, body, row.headers, wanted, row.lists and verb == "get")


def _places(path: str, name: str | None, body: Any) -> list[str]:
    """The path about a name. Where the body has it, too, the one in the path is inside."""
    if "{id}" in path:
        return [path.format(id="latest")]
    if "/collections/" in path:
        return [path.format(name="mine"), path.format(name="variables")]
    told = not isinstance(body, bytes) and f'"{name}"' in json.dumps(body)
    return [path.format(name="model/adam" if "/optimizers/" in path and told else name or "model/w")]


def _wanted(row: Row, holder: str, name: str | None) -> str:
    if holder not in RANKS:
        return "401"
    if row.role is None or row.lists:
        return "in"
    if row.anywhere or RANKS[holder] < RANKS[row.role]:
        return "403"
    if name == NOTHING:
        return "403" if row.all_or_nothing else "in"
    return "in" if name in INSIDE else "403"


def _tried(http: httpx.Client, cell: Cell, tokens: Mapping[str, str]) -> list[str]:
    headers = dict(cell.headers)
    if cell.holder != "nobody":
        headers["authorization"] = f"Bearer {tokens.get(cell.holder, 'of-a-stranger-0123456789')}"
    wrong: list[str] = []
    for content, media_type in _spellings(cell):
        # Known heads go the short way: from the third time on, all that the data plane has.
        for _ in range(3 if DIRECT.search(cell.path) else 1):
            answer = http.request(
                cell.method, cell.path, params=dict(cell.query), headers={**headers, **media_type}, content=content
            )
            wrong += _compared(cell, answer)
    return wrong


def _spellings(cell: Cell) -> list[tuple[bytes | None, Mapping[str, str]]]:
    """The body of a cell in each of the formats that it can be in."""
    if cell.body is None or isinstance(cell.body, bytes):
        return [(cell.body, {})]
    packed_body = packed.pack(cell.body)
    return [
        (json.dumps(cell.body).encode(), {"content-type": "application/json"}),
        (packed_body, {"content-type": packed.MEDIA_TYPE}),
        (b"".join(map(bytes, frame.encode(cell.body))), {"content-type": frame.MEDIA_TYPE}),
    ]


def _compared(cell: Cell, answer: httpx.Response) -> list[str]:
    got = str(answer.status_code) if answer.status_code in (401, 403) else "in"
    if got != cell.wanted or answer.status_code >= 500:
        return [f"{cell}, got {answer.status_code} {answer.text[:200]}"]
    if cell.lists and cell.wanted == "in":
        shown = [name for name in OUTSIDE if f'"{name}"' in answer.text or f'"{name}/' in answer.text]
        return [f"{cell}, and it shows {shown}"] if shown else []
    return []


def _outside(http: httpx.Client, headers: Mapping[str, str]) -> dict[str, Any]:
    """The versions of the variables that nobody but `ops` may touch."""
    listed = http.get("/v1/variables", params={"page_size": "1000"}, headers=dict(headers)).json()["variables"]
    return {
        each["name"]: (each["incarnation"], each["version"], each["trainable"])
        for each in listed
        if each["name"] in OUTSIDE
    }


if __name__ == "__main__":
    main(run, 0)
