"""Three workers train a convolutional network on real handwritten digits, as TensorFlow 1 programs did it.

Each worker runs `train`: a device setter, an optimizer, a moving average, and a `MonitoredTrainingSession` with hooks. Worker
0 is the chief, which initializes and saves. With `--sync` their gradients are averaged and applied as one step, else each
steps by itself.

    python -m examples.tf1_workers --home run          # starts a server and three workers, and says what they learned
    python -m examples.tf1_workers --home run --sync
    python -m examples.tf1_workers --home run --url http://10.0.0.7:8080 --task 1   # one worker, of a server that is there
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import paramserver_client.graph as tf
from examples.digits.data import Digits, read_digits
from examples.digits.model import Network, build
from examples.digits.processes import ROOT, Server, one_thread

WORKERS = 3
BATCH = 32
RATE = 0.003


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--home", type=Path, default=Path("run"), help="where the digits and the server's data are kept"
    )
    parser.add_argument("--url", help="a server that is there; this process is then one worker of it")
    parser.add_argument("--task", type=int, default=0, help="which worker this is, from 0")
    parser.add_argument("--steps", type=int, default=None, help="global steps to make")
    parser.add_argument("--sync", action="store_true", help="apply the mean of all workers' gradients as one step")
    options = parser.parse_args()
    steps = options.steps or (120 if options.sync else 360)
    if options.url is None:
        return train_together(options.home, steps, options.sync)
    train(options.url, options.task, steps, options.sync, options.home / "digits.npy")
    return 0


def train_together(home: Path, steps: int, sync: bool) -> int:
    """Start a server and the workers, and wait for them."""
    read_digits(home / "digits.npy")
    server = Server(home / "data", checkpoint_every_s=60)
    server.start()
    command = [sys.executable, "-m", "examples.tf1_workers", "--home", str(home.absolute()), "--url", server.url]
    command += ["--steps", str(steps), *(["--sync"] if sync else [])]
    workers = [subprocess.Popen([*command, "--task", str(task)], cwd=ROOT, env=one_thread()) for task in range(WORKERS)]
    ended = [worker.wait() for worker in workers]
    return max([*ended, server.stop()])


def train(url: str, task: int, steps: int, sync: bool, cache: Path) -> None:
    """What one worker does."""
    digits, held_out = read_digits(cache)
    setter = tf.train.replica_device_setter(ps_tasks=1, worker_device=f"/job:worker/task:{task}")
    with tf.device(setter):
        network = build()
        average = tf.train.ExponentialMovingAverage(0.9)
        optimizer: Any = tf.train.AdamOptimizer(tf.train.exponential_decay(RATE, network.global_step, steps, 0.5))
        hooks: list[tf.train.SessionRunHook] = [
            tf.train.StopAtStepHook(last_step=steps), tf.train.NanTensorHook(network.loss),
        ]  # fmt: skip
        if sync:
            optimizer = tf.train.SyncReplicasOptimizer(optimizer, WORKERS, variable_averages=average)
        step = optimizer.minimize(network.loss, global_step=network.global_step)
        if sync:
            hooks.append(optimizer.make_session_run_hook(task == 0, num_tokens=0))
        else:
            with tf.control_dependencies([step]):
                step = average.apply()
    report = Report(network, held_out)
    with tf.train.MonitoredTrainingSession(
        url, is_chief=task == 0, checkpoint_dir="digits-cnn", hooks=hooks, chief_only_hooks=[report],
        save_checkpoint_steps=steps // 2, recovery_wait_secs=0.2,
    ) as session:  # fmt: skip
        for images, labels in batches(digits.share(task, WORKERS), task):
            if session.should_stop():
                break
            session.run(step, {network.images: images, network.labels: labels})


class Report(tf.train.SessionRunHook):
    """Says at the end how well digits are read that no worker saw."""

    def __init__(self, network: Network, held_out: Digits) -> None:
        self._network, self._held_out = network, held_out

    def end(self, session: Any) -> None:
        network, right = self._network, []
        for at in range(0, len(self._held_out), 100):
            part = slice(at, at + 100)
            feeds = {network.images: self._held_out.images[part], network.labels: self._held_out.labels[part]}
            right.append(float(session.run(network.accuracy, feeds)))
        print(f"global step: {int(session.run(network.global_step))}", flush=True)
        print(f"held-out accuracy: {100 * np.mean(right):.2f} %", flush=True)


def batches(digits: Digits, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches for ever, in an order of each worker's own."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(digits))
        for at in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[at : at + BATCH]
            yield digits.images[chosen], digits.labels[chosen]


if __name__ == "__main__":
    raise SystemExit(main())
