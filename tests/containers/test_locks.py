"""The locks of the image: all that it installs, nothing else, in the versions that the tests run with, each with its hashes."""

from __future__ import annotations

import re
from importlib.metadata import distribution, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.image import ROOT

LOCKS = sorted((ROOT / "locks").glob("*.txt"))


def locked(name: str) -> dict[str, tuple[str, str, list[str]]]:
    """The packages in a lock: version, marker and hashes by name."""
    found = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / "locks" / f"{name}.txt").read_text().strip()):
        first, *hashes = [part.strip() for part in entry.replace("\\\n", "\n").splitlines()]
        requirement = Requirement(first)
        (specifier,) = requirement.specifier
        assert specifier.operator == "=="
        found[canonicalize_name(requirement.name)] = (specifier.version, str(requirement.marker or ""), hashes)
    return found


def pinned() -> dict[str, str]:
    """The versions of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().split()
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def needed(name: str, extra: str = "") -> set[str]:
    """A package and whatever it needs here, and whatever that needs."""
    found: set[str] = set()
    left = [(name, extra)]
    while left:
        package, wanted = left.pop()
        for text in requires(package) or ():
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or marker.evaluate({"extra": wanted}):
                key = canonicalize_name(requirement.name)
                if key not in found:
                    found.add(key)
                    left += [(requirement.name, each) for each in ("", *requirement.extras)]
    return found


def test_there_is_one_for_each_install() -> None:
    assert [path.stem for path in LOCKS] == ["build", "server", "workers"]


@pytest.mark.parametrize("name", [path.stem for path in LOCKS])
def test_versions_are_those_of_the_tests_and_every_file_has_its_hash(name: str) -> None:
    for package, (version, _, hashes) in locked(name).items():
        assert pinned().get(package, version) == version, package
        assert hashes, package
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), package


def test_all_that_a_server_needs_is_locked_and_nothing_else() -> None:
    lock = locked("server")
    closure = needed("paramserver", "server")
    assert closure <= lock.keys()
    # The rest is for other platforms or Pythons, and says so.
    assert [name for name in lock.keys() - closure if not lock[name][1]] == []
    for name in closure:
        assert distribution(name).version == lock[name][0]


def test_all_that_the_build_needs_is_locked() -> None:
    assert needed("hatchling") <= locked("build").keys()


def test_compiled_packages_are_there_for_both_architectures() -> None:
    # A lock made for one machine would have a file or two of each: these have one for every platform and Python.
    for name in ("numpy", "orjson", "uvloop", "msgpack", "pydantic-core", "zlib-ng"):
        assert len(locked("server")[name][2]) > 10
