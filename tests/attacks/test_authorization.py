"""Names outside of a token's scope, in every place that a request has for a name (OWASP API1:2023, API5:2023)."""

from __future__ import annotations

import pytest

from attacks import matrix

PLANTED = """
from paramserver.cli import main
from paramserver.http import rights
{plant}
main()
"""
PLANTS = {
    "a push that asks for nothing": "rights.ROWS['push'] = rights.Row('write', lambda arguments: [])",
    "a scope by its letters, not its segments": (
        "from paramserver import grants\n"
        "grants._covers = lambda right, need: not right.name or need.name.startswith(right.name)"
    ),
    "a short way that asks nobody": (
        "from paramserver import grants\n"
        "from paramserver.http.endpoints import Endpoint\n"
        "known = Endpoint.answer_known\n"
        "Endpoint.answer_known = lambda self, heading, id, body, grant: known(self, heading, id, body, grants.EVERYTHING)"
    ),
    "lists that show all": "from paramserver import grants\ngrants.Grant.sees = lambda self, name, below=False: True",
}


def test_every_cell_of_the_matrix_is_as_expected() -> None:
    outcome = matrix.run(1, 0)
    assert not outcome.wrong, "\n".join(outcome.wrong[:20])
    assert outcome.cases > 3000


@pytest.mark.parametrize("plant", PLANTS)
def test_the_matrix_finds_a_planted_bug(plant: str) -> None:
    outcome = matrix.run(1, 0, program=("-c", PLANTED.format(plant=PLANTS[plant])))
    assert outcome.wrong


def test_a_route_without_a_row_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "ROWS", {key: row for key, row in matrix.ROWS.items() if key != ("get", "/v1/server")})
    assert matrix.run(1, 0).wrong == ("get /v1/server has no row",)
