"""SIGKILL at random moments: nothing that was acknowledged is lost, doubled or torn."""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Final

from faults.outcome import Outcome, main, timed
from faults.session import Session
from faults.zygote import Forked, Zygote, serve_flags

NAME: Final = "kill -9 at random moments"
KILLS_EACH: Final = 25
"""So many kills in one data directory: the next begins with a new one."""

LONGEST_S: Final = 0.25


def run(seed: int, count: int, plant: str = "") -> Outcome:
    """Kill servers at work at `count` random moments, half of them at each durability, and hold them to what they said."""
    draw = random.Random(seed)
    wrong: list[str] = []
    acknowledged = killed = 0
    with timed() as seconds, Zygote(plant) as zygote, tempfile.TemporaryDirectory(prefix="faults-kills-") as place:
        while killed < count and not wrong:
            durability = ("always", "everysec")[killed // KILLS_EACH % 2]
            session = Session(seed * 1_000_003 + killed)
            data_dir = Path(place) / f"{killed}"
            flags = serve_flags(data_dir, durability, "--journal-limit-nbytes", "262144")
            server = zygote.serve(*flags)
            session.prepare(server.url)
            for _ in range(min(KILLS_EACH, count - killed)):
                _work_and_kill(session, server, draw.random() * LONGEST_S)
                killed += 1
                try:
                    server = zygote.serve(*flags)
                except RuntimeError as error:
                    return Outcome(
                        NAME, killed, (f"kill {killed} ({durability}, seed {seed}): {error}",), {}, seconds()
                    )
                wrong += [f"kill {killed} ({durability}, seed {seed}): {each}" for each in session.judge(server.url)[0]]
                if wrong:
                    break
            acknowledged += session.acknowledged
            status = server.stop()
            if status != 0:
                wrong.append(f"after kill {killed} SIGTERM ended with status {status}: {server.errors()[-500:]}")
            shutil.rmtree(data_dir)
    return Outcome(NAME, killed, tuple(wrong), {"acknowledged": f"{acknowledged:,}"}, seconds())


def _work_and_kill(session: Session, server: Forked, after_s: float) -> None:
    def kill() -> None:
        server.kill()
        session.gone.set()

    timer = threading.Timer(after_s, kill)
    timer.start()
    session.work(server.url, lambda: False)
    timer.join()


if __name__ == "__main__":
    main(run, 100)
