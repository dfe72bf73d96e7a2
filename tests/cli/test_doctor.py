"""`paramserver doctor`: each thing that can be wrong is found, told, and comes with what to do."""

from __future__ import annotations

import doctest
import json
import os
import shutil
import socket
import stat
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from paramserver.cli import application, checks_disk, checks_here, findings
from paramserver.cli.checks_server import clock_finding, protocol_finding
from paramserver.cli.findings import Finding
from paramserver.engine import Engine
from paramserver_wire.messages import Message
from support.checkpoints import opened, store_with
from support.fake_server import FakeServer, Peer
from support.server import Server

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(application(), ["doctor", *arguments], env=environment)


def found(*arguments: str, **environment: str) -> dict[str, dict[str, Any]]:
    """The findings by subject."""
    done = run(*arguments, "--json", **environment)
    document = json.loads(done.stdout)
    assert document["ok"] is (done.exit_code == 0)
    return {each["subject"]: each for each in document["findings"]}


@pytest.fixture
def free_port() -> str:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return str(unused.getsockname()[1])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with two full checkpoints."""
    manager = opened(tmp_path / "data", store_with(a=1.0, b=2.0))
    manager.start()
    manager.save("one")
    manager.save("two")
    manager.close()
    return tmp_path / "data"


def damage(data: Path, id: str, name: str = "model.safetensors", *, shorten: bool = False) -> None:
    (file,) = (data / "checkpoints").glob(f"{id}.*/{name}")
    content = file.read_bytes()
    file.write_bytes(content[:-1] if shorten else content[:-1] + bytes([content[-1] ^ 1]))


def test_examples_of_the_docstrings_hold() -> None:
    for module in (findings, checks_here):
        assert doctest.testmod(module).failed == 0


def test_a_sound_house(data: Path) -> None:
    with Server("--memory-limit-nbytes", "1000000", data_dir=data) as server:
        done = run("--url", server.url, "--data-dir", str(data), "--memory-limit-nbytes", "1000000", "--port", "0")
    assert done.exit_code == 0, done.stdout
    for words in (
        "python",
        "packages",
        "a start restores two",
        "in use by process",
        ": ready, started",
        "agrees within",
    ):
        assert words in done.stdout
    assert done.stdout.splitlines()[-1].endswith(", no warning, no problem")


def test_before_anything_is_started_there_are_warnings_but_no_problem(free_port: str) -> None:
    told = found("--port", free_port)
    assert {each["verdict"] for each in told.values()} == {"ok", "warn"}
    assert told["address"]["found"] == f"127.0.0.1:{free_port} is free"
    assert "`paramserver serve`" in told["server"]["advice"]
    assert "--data-dir" in told["data directory"]["advice"]
    assert told["memory"]["verdict"] == "ok"
    assert all(each["advice"] for each in told.values() if each["verdict"] != "ok")


def test_offline_asks_nobody(free_port: str) -> None:
    assert "server" not in found("--offline", "--url", f"http://127.0.0.1:{free_port}")


def test_the_half_that_asks_works_although_settings_do_not_fit(running: Server) -> None:
    done = run("--port", "99999", "--url", running.url)
    assert done.exit_code == 1
    assert "--port (PARAMSERVER_PORT)" in done.stdout
    assert ": ready, started" in done.stdout


def test_a_server_behind_a_unix_socket_is_asked_like_any_other() -> None:
    with TemporaryDirectory(prefix="ps-") as place, Server("--uds", f"{place}/s"):
        told = found("--url", f"unix://{place}/s")
    assert told["server"]["verdict"] == "ok"
    assert told["server"]["found"].startswith(f"unix://{place}/s: ready")
    assert told["clock"]["verdict"] == "ok"


def test_a_server_that_was_named_and_does_not_answer_is_a_problem(free_port: str) -> None:
    told = found("--url", f"http://127.0.0.1:{free_port}")
    assert told["server"]["verdict"] == "problem"
    assert found(PARAMSERVER_URL=f"http://127.0.0.1:{free_port}")["server"]["verdict"] == "problem"
    assert found("--url", "ftp://example.org")["server"]["verdict"] == "problem"


def test_another_kind_of_server_is_a_problem() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.answer(b"<html>hello</html>", media_type="text/html")

    with FakeServer(script) as server:
        told = found("--url", server.url)
    assert told["server"]["verdict"] == "problem"


def test_a_token_that_is_wanted(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef0123456789abcdef\n")
    token.chmod(0o600)
    with Server("--token-file", str(token)) as server:
        told = found("--url", server.url, "--port", "0")
        assert told["server"]["verdict"] == "problem"
        assert "--token-file" in told["server"]["advice"]
        told = found("--url", server.url, "--port", "0", "--token-file", str(token))
        assert told["server"]["verdict"] == "ok"


def test_a_port_that_is_taken(running: Server) -> None:
    told = found("--port", running.url.rpartition(":")[2])
    assert told["address"]["verdict"] == "warn"
    assert told["server"]["verdict"] == "ok"


def test_an_address_that_is_not_ours() -> None:
    for host in ("203.0.113.1", "no-such-host.invalid"):
        assert found("--host", host, "--insecure", "--offline")["address"]["verdict"] == "problem"


def test_socket_files(tmp_path: Path) -> None:
    assert found("--uds", str(tmp_path / "s"), "--offline")["socket"]["verdict"] == "ok"
    assert found("--uds", str(tmp_path / "no" / "s"), "--offline")["socket"]["verdict"] == "problem"
    (tmp_path / "file").write_text("")
    assert found("--uds", str(tmp_path / "file"), "--offline")["socket"]["verdict"] == "problem"
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(tmp_path / "s"))
        assert "left by a server" in found("--uds", str(tmp_path / "s"), "--offline")["socket"]["found"]
        taken.listen()
        assert found("--uds", str(tmp_path / "s"), "--offline")["socket"]["verdict"] == "warn"


def test_who_could_reach_it(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("short\n")
    token.chmod(0o644)
    assert found("--host", "0.0.0.0", "--port", "0", "--offline")["access"]["verdict"] == "problem"
    told = found("--host", "0.0.0.0", "--port", "0", "--offline", "--insecure")
    assert told["access"]["verdict"] == "warn"
    told = found("--host", "0.0.0.0", "--port", "0", "--offline", "--token-file", str(token))
    assert (told["access"]["verdict"], told["token"]["verdict"]) == ("warn", "warn")
    told = found("--offline", "--token-file", str(tmp_path / "nope"))
    assert told["token"]["verdict"] == "problem"
    assert "short" not in run("--offline", "--token-file", str(token)).stdout


def test_a_data_directory_to_come(tmp_path: Path) -> None:
    told = found("--data-dir", str(tmp_path / "a" / "b"), "--offline")
    assert "the first start makes it" in told["data directory"]["found"]
    assert not (tmp_path / "a").exists()


def test_data_directories_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    assert found("--data-dir", str(tmp_path / "file"), "--offline")["data directory"]["verdict"] == "problem"
    assert found("--data-dir", str(tmp_path / "file" / "x"), "--offline")["data directory"]["verdict"] == "problem"
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "checkpoint.json").write_text('{"format_version": 99, "checkpoints": []}')
    told = found("--data-dir", str(tmp_path), "--offline")["data directory"]
    assert told["verdict"] == "problem"
    assert "newer version" in told["found"]
    # root may write everywhere: asked instead of tried.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    told = found("--data-dir", str(tmp_path), "--offline")["data directory"]
    assert told["verdict"] == "problem"
    assert "chown" in told["advice"]


def test_damage_is_a_warning_while_another_checkpoint_is_sound(data: Path) -> None:
    damage(data, "two", shorten=True)
    told = found("--data-dir", str(data), "--offline")
    assert told["checkpoint"]["verdict"] == "warn"
    assert told["checkpoint"]["found"].startswith("two is damaged: ")
    assert "one is sound" in told["checkpoint"]["advice"]
    assert "a start restores one" in told["checkpoints"]["found"]


def test_damage_to_all_is_a_problem(data: Path) -> None:
    damage(data, "two", "manifest.json")
    damage(data, "one", "manifest.json")
    told = found("--data-dir", str(data), "--offline")
    assert told["checkpoint"]["verdict"] == "problem"
    assert "backup" in told["checkpoint"]["advice"]


def test_only_verify_reads_the_values(data: Path) -> None:
    damage(data, "two")
    assert "checkpoint" not in found("--data-dir", str(data), "--offline")
    told = found("--data-dir", str(data), "--offline", "--verify")
    assert "variable 'b'" in told["checkpoint"]["found"]
    assert "every checksum matches" in told["checkpoints"]["found"]


def test_a_missing_file_of_values(data: Path) -> None:
    (file,) = (data / "checkpoints").glob("two.*/model.safetensors")
    file.unlink()
    assert "got no file" in found("--data-dir", str(data), "--offline")["checkpoint"]["found"]


def test_a_lost_identity(data: Path) -> None:
    (data / "MANIFEST").unlink()
    told = found("--data-dir", str(data), "--offline")
    assert told["identity"]["verdict"] == "warn"


@pytest.mark.parametrize(("free", "verdict"), [(10**6, "problem"), (3 * 10**8, "warn"), (10**12, "ok")])
def test_room_on_the_disk(data: Path, monkeypatch: pytest.MonkeyPatch, free: int, verdict: str) -> None:
    usage = checks_disk.shutil._ntuple_diskusage(10**12, 0, free)
    monkeypatch.setattr(checks_disk.shutil, "disk_usage", lambda path: usage)
    assert found("--data-dir", str(data), "--offline")["disk"]["verdict"] == verdict


@pytest.mark.parametrize(("limit", "verdict"), [(11 * 10**9, "problem"), (9 * 10**9, "warn"), (8 * 10**9, "ok")])
def test_the_memory_budget_against_the_memory_there_is(limit: int, verdict: str) -> None:
    finding = checks_here.memory_finding(limit, 10 * 10**9)
    assert finding.verdict == verdict
    assert verdict == "ok" or "--memory-limit-nbytes" in finding.advice


def test_packages_that_are_missing_or_too_old() -> None:
    (finding,) = checks_here.packages("0.1.0", ["numpy>=99.5", "no-such-package>=1", "httpx<1,>=0.27"])
    assert finding.verdict == "problem"
    assert "no-such-package is missing" in finding.found
    assert "is older than 99.5" in finding.found
    assert "paramserver[server]" in finding.advice


@pytest.mark.parametrize(
    ("skew_s", "verdict", "words"),
    [(0, "ok", "agrees"), (-10, "ok", "10 s behind"), (90, "warn", "90 s ahead"), (-7200, "warn", "7200 s behind")],
)
def test_clocks(skew_s: int, verdict: str, words: str) -> None:
    finding = clock_finding(format_datetime(NOW + timedelta(seconds=skew_s), usegmt=True), NOW)
    assert finding.verdict == verdict
    assert words in finding.found


@pytest.mark.parametrize("date", ["", "yesterday", "Wed, 99 Nov 2026 12:00:00 GMT"])
def test_a_date_that_is_none(date: str) -> None:
    assert clock_finding(date, NOW).verdict == "warn"


@pytest.mark.parametrize(
    ("theirs", "version", "verdict", "words"),
    [(1, "0.1.0", "ok", ""), (1, "0.2.0", "ok", "two versions"), (2, "1.0", "problem", ""), (0, "0.0", "problem", "")],
)
def test_protocols(theirs: int, version: str, verdict: str, words: str) -> None:
    finding = protocol_finding(theirs, 1, version, "0.1.0")
    assert finding.verdict == verdict
    assert words in finding.found
    assert verdict == "ok" or ("this client" if theirs > 1 else "the server") in finding.advice


def test_a_terminal_gets_colours_and_its_width(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    findings.print_findings([Finding("disk", "problem", "word " * 30, "do " * 40)])
    lines = capsys.readouterr().out.splitlines()
    assert "\x1b[1;31mproblem" in lines[0]
    assert len(lines) > 3
    assert all(len(line) <= 80 for line in lines[1:])


def test_nothing_is_changed(data: Path) -> None:
    def state() -> dict[str, tuple[float, int]]:
        return {str(path): (path.stat().st_mtime, stat.S_IMODE(path.stat().st_mode)) for path in data.rglob("*")}

    before = state()
    run("--data-dir", str(data), "--offline", "--verify")
    assert state() == before


@pytest.fixture
def journalled(tmp_path: Path) -> Path:
    """A data directory with a journal, as a kill left it."""
    options = {"checkpoint_every_s": 0, "min_free_disk_nbytes": 0, "segment_nbytes": 1 << 16}
    with Engine.open(tmp_path / "live", durability="always", **options) as engine:
        value = np.zeros(2_000, np.float32)
        engine.perform(Message("create_variable", {"name": "w", "value": value}))
        engine.perform(Message("save", {"id": "first"}))
        for _ in range(20):
            engine.perform(Message("assign_add", {"name": "w", "value": value + 1}))
        shutil.copytree(tmp_path / "live", tmp_path / "killed")
    return tmp_path / "killed"


def journal_of(data: Path, *more: str) -> dict[str, Any]:
    return found("--offline", "--data-dir", str(data), "--min-free-disk-nbytes", "0", *more)["journal"]


def test_a_journal_is_explained(journalled: Path) -> None:
    told = journal_of(journalled)
    assert told["verdict"] == "ok"
    assert "20 records" in told["found"]


def test_a_journal_that_a_start_refuses_is_a_problem(journalled: Path) -> None:
    path = sorted((journalled / "wal").glob("*.wal"))[-1]
    content = bytearray(path.read_bytes())
    content[4200] ^= 1
    path.write_bytes(content)
    told = journal_of(journalled)
    assert (told["verdict"], "a start is refused" in told["found"]) == ("problem", True)
    assert "paramserver journal verify" in told["advice"]


def test_damage_that_a_checkpoint_covers_is_found_when_all_is_read(journalled: Path) -> None:
    path = sorted((journalled / "wal").glob("*.wal"))[0]
    content = bytearray(path.read_bytes())
    content[4200] ^= 1
    path.write_bytes(content)
    assert journal_of(journalled)["verdict"] == "ok"
    assert journal_of(journalled, "--verify")["verdict"] == "warn"


def test_a_lost_journal_is_a_problem(journalled: Path) -> None:
    shutil.rmtree(journalled / "wal")
    told = journal_of(journalled)
    assert (told["verdict"], "is missing" in told["found"]) == ("problem", True)
    assert "--recover truncate" in told["advice"]


def test_kept_copies_are_told(journalled: Path) -> None:
    (journalled / "wal" / "damaged-1").mkdir()
    done = run("--offline", "--data-dir", str(journalled), "--min-free-disk-nbytes", "0")
    assert "damaged-1" in done.stdout
    assert done.exit_code == 0


def test_too_little_room_for_changes_is_a_problem(journalled: Path) -> None:
    told = found("--offline", "--data-dir", str(journalled), "--min-free-disk-nbytes", str(1 << 60))["disk"]
    assert (told["verdict"], "changes are refused" in told["found"]) == ("problem", True)
