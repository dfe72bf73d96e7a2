"""Draws what was measured: run by the Python that has matplotlib, with the JSON and the folder for the pictures."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

_OURS = {"paramserver, TCP, none": "#d62728", "paramserver, TCP, everysec": "#ff9896"}
_OURS |= {"paramserver, Unix, none": "#9467bd", "paramserver, Unix, everysec": "#c5b0d5"}
# None of ours.
_THEIRS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#8c564b", "#e377c2", "#bcbd22", "#17becf", "#7f7f7f")


def main() -> None:
    """Two pictures."""
    measured, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    _peers(measured["rates"], folder / "peers.png")
    _curves(measured["curves"], folder / "curves.png")


def _peers(rates: list[dict[str, Any]], path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(13, 6), sharey=True)
    others = [name for name in dict.fromkeys(each["name"] for each in rates) if name not in _OURS and name[:3] != "raw"]
    colours = _OURS | dict(zip(others, itertools.cycle(_THEIRS), strict=False))
    colours |= {"raw TCP socket": "black", "raw Unix socket": "gray"}
    for axis, step in zip(axes, ("push", "pull"), strict=True):
        for name in dict.fromkeys(each["name"] for each in rates):
            points = sorted(
                (each["nbytes"], each["rate"] / 1e9)
                for each in rates
                if each["name"] == name
                and each["step"] == step
                and each["workers"] == 1
                and "model" not in each["case"]
            )
            ours, raw = name in _OURS, name.startswith("raw")
            style: dict[str, Any] = {
                "color": colours[name],
                "linewidth": 2.5 if ours else 1.2,
                "linestyle": ":" if raw else "-",
            }
            axis.plot(
                *zip(*points, strict=True), marker="o", markersize=3, label=name, zorder=3 if ours else 2, **style
            )
        axis.set(title=f"{step}, one worker", xscale="log", yscale="log", xlabel="bytes of the variable")
        axis.grid(which="major", alpha=0.3)
    axes[0].set_ylabel("GB/s")
    axes[1].legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def _curves(curves: dict[str, list[tuple[int, float, float]]], path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(13, 5))
    titles = {"bytes": "one variable", "count": "variables in one request, 40 MB in all"}
    for axis, (what, title) in zip(axes, titles.items(), strict=True):
        points = curves[what]
        for index, step in ((1, "push"), (2, "pull")):
            axis.plot([each[0] for each in points], [each[index] for each in points], marker="o", label=step)
        axis.set(
            title=title, xscale="log", yscale="log", xlabel="bytes" if what == "bytes" else "variables", ylabel="ms"
        )
        axis.grid(which="major", alpha=0.3)
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
