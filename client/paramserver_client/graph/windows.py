"""The windows of convolution and pooling, in plain numpy.

A convolution is one matrix product: every window becomes a row of a matrix (im2col), and BLAS does the rest. Images
are `[batch, height, width, channels]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import as_strided

from paramserver_client.graph.dtypes import Array

MATRIX_ELEMENTS: Final = 2**21
"""How large a matrix of windows gets, unless one image alone makes a larger one.

For a step of the demo's network with 400 images on one thread: 121 ms, and 236 without a limit. 2**19 fits the cache better
still (113 ms), but BLAS wakes its threads for every matrix, which on a busy machine costs more than that gives."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Windows along one axis: `size` is the kernel's, `count` how many windows there are."""

    length: int
    size: int
    stride: int
    count: int
    before: int
    after: int


def axis(length: int, size: int, stride: int, padding: str) -> Axis:
    """`SAME`: one window for every `stride` elements, zeros put around evenly, one more behind when odd.
    `VALID`: only windows that lie inside."""
    if padding == "VALID":
        return Axis(length, size, stride, max(0, (length - size) // stride + 1), 0, 0)
    count = -(-length // stride)
    total = max(0, (count - 1) * stride + size - length)
    return Axis(length, size, stride, count, total // 2, total - total // 2)


def padded(images: Array, rows: Axis, columns: Axis, fill: Any = 0) -> Array:
    """The images with `fill` around them, as much as the windows need."""
    if not (rows.before or rows.after or columns.before or columns.after):
        return images
    batch, height, width, channels = images.shape
    shape = (batch, rows.before + height + rows.after, columns.before + width + columns.after, channels)
    out = np.full(shape, fill, dtype=images.dtype) if fill else np.zeros(shape, dtype=images.dtype)
    out[:, rows.before : rows.before + height, columns.before : columns.before + width] = images
    return out


def matrices(images: Array, rows: Axis, columns: Axis) -> Iterator[tuple[slice, Array]]:
    """Every window of already padded images as a row, `[images * windows, size * size * channels]`: so many images at
    once that the matrix stays small, and which these are. The next matrix takes the place of the one before.

    A matrix is `size * size` times its images, and a large one is slower to make and to read, too.
    """
    batch, _, _, channels = images.shape
    each = rows.count * columns.count * rows.size * columns.size * channels
    step = max(1, min(batch, MATRIX_ELEMENTS // max(1, each)))
    room = np.empty(step * each, dtype=images.dtype)
    fill = _fill_for_few_channels if channels < 4 else _fill
    images = np.ascontiguousarray(images)
    for first in range(0, batch, step):
        some = slice(first, min(first + step, batch))
        yield some, fill(images[some], rows, columns, room[: (some.stop - first) * each])


def _fill(images: Array, rows: Axis, columns: Axis, room: Array) -> Array:
    batch, _, _, channels = images.shape
    by_image, by_row, by_column, by_channel = images.strides
    # A row of a window lies in one piece: size * channels elements are copied at once.
    view = as_strided(
        images,
        (batch, rows.count, columns.count, rows.size, columns.size * channels),
        (by_image, by_row * rows.stride, by_column * columns.stride, by_row, by_channel),
        writeable=False,
    )
    np.copyto(room.reshape(view.shape), view)
    return room.reshape(-1, rows.size * columns.size * channels)


def _fill_for_few_channels(images: Array, rows: Axis, columns: Axis, room: Array) -> Array:
    # With few channels the pieces are short. Copied the other way round they are whole image rows: 0.23 ms instead
    # of 0.97 for 50 images of 28 x 28 under a 5 x 5 kernel. BLAS takes the transposed matrix as it is.
    batch, _, _, channels = images.shape
    out = room.reshape(rows.size, columns.size, channels, batch, rows.count, columns.count)
    for i, j, part in parts(images, rows, columns):
        for channel in range(channels):
            out[i, j, channel] = part[..., channel]
    return room.reshape(rows.size * columns.size * channels, -1).T


def parts(images: Array, rows: Axis, columns: Axis) -> Iterator[tuple[int, int, Array]]:
    """For each place `(i, j)` in a window the elements that all windows have there, as a view."""
    down, across = (rows.count - 1) * rows.stride + 1, (columns.count - 1) * columns.stride + 1
    for i in range(rows.size):
        for j in range(columns.size):
            yield i, j, images[:, i : i + max(0, down) : rows.stride, j : j + max(0, across) : columns.stride]


def convolve(images: Array, kernel: Array, rows: Axis, columns: Axis) -> Array:
    """Each output is the sum of a window times `kernel` `[height, width, in, out]` (not flipped)."""
    flat = kernel.reshape(-1, kernel.shape[3])
    out = np.empty((len(images), rows.count, columns.count, kernel.shape[3]), dtype=images.dtype)
    for some, windows in matrices(padded(images, rows, columns), rows, columns):
        np.matmul(windows, flat, out=out[some].reshape(-1, kernel.shape[3]))
    return out


def kernel_gradient(images: Array, gradient: Array, rows: Axis, columns: Axis) -> Array:
    """How the convolution's outputs depend on its kernel, summed over `gradient`."""
    channels = images.shape[3]
    out = np.zeros((rows.size * columns.size * channels, gradient.shape[3]), dtype=gradient.dtype)
    for some, windows in matrices(padded(images, rows, columns), rows, columns):
        out += windows.T @ gradient[some].reshape(-1, gradient.shape[3])
    return out.reshape(rows.size, columns.size, channels, gradient.shape[3])


def image_gradient(kernel: Array, gradient: Array, rows: Axis, columns: Axis) -> Array:
    """How the convolution's outputs depend on its images, summed over `gradient`: a convolution with the kernel
    turned around, of the gradient with `stride - 1` zeros between its elements."""
    turned = np.ascontiguousarray(kernel[::-1, ::-1].transpose(0, 1, 3, 2))
    spread_rows, spread_columns = _spread(rows), _spread(columns)
    batch, _, _, channels = gradient.shape
    shape = (batch, rows.length + rows.size - 1, columns.length + columns.size - 1, channels)
    spread = np.zeros(shape, dtype=gradient.dtype)
    spread[:, spread_rows, spread_columns] = gradient
    around, across = (Axis(each.length, each.size, 1, each.length, 0, 0) for each in (rows, columns))
    return convolve(spread, turned, around, across)


def _spread(along: Axis) -> slice:
    first = along.size - 1 - along.before
    return slice(first, first + max(0, (along.count - 1) * along.stride + 1), along.stride)


def largest(images: Array, rows: Axis, columns: Axis) -> Array:
    """The largest element of each window."""
    out: Array | None = None
    for _, _, part in parts(_padded_low(images, rows, columns), rows, columns):
        out = part if out is None else np.maximum(out, part)
    if out is None:
        raise ValueError("A window of no elements has no largest one.")
    return np.ascontiguousarray(out)


def to_largest(images: Array, outputs: Array, gradient: Array, rows: Axis, columns: Axis) -> Array:
    """`gradient` put where each window has its (first) largest element; overlapping windows add."""
    low = _padded_low(images, rows, columns)
    out = np.zeros(low.shape, dtype=gradient.dtype)
    places = parts(out, rows, columns)
    for hit, (_, _, part) in zip(_hits(low, outputs, rows, columns), places, strict=True):
        part += gradient * hit
    return _cut(out, rows, columns)


def from_largest(images: Array, outputs: Array, values: Array, rows: Axis, columns: Axis) -> Array:
    """The inverse: of `values`, shaped like the images, those at each window's (first) largest element."""
    low = _padded_low(images, rows, columns)
    out = np.zeros(outputs.shape, dtype=values.dtype)
    places = parts(padded(values, rows, columns), rows, columns)
    for hit, (_, _, part) in zip(_hits(low, outputs, rows, columns), places, strict=True):
        out += part * hit
    return out


def _hits(low: Array, outputs: Array, rows: Axis, columns: Axis) -> Iterator[Array]:
    free = np.ones(outputs.shape, dtype=bool)
    for _, _, part in parts(low, rows, columns):
        hit = (part == outputs) & free
        free &= ~hit
        yield hit


def _padded_low(images: Array, rows: Axis, columns: Axis) -> Array:
    lowest = -np.inf if images.dtype.kind not in "iu" else np.iinfo(images.dtype).min
    return padded(images, rows, columns, lowest)


def _shares(rows: Axis, columns: Axis, dtype: Any) -> Array:
    """One divided by the number of elements in each window, those outside the images not counted: `[rows, columns, 1]`."""
    counts = [_inside(each) for each in (rows, columns)]
    return np.asarray(1.0 / (counts[0][:, None, None] * counts[1][None, :, None])).astype(dtype)


def _inside(along: Axis) -> Array:
    first = np.arange(along.count) * along.stride - along.before
    return np.asarray(np.minimum(first + along.size, along.length) - np.maximum(first, 0))


def _cut(out: Array, rows: Axis, columns: Axis) -> Array:
    """Padded images without what was put around."""
    return out[:, rows.before : rows.before + rows.length, columns.before : columns.before + columns.length]


def _empty_padded(rows: Axis, columns: Axis, batch: int, channels: int, dtype: Any) -> Array:
    height, width = (each.before + each.length + each.after for each in (rows, columns))
    return np.zeros((batch, height, width, channels), dtype=dtype)


def average(images: Array, rows: Axis, columns: Axis) -> Array:
    """The mean of each window; elements outside the images do not count."""
    batch, _, _, channels = images.shape
    out = np.zeros((batch, rows.count, columns.count, channels), dtype=images.dtype)
    for _, _, part in parts(padded(images, rows, columns), rows, columns):
        out += part
    out *= _shares(rows, columns, out.dtype)
    return out


def average_gradient(gradient: Array, rows: Axis, columns: Axis) -> Array:
    """`gradient` shared out evenly over the elements of each window."""
    share = gradient * _shares(rows, columns, gradient.dtype)
    out = _empty_padded(rows, columns, len(gradient), gradient.shape[3], gradient.dtype)
    for _, _, part in parts(out, rows, columns):
        part += share
    return _cut(out, rows, columns)


def convolve_each(images: Array, kernel: Array, rows: Axis, columns: Axis) -> Array:
    """Each channel convolved by itself with `kernel` `[height, width, in, multiplier]`."""
    batch, _, _, channels = images.shape
    out = np.zeros((batch, rows.count, columns.count, channels, kernel.shape[3]), dtype=images.dtype)
    for i, j, part in parts(padded(images, rows, columns), rows, columns):
        out += part[..., None] * kernel[i, j]
    return out.reshape(*out.shape[:3], -1)


def image_gradient_each(kernel: Array, gradient: Array, rows: Axis, columns: Axis) -> Array:
    """How `convolve_each` depends on its images, summed over `gradient`."""
    channels, times = kernel.shape[2:]
    split = gradient.reshape(*gradient.shape[:3], channels, times)
    out = _empty_padded(rows, columns, len(gradient), channels, gradient.dtype)
    for i, j, part in parts(out, rows, columns):
        part += (split * kernel[i, j]).sum(axis=-1, dtype=out.dtype)
    return _cut(out, rows, columns)


def kernel_gradient_each(images: Array, gradient: Array, rows: Axis, columns: Axis) -> Array:
    """How `convolve_each` depends on its kernel, summed over `gradient`."""
    channels = images.shape[3]
    split = gradient.reshape(*gradient.shape[:3], channels, -1)
    out = np.zeros((rows.size, columns.size, channels, split.shape[4]), dtype=gradient.dtype)
    for i, j, part in parts(padded(images, rows, columns), rows, columns):
        out[i, j] = (part[..., None] * split).sum(axis=(0, 1, 2), dtype=out.dtype)
    return out
