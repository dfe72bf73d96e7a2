"""Device names, which are read, merged and shown, and change nothing: every operation runs in this process.

A name is `/job:ps/replica:0/task:1/device:CPU:0` with any part left out; `/cpu:0` is short for `/device:CPU:0`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class DeviceSpec:
    """A device's name taken apart. None stands for what it leaves open."""

    job: str | None = None
    replica: int | None = None
    task: int | None = None
    device_type: str | None = None
    device_index: int | None = None

    @classmethod
    def from_string(cls, text: str) -> DeviceSpec:
        """The parts of a device's name. Raises ValueError for what is none."""
        spec = cls()
        for part in filter(None, text.split("/")):
            spec = replace(spec, **_part(part, text))
        return spec

    def to_string(self) -> str:
        """The full form of the name; empty when nothing is said."""
        text = "" if self.job is None else f"/job:{self.job}"
        text += "" if self.replica is None else f"/replica:{self.replica}"
        text += "" if self.task is None else f"/task:{self.task}"
        if self.device_type is not None:
            text += f"/device:{self.device_type}:{'*' if self.device_index is None else self.device_index}"
        return text

    def merged_with(self, inner: DeviceSpec) -> DeviceSpec:
        """This one, overridden by what `inner` says."""
        said = {key: value for key, value in vars(inner).items() if value is not None}
        return replace(self, **said)


@dataclass(frozen=True)
class DeviceAttributes:
    """A processor a session has, as `Session.list_devices` gives it."""

    name: str
    device_type: str
    memory_limit_bytes: int = 0
    incarnation: int = 0


def listed_devices(count: Any) -> list[DeviceAttributes]:
    """The processors of `ConfigProto.device_count`: as many as it says under `CPU`, or one; never any other."""
    cpus = count.get("CPU", 1) if isinstance(count, dict) else 1
    return [DeviceAttributes(f"/job:localhost/replica:0/task:0/device:CPU:{index}", "CPU") for index in range(cpus)]


def _part(part: str, text: str) -> dict[str, Any]:
    words = part.split(":")
    kind = words[0].lower()
    try:
        if kind == "job" and len(words) == 2:
            return {"job": words[1]}
        if kind in ("replica", "task") and len(words) == 2:
            return {kind: int(words[1])}
        if kind == "device" and len(words) in (2, 3):
            return {"device_type": words[1].upper(), "device_index": _index(words[2:])}
        if kind in ("cpu", "gpu") and len(words) in (1, 2):
            return {"device_type": kind.upper(), "device_index": _index(words[1:])}
    except ValueError:
        pass
    raise ValueError(f"Unknown attribute: '{kind}' in '{text}'; wanted a device such as '/job:ps/task:1/cpu:0'.")


def _index(words: list[str]) -> int | None:
    return None if not words or words[0] == "*" else int(words[0])


Chooser = Callable[[Any], Any]
"""A device, or a function from an operation to one; None in the stack forgets what is outside."""


def device_of(op: Any, stack: tuple[Any, ...]) -> str:
    """The device of an operation made inside these `with tf.device(...)` blocks, outermost first."""
    chosen = DeviceSpec()
    for each in reversed(stack):
        if each is None:
            break
        op.device = chosen.to_string()
        found = each(op) if callable(each) else each
        if callable(each):  # A function sees the device so far, and what it gives holds as it is.
            chosen = _spec(found) if found is not None else chosen
        else:
            chosen = _spec(found).merged_with(chosen)
    return chosen.to_string()


def _spec(device: Any) -> DeviceSpec:
    return device if isinstance(device, DeviceSpec) else DeviceSpec.from_string(str(device))


def checked_device(device: Any) -> Any:
    """`device` if it is None, a device, a name of one, or a function. Raises ValueError for a malformed name."""
    return _spec(device) if device is not None and not callable(device) else device
