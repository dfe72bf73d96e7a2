"""What goes on record, what is told of a refusal, and that a grant is asked on the short way, too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paramserver.grants import grant_of
from paramserver.http.rights import ROWS, Forbidden, check
from paramserver.keyring import hashed_line
from paramserver_client import InvalidArgumentError, NotFoundError, ParameterClient, PermissionDeniedError
from paramserver_wire.messages import OPERATIONS
from support.raw_http import read_reply

TOKENS = {"ops": "o" * 32, "trainer": "t" * 32, "reader": "r" * 32}
RIGHTS = {"ops": "admin:*", "trainer": "write:model/*,read:shared/*", "reader": "read:model/w"}


@pytest.fixture
def scoped(serve_with: Callable[..., Any], tmp_path: Path) -> Any:
    """A server with three tokens, and an audit log."""
    file = tmp_path / "tokens"
    file.write_text("\n".join(hashed_line(TOKENS[name], name, RIGHTS[name]) for name in TOKENS))
    served = serve_with(token_file=file, audit_log=tmp_path / "audit", data_dir=tmp_path / "data", checkpoint_every_s=0)
    for name in ("model/w", "model/b", "shared/x", "other/y"):
        served.create(name, np.zeros(3, np.float32))
    return served


def client(served: Any, name: str) -> ParameterClient:
    return ParameterClient(served.url, token=TOKENS[name])


def test_every_operation_has_a_row() -> None:
    assert ROWS.keys() == OPERATIONS.keys()


def test_a_refusal_lists_every_name_and_changes_nothing(scoped: Any) -> None:
    with client(scoped, "trainer") as trainer:
        with pytest.raises(PermissionDeniedError) as refused:
            trainer.push(
                {"model/w": np.ones(3, np.float32), "other/y": np.ones(3), "shared/x": np.ones(3), "no/such": 1.0}
            )
        assert [each["name"] for each in refused.value.errors] == ["other/y", "shared/x", "no/such"]
        assert "write:other/y" in str(refused.value)
        assert trainer.read("model/w").tolist() == [0, 0, 0]
        trainer.push({"model/w": np.ones(3, np.float32), "model/b": np.ones(3, np.float32)})
        assert trainer.read("shared/x").tolist() == [0, 0, 0]


def test_lists_show_what_may_be_read(scoped: Any) -> None:
    with client(scoped, "trainer") as trainer, client(scoped, "reader") as reader, client(scoped, "ops") as ops:
        assert [each.name for each in trainer.list_variables()] == ["model/b", "model/w", "shared/x"]
        assert [each.name for each in reader.list_variables()] == ["model/w"]
        assert len(list(ops.list_variables())) == 4


def test_a_right_for_one_name_is_for_nothing_below_it(scoped: Any, tmp_path: Path) -> None:
    """Not for its scope, and not for what an optimizer would make there."""
    scoped.create("model/w/slot", np.zeros(3, np.float32))
    with scoped.client(headers={"authorization": f"Bearer {TOKENS['reader']}"}) as http:
        assert http.get("/v1/scopes").json() == {"scopes": []}
        assert http.get("/v1/scopes/model/w").status_code == 403
    with scoped.client(headers={"authorization": f"Bearer {TOKENS['trainer']}"}) as http:
        assert [each["name"] for each in http.get("/v1/scopes").json()["scopes"]] == ["model", "model/w", "shared"]
        made = http.put("/v1/optimizers/model/adam", json={"type": "adam", "learning_rate": 0.1})
        assert made.status_code == 201
    grant = grant_of("single", "write:model/w,write:model/adam")
    for operation, arguments in (
        ("apply_gradients", {"name": "model/adam", "gradients": {"model/w": [1.0]}}),
        ("create_optimizer", {"name": "model/adam", "spec": {"type": "adam", "learning_rate": 0.1}}),
    ):
        with pytest.raises(Forbidden) as refused:
            check(grant, operation, arguments)
        assert "write:model/adam/*" in refused.value.detail


def test_pages_of_a_list_do_not_tell_what_they_leave_out(scoped: Any) -> None:
    with scoped.client(headers={"authorization": f"Bearer {TOKENS['reader']}"}) as http:
        for index in range(30):
            scoped.create(f"a{index:02}", np.zeros(1, np.float32))
        page = http.get("/v1/variables?page_size=1").json()
        assert [each["name"] for each in page["variables"]] == ["model/w"]
        assert page["next_page_token"] is None


def test_a_collection_of_others_is_not_there(scoped: Any) -> None:
    with client(scoped, "ops") as ops, client(scoped, "trainer") as trainer:
        ops.add_to_collection("secret", ["other/y"])
        ops.add_to_collection("mixed", ["other/y", "model/w"])
        assert trainer.get_collection("mixed") == ["model/w"]
        with pytest.raises(NotFoundError) as hidden:
            trainer.get_collection("secret")
        with pytest.raises(NotFoundError) as missing:
            trainer.get_collection("nowhere")
        assert str(hidden.value).replace("secret", "nowhere") == str(missing.value)


def test_nothing_of_a_checkpoint_or_an_optimizer_is_reached_from_inside(serve_with: Any, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    lines = [hashed_line("i" * 32, "inside", "admin:model/*"), hashed_line(TOKENS["ops"], "ops", "admin:*")]
    file.write_text("\n".join(lines))
    served = serve_with(token_file=file, data_dir=tmp_path / "data", checkpoint_every_s=0)
    for name in ("model/w", "other/y"):
        served.create(name, np.zeros(3, np.float32))
    with ParameterClient(served.url, token="i" * 32) as inside, client(served, "ops") as ops:
        ops.create_optimizer("model/adam", "adam", learning_rate=0.1)
        ops.push_gradients(
            {"model/w": np.ones(3, np.float32), "other/y": np.ones(3, np.float32)}, optimizer="model/adam"
        )
        full = ops.save()
        # A partial one would take the same id at the same commit, and prune others.
        for asked in (
            {"prefix": "model"},
            {"names": ["model/w"], "id": full.id},
            {"prefix": "model", "max_to_keep": 1},
        ):
            with pytest.raises(PermissionDeniedError):
                inside.save(**asked)
        assert ops.checkpoints()[0].variables == full.variables
        with pytest.raises(PermissionDeniedError):
            inside.delete_optimizer("model/adam")
        assert inside.get_optimizer("model/adam").slots.keys() == {"model/w"}
        assert ops.get_optimizer("model/adam").slots.keys() == {"model/w", "other/y"}


def test_a_choice_must_lie_in_the_scope(scoped: Any) -> None:
    with client(scoped, "trainer") as trainer:
        assert set(trainer.pull(prefix="model")) == {"model/w", "model/b"}
        for choice in ({}, {"prefix": "other"}, {"prefix": "mode"}, {"collection": "trainable_variables"}):
            with pytest.raises(PermissionDeniedError):
                trainer.pull(**choice)


def test_the_short_way_asks_too(scoped: Any) -> None:
    with scoped.connect() as connection:
        for name, status in (("model/w", 200), ("other/y", 403), ("model2", 403)):
            head = f"GET /v1/variables/{name}:read HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKENS['trainer']}\r\n\r\n"
            for _ in range(4):
                connection.sendall(head.encode())
                assert read_reply(connection).status == status


def test_a_repeat_is_answered_to_those_who_may_only(scoped: Any) -> None:
    with scoped.client() as http:
        for token, status in (("trainer", 200), ("trainer", 200), ("reader", 403)):
            answer = http.post(
                "/v1/variables/model/w:assign_add",
                json={"value": [1.0, 1.0, 1.0]},
                headers={"authorization": f"Bearer {TOKENS[token]}", "idempotency-key": "a-1"},
            )
            assert answer.status_code == status
    assert scoped.value("model/w").tolist() == [1, 1, 1]


def test_what_an_admin_does_and_is_denied_goes_on_record(scoped: Any, tmp_path: Path) -> None:
    with client(scoped, "ops") as ops, client(scoped, "trainer") as trainer:
        ops.save("before")
        trainer.push({"model/w": np.ones(3, np.float32)})
        with pytest.raises(PermissionDeniedError):
            trainer.delete_variable("model/w")
        ops.delete_variable("other/y")
        with pytest.raises(InvalidArgumentError):
            ops.delete_variables(prefix="shared", confirm=False)
    with scoped.client(headers={"authorization": "Bearer of-a-stranger"}) as http:
        assert http.delete("/v1/variables/model/w").status_code == 401
    lines = [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]
    assert [(each["who"], each["did"], each["names"], each["status"], each["code"]) for each in lines] == [
        ("ops", "save", ["*"], 201, ""),
        ("trainer", "delete_variable", ["model/w"], 403, "forbidden"),
        ("ops", "delete_variable", ["other/y"], 204, ""),
        ("ops", "delete_variables", ["shared"], 422, "invalid_request"),
        ("", "delete_variable", [], 401, "unauthenticated"),
    ]
    assert all(each["from"] == "127.0.0.1" and each["at"].endswith("Z") for each in lines)
    text = (tmp_path / "audit").read_text()
    assert not any(token in text for token in TOKENS.values())


@pytest.mark.parametrize("token", [None, "t" * 32])
def test_without_a_file_the_log_has_it_where_somebody_has_a_name(
    serve_with: Callable[..., Any], caplog: pytest.LogCaptureFixture, token: str | None
) -> None:
    served = serve_with(token=token)
    served.create("w", np.zeros(3, np.float32))
    with caplog.at_level("INFO", "paramserver.audit"), ParameterClient(served.url, token=token) as client:
        client.delete_variable("w")
    told = [record.message for record in caplog.records if record.name == "paramserver.audit"]
    assert len(told) == (0 if token is None else 1)
