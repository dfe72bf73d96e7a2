"""The image's very commands: install, entry point, health check, user, and how it ends. See `support.image` for what
stands in for an engine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

import pytest
import yaml

import paramserver_client as ps
from support.image import ROOT, UID, Image, stages

TOKEN = "c0ffee00c0ffee00c0ffee00c0ffee00"
GRACE_S = float(
    yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["server"]["stop_grace_period"].removesuffix("s")
)


@pytest.fixture(scope="module")
def images() -> Iterator[dict[str, Image]]:
    """Both images, built below one directory that everybody may enter, as the root of a container is."""
    root = Path(tempfile.mkdtemp(prefix="image-"))
    root.chmod(0o755)
    done: set[str] = set()
    try:
        built = {name: Image(root, stages()[name], done) for name in ("server", "workers")}
        for image in built.values():
            image.build()
        secret = root / "run/secrets/token"
        secret.write_text(TOKEN + "\n")
        yield built
    finally:
        shutil.rmtree(root)


@pytest.fixture
def image(images: dict[str, Image]) -> Image:
    """The server's image."""
    return images["server"]


@pytest.fixture
def changes(image: Image) -> dict[str, str]:
    """What `docker run -e` would give: the secret, and an address of this machine in place of the container's."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {
        "PARAMSERVER_TOKEN_FILE": str(image.place("/run/secrets/token")),
        "PARAMSERVER_HOST": "127.0.0.1",
        "PARAMSERVER_PORT": str(port),
    }


@pytest.fixture
def running(image: Image, changes: dict[str, str]) -> Iterator[Popen[str]]:
    """ENTRYPOINT and CMD, up to the line that says it listens."""
    stage = image.stage
    process = image.start([*stage.exec_form("ENTRYPOINT"), *stage.exec_form("CMD")], changes)
    try:
        assert process.stdout is not None
        assert any("listening on" in line for line in process.stdout), process.communicate()[1]
        yield process
    finally:
        process.kill()
        process.communicate()


def client(changes: dict[str, str], token: str | None = TOKEN) -> ps.ParameterClient:
    return ps.ParameterClient(f"http://127.0.0.1:{changes['PARAMSERVER_PORT']}", token=token)


def end(process: Popen[str]) -> float:
    """End it with the image's signal; how many seconds that took. The status must be 0."""
    began = time.monotonic()
    process.send_signal(signal.Signals[stages()["server"].last("STOPSIGNAL")])
    assert process.wait(GRACE_S) == 0
    return time.monotonic() - began


def test_it_is_installed_whole_and_without_pip(image: Image) -> None:
    told = image.run(["paramserver", "--version"], {})
    assert told.stdout.startswith("paramserver ")
    packages = next(image.place("/opt/paramserver/lib").glob("python*/site-packages"))
    found = {path.name.partition("-")[0] for path in packages.iterdir()}
    assert {"paramserver", "paramserver_client", "paramserver_wire"} <= found
    assert "pip" not in found


def test_it_runs_as_nobody(image: Image, running: Popen[str]) -> None:
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{running.pid}/status").read_text().splitlines() if ":\t" in line
    )
    wanted = str(UID if os.geteuid() == 0 else os.geteuid())
    assert status["Uid"].split() == [wanted] * 4
    data = image.place("/data")
    assert str(data.stat().st_uid) == wanted
    assert data.stat().st_mode & 0o777 == 0o700


def test_beyond_the_container_it_wants_a_token(image: Image) -> None:
    """As `docker run paramserver` with no settings: it would listen on all addresses, for everybody."""
    stage = image.stage
    refused = image.run([*stage.exec_form("ENTRYPOINT"), *stage.exec_form("CMD")], {})
    assert refused.returncode == 2
    assert "--token-file" in refused.stderr
    assert "--insecure" in refused.stderr


def test_a_secret_that_is_missing_ends_it_with_2(image: Image) -> None:
    stage = image.stage
    refused = image.run(
        [*stage.exec_form("ENTRYPOINT"), *stage.exec_form("CMD")], {"PARAMSERVER_TOKEN_FILE": "/nowhere/token"}
    )
    assert refused.returncode == 2
    assert "/nowhere/token" in refused.stderr


def test_the_health_check_tells_health_from_its_absence(
    image: Image, changes: dict[str, str], running: Popen[str]
) -> None:
    healthy = image.run(image.stage.health_command, changes)
    assert (healthy.returncode, healthy.stdout) == (0, '200 {"status":"ready"}\n')
    assert end(running) < GRACE_S
    down = image.run(image.stage.health_command, changes)
    assert down.returncode == 1
    assert down.stdout.startswith("no server")


def test_the_token_is_wanted_and_the_volume_keeps_what_was_there(
    image: Image, changes: dict[str, str], running: Popen[str]
) -> None:
    with client(changes, token=None) as stranger, pytest.raises(ps.UnauthenticatedError):
        stranger.server()
    with client(changes) as known:
        known.create_variable("w", value=[1.0, 2.5], dtype="float32", reuse="auto")
        known.push({"w": [1.0, 1.0]})
        wanted = known.read("w").tolist()
    # Drained, saved and gone, well within what compose allows before it kills.
    assert end(running) < GRACE_S
    assert list(image.place("/data/checkpoints").glob("*/manifest.json"))
    assert running.stderr is not None
    assert TOKEN not in running.stderr.read()
    again = image.start([*image.stage.exec_form("ENTRYPOINT"), *image.stage.exec_form("CMD")], changes)
    try:
        assert again.stdout is not None
        lines = []
        for line in again.stdout:
            lines.append(line)
            if "listening on" in line:
                break
        assert any("restored checkpoint" in line for line in lines)
        with client(changes) as known:
            assert known.read("w").tolist() == wanted
        end(again)
    finally:
        again.kill()
        again.communicate()


def test_a_worker_s_image_trains_against_it(
    images: dict[str, Image], changes: dict[str, str], running: Popen[str]
) -> None:
    workers = images["workers"]
    # The chief, with a hundredth of the digits for one epoch.
    words = [f"http://127.0.0.1:{changes['PARAMSERVER_PORT']}", "0", "80", "1", str(workers.place("/tmp/digits.npy"))]
    token = {"PARAMSERVER_TOKEN_FILE": changes["PARAMSERVER_TOKEN_FILE"]}
    done = workers.run([*workers.stage.exec_form("ENTRYPOINT"), *words], token)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["finished"] is True
    assert report["pushes"] >= 1
    with client(changes) as known:
        assert known.read("global_step") >= 1
