"""`make demo`: train, kill the server in the middle, watch it come back, and measure what was learned."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

import paramserver_client as ps
import paramserver_client.graph as tf
from examples.digits.data import Digits, read_digits
from examples.digits.model import BATCH, build
from examples.digits.processes import ROOT, Server, Worker, start_workers

WANTED = 0.95


def main() -> int:
    arguments = parse()
    console = Console(highlight=False)
    home = nearest(Path(arguments.home))
    shutil.rmtree(home / "data", ignore_errors=True)
    started = time.monotonic()
    train, held_out = read_digits(home / "digits.npy")
    console.print(
        f"{len(train)} real handwritten digits to train on, {len(held_out)} held out; {arguments.workers} workers"
    )
    server = Server(home / "data", checkpoint_every_s=2)
    server.start()
    console.print(f"server at {server.url}, its data in {server.data_dir}, a checkpoint every 2 s", soft_wrap=True)
    workers = start_workers(server.url, arguments.workers, arguments.epochs, home / "digits.npy")
    try:
        follow(console, server, workers, kill_at=len(train) // BATCH * arguments.epochs // 2)
        return conclude(console, server, workers, held_out, started)
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()
        server.stop()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.digits", description=__doc__)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--home", default=str(ROOT / ".demo"), help="where the data directory and the digits are kept")
    return parser.parse_args()


def nearest(path: Path) -> Path:
    """The path as seen from here, when it lies below: easier to read and to type."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def follow(console: Console, server: Server, workers: list[Worker], kill_at: int) -> None:
    """Show progress until all workers are done, and kill the server once `kill_at` pushes were made."""
    killed = False
    with shown(console, workers) as show:
        while any(worker.process.poll() is None for worker in workers):
            time.sleep(0.1)
            show()
            if not killed and sum(worker.pushes for worker in workers) >= kill_at:
                killed = True
                kill_and_restart(console, server)
    for worker in workers:
        if worker.process.wait() != 0 or not worker.finished:
            raise SystemExit(f"worker {worker.number} ended with status {worker.process.returncode}")


@contextmanager
def shown(console: Console, workers: list[Worker]) -> Iterator[Callable[[], None]]:
    """A live table on a terminal; elsewhere a block of lines every three seconds. Yields what brings it up to date."""
    if console.is_terminal:
        with Live(console=console, refresh_per_second=4) as live:
            yield lambda: live.update(progress(workers))
            live.update(progress(workers))
        return
    spoken = time.monotonic()

    def speak() -> None:
        nonlocal spoken
        if time.monotonic() - spoken > 3:
            spoken = time.monotonic()
            console.print(progress(workers))

    yield speak
    console.print(progress(workers))


def kill_and_restart(console: Console, server: Server) -> None:
    """SIGKILL in mid-run; the same command brings the server back, from its newest checkpoint and its journal."""
    with ps.ParameterClient(server.url) as client:
        killed_at = client.server()["commit"]
    server.kill()
    console.print(
        f"[bold red]server killed[/] (SIGKILL) at commit {killed_at} or a little later; the workers keep trying"
    )
    server.start()
    with ps.ParameterClient(server.url) as client:
        back_at, newest = client.server()["commit"], client.get_checkpoint("latest")
    console.print(
        f"[bold green]server back[/] at commit {back_at}: checkpoint {newest.id}, and {back_at - newest.commit} commits "
        "done again from its journal"
    )
    lost = max(0, killed_at - back_at)
    console.print(f"lost: {'no push' if not lost else f'{lost} pushes'}; the workers train on")


def conclude(console: Console, server: Server, workers: list[Worker], held_out: Digits, started: float) -> int:
    """Measure on digits that no worker saw, save, and say where to look."""
    accuracy = evaluate(server.url, held_out)
    with ps.ParameterClient(server.url) as client:
        saved = client.save("digits", metadata={"held_out_accuracy": accuracy})
        counted = int(client.read("global_step"))
    pushes = sum(worker.pushes for worker in workers)
    exact = pushes == counted
    told = "none lost, none applied twice" if exact else "that should be the same number"
    console.print(
        f"{pushes} pushes acknowledged, {counted} counted by the server: {told}; {time.monotonic() - started:.0f} s in all",
        style=None if exact else "red",
        soft_wrap=True,
    )
    status = server.stop()
    console.print(f"held-out accuracy: {accuracy * 100:.2f} %", style="bold")
    directory = next((server.data_dir / "checkpoints").glob(f"{saved.id}.*"))
    console.print(f"checkpoint: {directory}", soft_wrap=True)
    console.print("look at it:", soft_wrap=True)
    console.print(
        f"  {nearest(Path(sys.executable).parent / 'paramserver')} serve --data-dir {server.data_dir} &", soft_wrap=True
    )
    console.print("  curl http://127.0.0.1:8080/v1/checkpoints/digits", soft_wrap=True)
    if status != 0:
        console.print(f"the server ended with status {status}", style="red")
    if accuracy < WANTED:
        console.print(f"that is less than the {WANTED * 100:g} % this should reach", style="red")
    return int(status != 0 or accuracy < WANTED or not exact)


def evaluate(url: str, held_out: Digits) -> float:
    network = build()
    with tf.Session(url) as session:
        right = 0.0
        for at in range(0, len(held_out), 100):
            images, labels = held_out.images[at : at + 100], held_out.labels[at : at + 100]
            right += float(session.run(network.accuracy, {network.images: images, network.labels: labels})) * len(
                labels
            )
    return right / len(held_out)


def progress(workers: list[Worker]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("worker", "epoch", "pushes", "pushes/s", "loss", "accuracy"):
        table.add_column(heading, justify="right")
    for worker in workers:
        table.add_row(str(worker.number), *cells(worker))
    return table


def cells(worker: Worker) -> list[str]:
    if not worker.losses:
        return [str(worker.epoch), str(worker.pushes), "-", "-", "-"]
    loss = sum(worker.losses) / len(worker.losses)
    accuracy = sum(worker.accuracies) / len(worker.accuracies)
    speed = "done" if worker.finished else f"{worker.pushes_per_s:.0f}"
    return [str(worker.epoch), str(worker.pushes), speed, f"{loss:.3f}", f"{accuracy * 100:.1f} %"]


if __name__ == "__main__":
    raise SystemExit(main())
