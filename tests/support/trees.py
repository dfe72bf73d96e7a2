"""Messages with arrays in them for Hypothesis, and how to compare what came back."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from paramserver_wire.tensors import Tensor
from support.arrays import arrays, same_bits

_KEYS = st.text(max_size=6).filter(lambda key: key not in ("$t", "data"))
_META = st.dictionaries(st.sampled_from(["version", "name", "incarnation"]), st.integers(0, 2**40), max_size=2)
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=6)
    | arrays()
    | st.builds(Tensor, arrays(), _META)
)

TREES: st.SearchStrategy[Any] = st.recursive(
    _LEAVES,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(_KEYS, children, max_size=4),
    max_leaves=12,
)
"""Any tree of plain values, arrays and tensors with fields beside them."""


def same_tree(sent: Any, got: Any) -> bool:
    """Tell whether `got` is `sent` once decoded: arrays have become tensors, all bits are the same."""
    if isinstance(got, Tensor):
        tensor = sent if isinstance(sent, Tensor) else Tensor(sent)
        return same_bits(tensor.array, got.array) and dict(tensor.meta) == got.meta
    if isinstance(sent, dict):
        return sent.keys() == got.keys() and all(same_tree(value, got[key]) for key, value in sent.items())
    if isinstance(sent, list):
        return len(sent) == len(got) and all(map(same_tree, sent, got))
    return type(sent) is type(got) and bool(sent == got)
