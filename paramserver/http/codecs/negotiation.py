"""Which format a request is in, and which one its answer shall have: Content-Type and Accept."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from paramserver_wire import frame, npy, packed, safetensors
from paramserver_wire.errors import NotAcceptable, UnsupportedMediaType

Format = Literal["json", "msgpack", "frame", "safetensors", "npy"]

MEDIA_TYPES: Final[Mapping[str, Format]] = {
    "application/json": "json",
    packed.MEDIA_TYPE: "msgpack",
    frame.MEDIA_TYPE: "frame",
    safetensors.MEDIA_TYPE: "safetensors",
    npy.MEDIA_TYPE: "npy",
}
MEDIA_TYPE_OF: Final[Mapping[Format, str]] = {name: media_type for media_type, name in MEDIA_TYPES.items()}

TREES: Final[tuple[Format, ...]] = ("json", "msgpack", "frame")
"""The formats that hold any request and any answer."""
FILES: Final[tuple[Format, ...]] = ("safetensors", "npy")
"""The formats that hold tensors by name, or one tensor, and little else."""

_CHARSET: Final = re.compile(r'charset\s*=\s*"?([^\s";]*)')
_UTF8: Final = frozenset({"utf-8", "utf8", "us-ascii"})


def format_of(content_type: str | None, taken: Sequence[Format] = TREES) -> Format:
    """The format a Content-Type stands for; raises `UnsupportedMediaType` unless it is one of `taken`."""
    if content_type is None:
        raise UnsupportedMediaType(f"the request has a body but no Content-Type; send one of {listed(taken)}")
    exact = MEDIA_TYPES.get(content_type)
    if exact is not None and exact in taken:
        return exact
    essence, _, parameters = content_type.lower().partition(";")
    name = MEDIA_TYPES.get(essence.strip())
    if name is None or name not in taken:
        raise UnsupportedMediaType(f"wanted a body of {listed(taken)}, got {content_type[:80]!r}; set Content-Type")
    charset = _CHARSET.search(parameters)
    if charset is not None and charset[1] not in _UTF8:
        raise UnsupportedMediaType(f"text is taken as UTF-8, got charset {charset[1][:40]!r}; send UTF-8")
    return name


def check_encoding(content_encoding: str | None, transfer_encoding: str | None = None) -> None:
    """Refuse compressed bodies, compressed on their way or for good: their size cannot be checked before memory is taken."""
    if transfer_encoding is not None and transfer_encoding.strip().lower() != "chunked":
        raise UnsupportedMediaType(
            f"Transfer-Encoding {transfer_encoding[:40]!r} is not taken; send the body as it is, in chunks or with its length"
        )
    if content_encoding is not None and content_encoding.strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType(
            f"Content-Encoding {content_encoding[:40]!r} is not taken; send the body as it is, without compression"
        )


def answer_format(accept: str | None, default: Format, offered: Sequence[Format] = TREES) -> Format:
    """The format of the answer: the best of `accept` among those `offered`, `default` among equals.

    A `default` that is not offered gives way to the first that is. Raises `NotAcceptable`.
    """
    default = default if default in offered else offered[0]
    if accept is None or accept in ("", "*/*"):
        return default
    exact = MEDIA_TYPES.get(accept)
    if exact is not None and exact in offered:
        return exact
    weights = _weights(accept)
    ranked = sorted(offered, key=lambda name: (_weight_of(MEDIA_TYPE_OF[name], weights), name == default), reverse=True)
    if _weight_of(MEDIA_TYPE_OF[ranked[0]], weights) <= 0:
        raise NotAcceptable(
            f"this answer comes as {listed(offered)}, none of which Accept {accept[:80]!r} allows; ask for one of them"
        )
    return ranked[0]


def listed(formats: Sequence[Format]) -> str:
    """The media types of `formats`, for a message."""
    return ", ".join(MEDIA_TYPE_OF[name] for name in formats)


def _weights(accept: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for entry in accept.split(",")[:32]:
        media_range, *parameters = (part.strip().lower() for part in entry.split(";"))
        quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        if re.fullmatch(r"[01](\.\d{0,3})?", quality):
            weights[media_range] = max(weights.get(media_range, 0.0), float(quality))
    return weights


def _weight_of(media_type: str, weights: Mapping[str, float]) -> float:
    # The most specific range decides: that is how `*/*;q=0.1, application/json;q=0` excludes JSON.
    for media_range in (media_type, "application/*", "*/*"):
        if media_range in weights:
            return weights[media_range]
    return 0.0
