"""Values from a checkpoint into a running store: whole, one by one, or only rehearsed.

All three decide by the same plan before anything is changed, and list every difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paramserver.checkpoint.arguments import checked_names, checked_rename, choose
from paramserver.checkpoint.errors import CheckpointError
from paramserver.checkpoint.format import Manifest
from paramserver.checkpoint.reading import Array, each_value, read_manifest, read_values
from paramserver.disk import Disk
from paramserver.store.errors import Difference, StoreError
from paramserver.store.requests import Claim
from paramserver.store.restoring import Restored
from paramserver.store.snapshot import VariableSnapshot
from paramserver.store.store import Store


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a restore asks for: `names` (all that were saved unless given), what each was saved as, and what may differ."""

    names: Sequence[str] | None = None
    rename: Mapping[str, str] | None = None
    strict: bool = True
    create: bool = True
    reshape: bool = False


class Restores:
    """Restores from checkpoint directories into one store. Blocks for the disk; the caller keeps the directory in place."""

    def __init__(self, store: Store, disk: Disk) -> None:
        self._store = store
        self._disk = disk

    def whole(
        self, directory: Path, wanted: Wanted, claim: Claim | None, answer: Callable[[Restored], Any]
    ) -> Restored:
        """All in one transaction. Every value is read and verified first, within the memory budget."""
        choice = self._choose(directory, wanted)
        self._planned(choice, wanted)
        sources = set(choice.sources.values())
        nbytes = sum(choice.manifest.variables[source].nbytes for source in sources)
        # While they are read the values count against the budget; then the transaction counts them itself.
        self._store.budget.reserve(nbytes)
        try:
            values = read_values(directory, choice.manifest, sources, disk=self._disk, allocate=self._store.pool.empty)
        finally:
            self._store.budget.release(nbytes)
        saved = {
            name: choice.manifest.variables[source].snapshot(values[source]) for name, source in choice.sources.items()
        }
        done = self._store.restore(
            saved,
            strict=wanted.strict,
            create=wanted.create,
            reshape=wanted.reshape,
            absent=choice.absent,
            claim=claim,
            answer=lambda done: answer(choice.complete(done)),
        )
        return choice.complete(done)

    def rehearsed(self, directory: Path, wanted: Wanted, *, sequentially: bool) -> Restored:
        """What the restore would do, refused as it would be. Reads and verifies what it would; changes nothing."""
        choice = self._choose(directory, wanted)
        planned = self._planned(choice, wanted)
        nbytes = self._needed_nbytes(choice, planned, sequentially)
        self._store.budget.reserve(nbytes)
        self._store.budget.release(nbytes)
        self._verify(directory, choice, planned)
        return choice.complete(planned)

    def one_by_one(self, directory: Path, wanted: Wanted) -> Restored:
        """One variable after the other, each in a transaction of its own, with one value in memory beside the store's.

        All is verified first, so that only a disk or a budget that changes meanwhile can end it half way.
        """
        choice = self._choose(directory, wanted)
        planned = self._planned(choice, wanted)
        nbytes = self._needed_nbytes(choice, planned, True)
        self._store.budget.reserve(nbytes)
        self._store.budget.release(nbytes)
        self._verify(directory, choice, planned)
        restored = 0
        try:
            for name, value in self._values(directory, choice, planned):
                saved = choice.manifest.variables[choice.sources[name]].snapshot(value)
                done = self._store.restore({name: saved}, create=wanted.create, reshape=wanted.reshape)
                planned = replace(planned, commit=done.commit)
                restored += 1
        except (CheckpointError, StoreError) as error:
            if not restored:
                raise
            raise CheckpointError(
                f"only {restored} of {len(planned.restored)} variables were restored, then it failed: {error}; "
                "the variables are a mixture now: restore this or another checkpoint before they are used"
            ) from error
        return choice.complete(planned)

    def _choose(self, directory: Path, wanted: Wanted) -> _Choice:
        names = checked_names(wanted.names)
        renamed = checked_rename(wanted.rename, names)
        manifest = read_manifest(directory, disk=self._disk)
        sources, absent = choose(manifest, names, renamed)
        left_alone = [] if names is not None else [name for name in self._store.names() if name not in sources]
        return _Choice(manifest, sources, absent, left_alone)

    def _planned(self, choice: _Choice, wanted: Wanted) -> Restored:
        saved = {name: choice.manifest.variables[source].snapshot(None) for name, source in choice.sources.items()}
        return self._store.plan_restore(
            saved, strict=wanted.strict, create=wanted.create, reshape=wanted.reshape, absent=choice.absent
        )

    def _needed_nbytes(self, choice: _Choice, planned: Restored, sequentially: bool) -> int:
        """The memory that the restore takes beside what is in use now: all at once, or what grows and the largest one."""
        sizes = {name: choice.manifest.variables[choice.sources[name]].nbytes for name in planned.restored}
        if not sequentially:
            return sum(sizes.values())
        grows = [nbytes for name, nbytes in sizes.items() if not _has_value(self._store.find(name))]
        return sum(grows) + max(sizes.values(), default=0)

    def _verify(self, directory: Path, choice: _Choice, planned: Restored) -> None:
        for _ in self._values(directory, choice, planned):
            continue

    def _values(self, directory: Path, choice: _Choice, planned: Restored) -> Iterator[tuple[str, Array]]:
        """Each variable to restore with its value, in the order of the files, one in memory at a time."""
        targets: dict[str, list[str]] = {}
        for name in planned.restored:
            targets.setdefault(choice.sources[name], []).append(name)
        for source, value in each_value(
            directory, choice.manifest, targets.keys(), disk=self._disk, allocate=self._store.pool.empty
        ):
            for name in targets[source]:
                yield name, value


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which saved value goes to which variable, what is not there, and what the checkpoint says nothing about."""

    manifest: Manifest
    sources: Mapping[str, str]
    absent: Sequence[Difference]
    left_alone: Sequence[str]

    def complete(self, done: Restored) -> Restored:
        return replace(done, missing=(*done.missing, *self.left_alone))


def _has_value(variable: VariableSnapshot | None) -> bool:
    return variable is not None and variable.initialized
