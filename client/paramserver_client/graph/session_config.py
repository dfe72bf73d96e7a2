"""`tf.ConfigProto` and its kin: taken so that programs need no change. All fields may be set; few mean something here."""

from __future__ import annotations

from typing import Any


class _Settings:
    """Any field can be given, set and read; one that was never set is empty settings of its own, and false."""

    def __init__(self, **fields: Any) -> None:
        vars(self).update(fields)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        empty = _Settings()
        setattr(self, name, empty)
        return empty

    def __bool__(self) -> bool:
        return bool(vars(self))

    def add(self, **fields: Any) -> _Settings:
        """Settings of their own at the end of this list of settings."""
        added = _Settings(**fields)
        setattr(self, f"item{len(self)}", added)
        return added

    def __len__(self) -> int:
        return len(vars(self))

    def HasField(self, name: str) -> bool:
        """Whether the field was set."""
        return bool(vars(self).get(name))

    def CopyFrom(self, other: _Settings) -> None:
        """Take over the fields of `other`."""
        vars(self).clear()
        vars(self).update(vars(other))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({fields})"


class ConfigProto(_Settings):
    """Settings of a session. `operation_timeout_in_ms` is the time a request to the server may take; all others
    (devices, threads, memory) have no effect."""


class GPUOptions(_Settings):
    """Taken and without effect."""


class GraphOptions(_Settings):
    """Taken and without effect."""


class OptimizerOptions(_Settings):
    """Taken and without effect."""


class RunOptions(_Settings):
    """Settings of a run: taken and without effect."""

    NO_TRACE = 0
    SOFTWARE_TRACE = 1
    HARDWARE_TRACE = 2
    FULL_TRACE = 3


class RunMetadata(_Settings):
    """Taken by `run` and left empty: nothing is traced."""
