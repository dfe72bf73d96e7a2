"""Damage for bytes that have been sound, as Hypothesis strategies."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

Damage = Callable[[bytes], bytes]


def _cut(at: float) -> Damage:
    return lambda body: body[: int(len(body) * at)]


def _longer(tail: bytes) -> Damage:
    return lambda body: body + tail


def _overwritten(at: float, patch: bytes) -> Damage:
    def damage(body: bytes) -> bytes:
        start = int(len(body) * at)
        return body[:start] + patch + body[start + len(patch) :]

    return damage


_PLACES = st.floats(0, 1, exclude_max=True)

DAMAGES: st.SearchStrategy[Damage] = st.one_of(
    st.builds(_cut, _PLACES),
    st.builds(_longer, st.binary(min_size=1, max_size=4)),
    st.builds(_overwritten, _PLACES, st.binary(min_size=1, max_size=6)),
    st.builds(
        _overwritten, st.floats(0, 0.3), st.sampled_from([b"\x00", b"\xff", b"\x80", b"\xdf\xff", b"\xdd\xff\xff"])
    ),
)
"""Cut short, longer, or with some bytes overwritten, the beginning more often than the rest."""
