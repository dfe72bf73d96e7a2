"""The Dockerfile, carried out without an engine: its own commands in a directory that stands in for the image's root.

What differs from a real build, and why:

- Absolute paths of the image (`/opt/paramserver`, `/data`, ...) lie below the stand-in root; all stages share it.
- There is no network: what `locks/` names comes from the test's own environment, by a `.pth` file in the image's, or packed
  again (mlxtend). Its versions are those of `constraints.txt`, as in the image; `test_locks.py` holds the locks to them.
- The base image's Python is a copy of the one that runs the tests, because that one can lie where only its owner may go.
  It has pip, as in the base image.
"""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import distribution
from io import BytesIO
from json import loads
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parents[2]
UID = 10001
# Those of the image's paths that the Dockerfile names. `/src` and the like would be found inside others' names.
_PLACES = re.compile(r"(?<![\w./])/(?=(?:opt|src|dist|data|app|run|tmp)\b)")


@dataclass
class Stage:
    """One stage of the Dockerfile: its instructions, in order."""

    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def last(self, instruction: str) -> str:
        """The value of the last such instruction."""
        return [value for name, value in self.instructions if name == instruction][-1]

    def exec_form(self, instruction: str) -> list[str]:
        """The words of an instruction in exec form; a shell form is no JSON and fails here."""
        words: list[str] = loads(self.last(instruction))
        assert all(isinstance(word, str) for word in words)
        return words

    @property
    def health_command(self) -> list[str]:
        """The command of the HEALTHCHECK, in exec form."""
        words: list[str] = loads(self.last("HEALTHCHECK").partition("CMD")[2])
        return words

    @property
    def environment(self) -> dict[str, str]:
        pairs = (pair for name, value in self.instructions if name == "ENV" for pair in value.split())
        return dict(pair.split("=", 1) for pair in pairs)


def stages() -> dict[str, Stage]:
    """The stages of the Dockerfile, by name."""
    parser = DockerfileParser(fileobj=BytesIO((ROOT / "Dockerfile").read_bytes()))
    found: dict[str, Stage] = {}
    current: Stage | None = None
    for entry in parser.structure:
        name, value = entry["instruction"], entry["value"]
        if name == "FROM":
            base, _, stage = value.partition(" AS ")
            current = found[stage] = Stage(stage, base)
        elif current is not None and name != "COMMENT":
            current.instructions.append((name, value))
    return found


class Image:
    """A stage built below `root`. Everything in it runs as uid 10001 where the tests run as root, else as whoever we are.

    Stages that are in `done` stand below `root` already.
    """

    def __init__(self, root: Path, stage: Stage, done: set[str]) -> None:
        self.root = root
        self.stage = stage
        self._done = done
        self.user: dict[str, Any] = {"user": UID, "group": UID, "extra_groups": []} if os.geteuid() == 0 else {}

    def build(self) -> None:
        """Carry out the instructions of the stage and of those it is made from."""
        for place in ("opt", "tmp", "run/secrets"):
            (self.root / place).mkdir(parents=True, exist_ok=True)
        (self.root / "tmp").chmod(0o1777)
        if not self.place("/usr/local").exists():
            self._copy_python()
        self._carry_out(self.stage)
        packages = next((self.root / "opt/paramserver/lib").glob("python*/site-packages"))
        (packages / "test-environment.pth").write_text("\n".join(site.getsitepackages()) + "\n")

    def place(self, path: str) -> Path:
        """Where a path of the image lies here."""
        return self.root / path.lstrip("/")

    def mapped(self, text: str) -> str:
        """A command or value with the paths of the image as they are here."""
        return _PLACES.sub(f"{self.root}/", text)

    def environment(self, changes: Mapping[str, str]) -> dict[str, str]:
        """What a process in the container finds, with what `docker run -e` changes."""
        own = {name: self.mapped(value) for name, value in self.stage.environment.items()}
        own["PATH"] = own["PATH"].replace("$PATH", os.environ["PATH"])
        return own | self._library_path() | changes

    def start(self, words: list[str], changes: Mapping[str, str]) -> subprocess.Popen[str]:
        """Start a command as the container would: the user, the environment, the working directory."""
        environment = self.environment(changes)
        program = shutil.which(words[0], path=environment["PATH"])
        assert program is not None, words
        return subprocess.Popen(
            [program, *words[1:]],
            env=environment,
            cwd=self._working_directory(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **self.user,
        )

    def run(self, words: list[str], changes: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        process = self.start(words, changes)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def _copy_python(self) -> None:
        """What the base image is: Python and pip."""
        base, name = Path(sys.base_prefix), f"python{sys.version_info.major}.{sys.version_info.minor}"
        target = self.place("/usr/local")
        left_out = shutil.ignore_patterns("site-packages", "dist-packages", "test", "idlelib", "ensurepip", "config-*")
        shutil.copytree(base / "lib" / name, target / "lib" / name, ignore=left_out)
        for library in (base / "lib").glob("libpython*.so*"):
            shutil.copy2(library, target / "lib")
        (target / "bin").mkdir()
        shutil.copy2((base / "bin" / name).resolve(), target / "bin" / "python")
        for packages in ("site-packages", "dist-packages"):  # Debian's own Python looks into the second only.
            (target / "lib" / name / packages).mkdir()
            found = target / "lib" / name / packages / "test-environment.pth"
            found.write_text("\n".join(site.getsitepackages()) + "\n")

    def _working_directory(self) -> Path:
        found = [value for name, value in self.stage.instructions if name == "WORKDIR"]
        return Path(self.mapped(found[-1])) if found else self.root / "tmp"

    def _carry_out(self, stage: Stage) -> None:
        if stage.name in self._done:
            return
        self._done.add(stage.name)
        if stage.base in stages():
            self._carry_out(stages()[stage.base])
        directory = self.root
        for name, value in stage.instructions:
            if name == "WORKDIR":
                directory = Path(self.mapped(value))
                directory.mkdir(parents=True, exist_ok=True)
            elif name == "COPY":
                self._copy(value.split(), directory)
            elif name == "RUN":
                self._run(value, stage, directory)

    def _copy(self, words: list[str], directory: Path) -> None:
        if words[0].startswith("--from="):
            self._carry_out(stages()[words[0].removeprefix("--from=")])
            assert words[1] == words[2], "the stages share one root here"
            return
        *sources, target = words
        for source in sources:
            there = Path(self.mapped(target)) if target.startswith("/") else directory / target
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, there, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
            else:
                shutil.copy2(ROOT / source, there / source if there.is_dir() else there)

    def _run(self, command: str, stage: Stage, directory: Path) -> None:
        base = self.stage_environment(stage)
        done = subprocess.run(
            ["sh", "-ec", self._as_installed(self.mapped(command))],
            env=base,
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def stage_environment(self, stage: Stage) -> dict[str, str]:
        """What a RUN of the stage finds: the stage's own settings, and those that keep pip off the network."""
        given = {name: self.mapped(value) for name, value in stage.environment.items()}
        if stage.base in stages():
            given = self.stage_environment(stages()[stage.base]) | given
        wheels = self.root / "wheels"
        if not wheels.exists():
            wheels.mkdir()
            pack_again("mlxtend", wheels)
        offline = {
            "PIP_NO_DEPS": "1",
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",
            "PIP_FIND_LINKS": str(wheels),
        }
        path = f"{self.place('/usr/local/bin')}{os.pathsep}{os.environ['PATH']}"
        return {"HOME": str(self.root / "tmp"), **given, **offline, **self._library_path(), "PATH": path}

    def _library_path(self) -> dict[str, str]:
        # Where the base image's ldconfig would point.
        return {"LD_LIBRARY_PATH": str(self.place("/usr/local/lib"))}

    def _as_installed(self, command: str) -> str:
        command = re.sub(r"python -m pip[^&]* --require-hashes -r locks/(?:build|server)\.txt", "true", command)
        command = command.replace("--require-hashes -r locks/workers.txt", "mlxtend")
        # Only root can give files away; where nobody else is there, they are ours already.
        return command if self.user else re.sub(r" -[og] 10001", "", command)


def pack_again(name: str, directory: Path) -> None:
    """The wheel that an installed package came from, made of its files: what an index would have given."""
    package = distribution(name)
    with ZipFile(directory / f"{name}-{package.version}-py3-none-any.whl", "w") as wheel:
        for file in package.files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                wheel.write(file.locate(), str(file))
