"""The power is cut under load: with `always` nothing acknowledged is lost, with `everysec` about a second.

The data directory lies on an ext4 of its own, which is shut down without flushing its journal: what had not reached the
disk is gone, as after a power cut. What the disk itself may hold back is not looked at.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from faults.mounts import Ext4, cannot_mount, ext4
from faults.outcome import Outcome, main, timed
from faults.session import TOLD, Session
from faults.zygote import Zygote, serve_flags

NAME: Final = "power cuts"
EVERYSEC_S: Final = 1.1
"""So old may an answer be that `everysec` loses."""

LONGEST_S: Final = 2.5
CUTS_EACH: Final = 5


def run(seed: int, count: int, plant: str = "") -> Outcome:
    """Cut the power `count` times, half of them at each durability."""
    reason = cannot_mount()
    if reason:
        return Outcome(NAME, 0, (), skipped=reason)
    draw = random.Random(seed)
    wrong: list[str] = []
    lost = {"always": 0.0, "everysec": 0.0}
    acknowledged = cuts = 0
    with timed() as seconds, Zygote(plant) as zygote:
        while cuts < count and not wrong:
            durability = ("always", "everysec")[cuts // CUTS_EACH % 2]
            with tempfile.TemporaryDirectory(prefix="faults-power-") as place, ext4(Path(place), 1 << 30) as disk:
                # In the moment between the cut and the kill the server may find its disk gone, and say so.
                session = Session(seed * 1_000_003 + cuts, may_refuse=TOLD)
                for _ in range(min(CUTS_EACH, count - cuts)):
                    cuts += 1
                    after_s = draw.random() * (LONGEST_S if durability == "everysec" else LONGEST_S / 5)
                    found, oldest_s = _cut(zygote, disk, session, durability, after_s)
                    lost[durability] = max(lost[durability], oldest_s)
                    wrong += [f"cut {cuts} ({durability}, seed {seed}): {each}" for each in found]
                    if wrong:
                        break
                acknowledged += session.acknowledged
    figures = {
        "acknowledged": f"{acknowledged:,}",
        **{f"oldest answer lost, {name}": f"{oldest_s:.2f} s" for name, oldest_s in lost.items()},
    }
    return Outcome(NAME, cuts, tuple(wrong), figures, seconds())


def _cut(zygote: Zygote, disk: Ext4, session: Session, durability: str, after_s: float) -> tuple[list[str], float]:
    """Work, cut, start again. What was wrong, and how long before the cut the oldest lost answer had been given."""
    flags = serve_flags(disk.path / "data", durability, "--journal-limit-nbytes", "262144")
    server = zygote.serve(*flags)
    if not session.started:
        session.prepare(server.url)
    cut_at = 0.0

    def cut() -> None:
        nonlocal cut_at
        # Before, not after: an answer that comes meanwhile may be of either side.
        cut_at = time.monotonic()
        disk.cut_the_power()
        server.kill()
        session.gone.set()

    timer = threading.Timer(after_s, cut)
    timer.start()
    session.work(server.url, lambda: False)
    timer.join()
    disk.unmount()
    disk.mount()
    try:
        server = zygote.serve(*flags)
    except RuntimeError as error:
        return [str(error)], 0.0
    try:
        wrong, oldest = session.judge(
            server.url, may_lose_after=None if durability == "always" else cut_at - EVERYSEC_S
        )
    finally:
        server.kill()
    return wrong, max(0.0, cut_at - oldest) if oldest else 0.0


if __name__ == "__main__":
    main(run, 10)
