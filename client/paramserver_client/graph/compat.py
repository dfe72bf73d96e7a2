"""`tf.compat`: texts as bytes and back, and `tf.compat.v1`, which is this same face."""

from __future__ import annotations

from typing import Any

__all__ = ["as_bytes", "as_str", "as_str_any", "as_text"]


def as_bytes(bytes_or_text: Any, encoding: str = "utf-8") -> bytes:
    """A text as bytes; bytes as they are. Raises TypeError for anything else."""
    if isinstance(bytes_or_text, str):
        return bytes_or_text.encode(encoding)
    if isinstance(bytes_or_text, bytes | bytearray):
        return bytes(bytes_or_text)
    raise TypeError(f"Expected binary or unicode string, got {bytes_or_text!r}")


def as_text(bytes_or_text: Any, encoding: str = "utf-8") -> str:
    """Bytes as a text; a text as it is. Raises TypeError for anything else."""
    if isinstance(bytes_or_text, str):
        return bytes_or_text
    if isinstance(bytes_or_text, bytes):
        return bytes_or_text.decode(encoding)
    raise TypeError(f"Expected binary or unicode string, got {bytes_or_text!r}")


as_str = as_text


def as_str_any(value: Any) -> str:
    """Anything as a text."""
    return as_text(value) if isinstance(value, bytes) else str(value)


def disable_eager_execution() -> None:
    """Nothing to do: there are graphs only."""


def disable_v2_behavior() -> None:
    """Nothing to do: this is TensorFlow 1's behaviour."""


def executing_eagerly() -> bool:
    """False: there are graphs only."""
    return False


def __getattr__(name: str) -> Any:
    if name == "v1":
        from paramserver_client import graph  # The face imports this module.

        return graph
    raise AttributeError(f"tf.compat has no {name!r}")
