"""One worker process: `python -m examples.digits.worker URL NUMBER WORKERS EPOCHS CACHE`.

It computes gradients on its share of the digits and pushes them; it never talks to the other workers. Worker 0 is the
chief, which initializes. Progress goes to standard output, a JSON object a line. When the server goes away the client
underneath tries again with the same request id until it is back, and the push is applied once.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import numpy as np

import paramserver_client.graph as tf
from examples.digits.data import read_digits
from examples.digits.model import BATCH, build

REPORT_EVERY = 10


def report(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


def work(url: str, number: int, workers: int, epochs: int, cache: Path) -> None:
    # The client says when it has to try again; the one who watches all workers says it once.
    logging.getLogger("paramserver_client").setLevel(logging.ERROR)
    train, _ = read_digits(cache)
    mine = train.share(number, workers)
    network = build()
    manager = tf.train.SessionManager(recovery_wait_secs=0.2)
    if number == 0:
        session = manager.prepare_session(url, init_op=tf.global_variables_initializer())
    else:
        session = manager.wait_for_session(url, max_wait_secs=60)
    shuffle = np.random.default_rng(number)
    fetches = [network.train, network.loss, network.accuracy, network.global_step]
    done = 0
    with session:
        for epoch in range(epochs):
            order = shuffle.permutation(len(mine))
            for batch in np.array_split(order, len(mine) // BATCH):
                feed = {network.images: mine.images[batch], network.labels: mine.labels[batch]}
                _, loss, accuracy, step = session.run(fetches, feed_dict=feed)
                done += 1
                if done % REPORT_EVERY == 0:
                    report(epoch=epoch + 1, pushes=done, loss=float(loss), accuracy=float(accuracy), step=int(step))
    report(epoch=epochs, pushes=done, finished=True)


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
