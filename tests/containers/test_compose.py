"""compose.yaml: sound by the specification, by every compose that is installed here, and by what this project wants."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import compose_spec
import pytest
import yaml

from paramserver.http.server import GRACE_S
from paramserver.settings import Settings
from support.image import ROOT, stages

FILE = ROOT / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
WORKERS = [name for name, service in SERVICES.items() if service.get("profiles") == ["workers"]]


def test_it_follows_the_specification() -> None:
    # As JSON, which is YAML: its merge keys are an extension that this parser does not know.
    parsed = compose_spec.PyCompose.from_yaml(json.dumps(COMPOSE))
    assert sorted(parsed.service_names()) == ["server", "worker0", "worker1", "worker2"]


def test_every_compose_that_is_installed_takes_it(tmp_path: Path) -> None:
    """Version 1 (docker-compose 1.29.2) and version 2, where they are; the specification is held above in any case."""
    shutil.copy(FILE, tmp_path)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "token").touch()
    found = [[name] for name in ("docker-compose", "docker-compose-v2") if shutil.which(name)]
    for command in found:
        words = [*command, "--file", "compose.yaml", "--profile", "workers", "config", "--services"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert set(done.stdout.split()) == set(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_do_no_more_than_it_must(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert service["build"]["target"] in stages()


@pytest.mark.parametrize("name", SERVICES)
def test_the_token_is_a_secret_and_stands_nowhere_else(name: str) -> None:
    service = SERVICES[name]
    assert service["secrets"] == ["token"]
    assert service["environment"] == {"PARAMSERVER_TOKEN_FILE": "/run/secrets/token"}
    assert COMPOSE["secrets"] == {"token": {"file": "./secrets/token"}}


def test_the_server_is_for_this_machine_keeps_its_data_and_has_time_to_drain() -> None:
    server = SERVICES["server"]
    assert all(port.startswith("127.0.0.1:") for port in server["ports"])
    assert server["volumes"] == ["data:/data"]
    assert COMPOSE["volumes"] == {"data": None}
    assert seconds(server["stop_grace_period"]) >= 2 * GRACE_S
    assert seconds(server["healthcheck"]["timeout"]) < seconds(server["healthcheck"]["interval"])
    assert server["healthcheck"]["test"][1:] == ["python", "-m", "paramserver.cli.health"]
    assert "profiles" not in server


def test_three_workers_wait_for_a_healthy_server_and_one_is_the_chief() -> None:
    assert len(WORKERS) == 3
    for number, name in enumerate(WORKERS):
        service = SERVICES[name]
        assert service["depends_on"] == {"server": {"condition": "service_healthy"}}
        url, own, workers, epochs, cache = service["command"]
        assert (url, own, workers) == ("http://server:8080", str(number), "3")
        assert int(epochs) > 0
        assert cache.startswith("/tmp/")
        assert service["build"]["target"] == "workers"


def test_the_token_s_command_makes_one(tmp_path: Path) -> None:
    """The line at the top of the file, run as it stands."""
    line = re.search(r"^# +(install -d .*)$", FILE.read_text(), re.MULTILINE)
    assert line is not None
    subprocess.run(["sh", "-ec", line[1]], cwd=tmp_path, check=True, timeout=60)
    assert len((tmp_path / "secrets" / "token").read_text().strip()) == 64
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert "secrets/" in (ROOT / ".gitignore").read_text()


def seconds(duration: str) -> int:
    """A duration of whole seconds."""
    assert duration.endswith("s")
    return int(duration[:-1])


ADDED: dict[str, Any] = yaml.safe_load((ROOT / "compose.tls.yaml").read_text())


def test_what_is_added_for_the_open_takes_nothing_away() -> None:
    (name,) = ADDED["services"]
    assert set(ADDED["services"][name]) == {"environment", "secrets", "ports"}
    settings = {key.removeprefix("PARAMSERVER_").lower() for key in ADDED["services"][name]["environment"]}
    assert settings <= Settings.model_fields.keys()
    assert {"tls_cert", "tls_key", "audit_log", "allowed_hosts"} <= settings
    assert set(ADDED["services"][name]["secrets"]) | {"token"} == set(ADDED["secrets"])


def test_every_compose_that_is_installed_takes_both(tmp_path: Path) -> None:
    for file in ("compose.yaml", "compose.tls.yaml"):
        shutil.copy(ROOT / file, tmp_path)
    (tmp_path / "secrets").mkdir()
    for secret in ADDED["secrets"].values():
        (tmp_path / secret["file"]).touch()
    for command in [name for name in ("docker-compose", "docker-compose-v2") if shutil.which(name)]:
        words = [command, "--file", "compose.yaml", "--file", "compose.tls.yaml", "config"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        server = yaml.safe_load(done.stdout)["services"]["server"]
        assert server["read_only"] is True
        assert server["environment"]["PARAMSERVER_TOKEN_FILE"] == "/run/secrets/token"
