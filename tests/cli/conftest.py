"""The commands of the tests, and the server they ask: one process for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from paramserver.cli import application
from paramserver_client import ParameterClient
from support.commands import Run
from support.server import Server


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server process with a data directory."""
    with Server("--checkpoint-every-s", "0", data_dir=tmp_path_factory.mktemp("cli") / "data") as server:
        yield server


@pytest.fixture
def client(running: Server) -> Iterator[ParameterClient]:
    """A client of that server, which holds four variables and no checkpoint."""
    with ParameterClient(running.url) as client:
        client.delete_variables(prefix="", confirm=True)
        for checkpoint in client.checkpoints():
            client.delete_checkpoint(checkpoint.id)
        client.create_variable("conv1/weight", value=np.arange(12, dtype=np.float32).reshape(3, 4))
        client.create_variable("conv1/bias", (4,), "bfloat16", "ones", initialize=True)
        client.create_variable("global_step", value=7, trainable=False)
        client.create_variable("late", (2, 3), "float32", {"type": "random_normal", "stddev": 0.5, "seed": 1})
        yield client


@pytest.fixture
def run(running: Server, client: ParameterClient) -> Run:
    """Runs a command as `paramserver ...` against that server."""
    app = application()
    runner = CliRunner()

    def run(*arguments: str, url: str | None = None) -> Result:
        return runner.invoke(app, arguments, env={"PARAMSERVER_URL": url or running.url})

    return run
