from __future__ import annotations

import os
from pathlib import Path

import pytest

from paramserver.engine.machine import default_memory_limit_nbytes

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
MIB = 1024 * 1024


def given(root: Path, files: dict[str, str]) -> int:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return default_memory_limit_nbytes(root)


def test_without_control_groups_it_is_the_machine_s(tmp_path: Path) -> None:
    assert given(tmp_path, {}) == int(0.8 * MACHINE)


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": f"{100 * MIB}\n"}, 100 * MIB),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, MACHINE),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/memory.max": "max\n",
                "sys/fs/cgroup/a/memory.max": f"{50 * MIB}\n",
                "sys/fs/cgroup/memory.max": f"{90 * MIB}\n",
            },
            50 * MIB,
        ),
        ({"proc/self/cgroup": "0::/../../docker/x\n", "sys/fs/cgroup/memory.max": f"{70 * MIB}\n"}, 70 * MIB),
        (
            {
                "proc/self/cgroup": "5:cpu:/\n4:memory:/docker/x\n0::/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{60 * MIB}\n",
            },
            60 * MIB,
        ),
        (
            {"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"},
            MACHINE,
        ),
    ],
)
def test_the_least_limit_counts(tmp_path: Path, files: dict[str, str], wanted: int) -> None:
    assert given(tmp_path, files) == int(0.8 * wanted)


def test_this_machine() -> None:
    assert MIB < default_memory_limit_nbytes() <= int(0.8 * MACHINE)
