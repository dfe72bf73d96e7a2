"""`paramserver serve`: one flag for each setting, then the server."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import typer

from paramserver.cli.asking import REFUSED, USAGE, fail
from paramserver.cli.settings_flags import WithSettings, settings_of
from paramserver.cli.showing import progress_bar

_EXAMPLES: Final = """\b
Examples:
  paramserver serve                           on 127.0.0.1:8080, in memory
  paramserver serve --data-dir data           with checkpoints
  paramserver serve --port 0                  on a free port
  paramserver serve --config paramserver.toml --log-level debug
"""


def _bar() -> Callable[[int, int], None]:
    """Shows how far the journal is done again, on a terminal, until it is."""
    if not sys.stderr.isatty():
        return lambda done, total: None
    bar = progress_bar()
    task = bar.add_task("bringing back the journal", total=None)

    def watch(done: int, total: int) -> None:
        bar.start()
        bar.update(task, completed=done, total=total)
        if done >= total:
            bar.stop()

    return watch


def register(app: typer.Typer) -> None:
    """Add `serve` to the command line."""
    app.command(
        "serve",
        cls=WithSettings,
        help=(
            "Serve variables over HTTP until SIGTERM or Ctrl-C; then finish what runs, save a final checkpoint and "
            "exit 0. A flag wins over the environment, which wins over the file of settings, which wins over the default."
        ),
        short_help="Run a server until SIGTERM or Ctrl-C.",
        epilog=_EXAMPLES,
    )(lambda: serve)


def serve(
    flags: Mapping[str, Any],
    workers: Annotated[str, typer.Option(metavar="N", help="Must be 1: the variables live in one process.")] = "1",
) -> None:
    """Run a server."""
    if workers != "1":
        fail(
            f"--workers {workers}: the variables live in one process, and workers would each have their own; "
            "run one server (its threads use all cores), or several servers as shards",
            USAGE,
        )
    settings = settings_of(flags)
    logging.basicConfig(
        stream=sys.stderr,
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    if settings.log_level != "debug":
        # Its warnings are about what clients send, one line for each: anybody could fill the disk with them.
        logging.getLogger("uvicorn").setLevel(logging.ERROR)
    # Here, because the other commands need neither the web framework nor the store.
    from paramserver.checkpoint import CheckpointError
    from paramserver.http import serve as http
    from paramserver.journal import JournalError

    try:
        http.serve(settings, lambda line: print(line, flush=True), _bar())
    except http.CannotServe as error:
        fail(str(error), error.exit_code)
    except (CheckpointError, JournalError) as error:
        fail(f"data directory {settings.data_dir}: {error}", REFUSED)
