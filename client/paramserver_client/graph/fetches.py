"""What may be fetched and fed: names, tensors, operations, variables, nested as the caller likes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from paramserver_client.graph.convert import make_array
from paramserver_client.graph.dtypes import Array, DType
from paramserver_client.graph.graph import Graph
from paramserver_client.graph.indexed_slices import IndexedSlices, IndexedSlicesValue
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.sparse_tensor import SparseTensor, SparseTensorValue

Build = Callable[[Mapping[Tensor, Any]], Any]


class Fetches:
    """A fetch structure: the elements it asks for, and how the answer is put together in the same structure."""

    def __init__(self, graph: Graph, fetches: Any) -> None:
        self._graph = graph
        self.elements: dict[Tensor | Operation, None] = {}
        self._build = self._read(fetches)

    def build(self, values: Mapping[Tensor, Any]) -> Any:
        """The answer: tensors by their value, operations by None."""
        return self._build(values)

    def _read(self, fetch: Any) -> Build:
        if fetch is None:
            raise TypeError(f"Fetch argument {fetch!r} has invalid type {type(fetch)!r}")
        if isinstance(fetch, list | tuple):
            return self._sequence(fetch)
        if isinstance(fetch, Mapping):
            return self._mapping(fetch)
        if isinstance(fetch, IndexedSlices | SparseTensor):
            return self._parts(fetch)
        if hasattr(type(fetch), "__attrs_attrs__"):
            kind = type(fetch)
            fields = [self._read(getattr(fetch, each.name)) for each in kind.__attrs_attrs__]
            return lambda values: kind(*(field(values) for field in fields))
        return self._element(fetch)

    def _mapping(self, fetch: Mapping[Any, Any]) -> Build:
        parts = {key: self._read(value) for key, value in fetch.items()}
        if isinstance(fetch, defaultdict):
            factory = fetch.default_factory
            return lambda values: defaultdict(factory, {key: part(values) for key, part in parts.items()})
        kind: Any = type(fetch)
        return lambda values: kind((key, part(values)) for key, part in parts.items())

    def _parts(self, fetch: IndexedSlices | SparseTensor) -> Build:
        """A tensor told by several others: their values under the same names."""
        kind: Any = IndexedSlicesValue if isinstance(fetch, IndexedSlices) else SparseTensorValue
        tensors = {name: getattr(fetch, name) for name in kind._fields}
        parts = {name: None if tensor is None else self._element(tensor) for name, tensor in tensors.items()}
        return lambda values: kind(**{name: None if part is None else part(values) for name, part in parts.items()})

    def _sequence(self, fetch: list[Any] | tuple[Any, ...]) -> Build:
        parts = [self._read(item) for item in fetch]
        if isinstance(fetch, list):
            return lambda values: [part(values) for part in parts]
        if hasattr(fetch, "_fields"):
            return lambda values: type(fetch)(*(part(values) for part in parts))
        return lambda values: tuple(part(values) for part in parts)

    def _element(self, fetch: Any) -> Build:
        try:
            element = self._graph.as_graph_element(fetch)
        except TypeError as error:
            raise TypeError(
                f"Fetch argument {fetch!r} has invalid type {type(fetch)!r}, must be a string or Tensor. ({error})"
            ) from None
        except (ValueError, KeyError) as error:
            raise ValueError(f"Fetch argument {fetch!r} cannot be interpreted as a Tensor. ({error})") from None
        if not self._graph.is_fetchable(element):
            raise ValueError(f"Operation {element.name!r} has been marked as not fetchable.")
        self.elements[element] = None
        if isinstance(element, Operation):
            return lambda values: None
        return lambda values: values[element]


def read_feeds(graph: Graph, feed_dict: Any) -> dict[Tensor, Array]:
    """The fed arrays by tensor, each of its tensor's dtype and of a shape that fits.

    Raises TypeError for a key that is no tensor, a tensor as a value, and integers that do not fit; ValueError for a
    wrong shape and for what is no array.
    """
    if feed_dict is None:
        return {}
    if not isinstance(feed_dict, Mapping):
        raise TypeError(f"feed_dict must be a dictionary mapping tensors to values, got {type(feed_dict).__name__}.")
    feeds: dict[Tensor, Array] = {}
    for key, value in feed_dict.items():
        for tensor, part in _pairs(graph, key, value):
            if tensor in feeds:
                raise ValueError(f"Tensor {tensor} is fed twice; feed it once.")
            feeds[tensor] = _fed_array(tensor, key, part)
    return feeds


def _pairs(graph: Graph, key: Any, value: Any) -> Iterator[tuple[Tensor, Any]]:
    if isinstance(key, IndexedSlices):
        key = (key.values, key.indices) if key.dense_shape is None else (key.values, key.indices, key.dense_shape)
        value = tuple(value)[: len(key)]
    elif isinstance(key, SparseTensor):
        key, value = (key.indices, key.values, key.dense_shape), tuple(value)
        key = key[: len(value)]  # A known shape need not be fed.
    if isinstance(key, tuple):
        if not isinstance(value, list | tuple) or len(key) != len(value):
            raise ValueError(f"Cannot interpret feed_dict value as {len(key)} values: {value!r}.")
        for each_key, each_value in zip(key, value, strict=True):
            yield from _pairs(graph, each_key, each_value)
        return
    try:
        element = graph.as_graph_element(key, allow_operation=False)
    except (TypeError, ValueError, KeyError) as error:
        raise TypeError(f"Cannot interpret feed_dict key as Tensor: {error}") from None
    assert isinstance(element, Tensor)
    if not graph.is_feedable(element):
        raise ValueError(f"Tensor {element} may not be fed.")
    yield element, value


def _fed_array(tensor: Tensor, key: Any, value: Any) -> Array:
    if isinstance(value, Tensor) or hasattr(value, "_as_tensor"):
        raise TypeError(
            "The value of a feed cannot be a tf.Tensor object. Acceptable feed values include Python scalars, "
            f"strings, lists and numpy arrays. For reference, the tensor object was {value} which was passed to the "
            f"feed with key {key}."
        )
    if value is None:
        raise ValueError(f"Cannot feed None for Tensor {tensor.name!r}; give a value.")
    dtype = tensor.dtype.base_dtype
    try:
        array = make_array(value, dtype) if dtype.numpy_dtype.kind == "O" else _numpy(value, dtype.numpy_dtype)
    except OverflowError:
        raise TypeError(_no_fit(value, dtype)) from None
    except TypeError as error:
        if isinstance(value, int):
            raise TypeError(_no_fit(value, dtype)) from None
        raise ValueError(f"Cannot feed {value!r} for Tensor {tensor.name!r}: {error}") from None
    if not tensor.shape.is_compatible_with(array.shape):
        raise ValueError(
            f"Cannot feed value of shape {array.shape} for Tensor {tensor.name!r}, which has shape '{tensor.shape}'"
        )
    return array


def _no_fit(value: Any, dtype: DType) -> str:
    return (
        f"Type of feed value {value} with type {type(value)} is not compatible with Tensor type {dtype.name}. "
        "Try explicitly setting the type of the feed tensor to a larger type (e.g. int64)."
    )


def _numpy(value: Any, dtype: np.dtype[Any]) -> Array:
    if isinstance(value, float) and dtype.kind in "iu":
        value = int(value)  # Cut to an integer, as TensorFlow does.
    with np.errstate(all="ignore"):
        return np.asarray(value, dtype=dtype)


def handed_out(values: Mapping[Tensor, Any], private: Callable[[Any], bool]) -> dict[Tensor, Any]:
    """The values as the caller gets them: scalars as numpy scalars, arrays his own to write into."""
    seen: set[int] = set()
    result: dict[Tensor, Any] = {}
    for tensor, value in values.items():
        array = np.asarray(value)
        if array.ndim == 0:
            result[tensor] = array[()]
            continue
        shared = not array.flags.writeable or array.base is not None or id(array) in seen or not private(array)
        seen.add(id(array))
        result[tensor] = np.array(array) if shared else array
    return result
