"""The training steps of two networks in plain numpy, as one would write them without a graph: what the graph is held to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float32]
RATE = np.float32(0.1)


def softmax_loss(logits: Array, labels: NDArray[Any]) -> tuple[float, Array]:
    """The mean cross-entropy, and its gradient with respect to the logits."""
    rows = np.arange(len(labels))
    shifted = logits - logits.max(axis=1, keepdims=True)
    exps = np.exp(shifted)
    sums = exps.sum(axis=1, keepdims=True)
    loss = float((np.log(sums[:, 0]) - shifted[rows, labels]).mean())
    grad = exps / sums
    grad[rows, labels] -= 1
    grad /= np.float32(len(labels))
    return loss, grad


class Mlp:
    """784-256-10 with relu, by gradient descent."""

    def __init__(self, weights: dict[str, Array]) -> None:
        self.weights = weights

    def step(self, x: Array, labels: NDArray[Any]) -> float:
        w = self.weights
        before = x @ w["w1"] + w["b1"]
        hidden = np.maximum(before, np.float32(0))
        loss, grad = softmax_loss(hidden @ w["w2"] + w["b2"], labels)
        back = (grad @ w["w2"].T) * (before > 0)
        for name, change in (("w2", hidden.T @ grad), ("b2", grad.sum(0)), ("w1", x.T @ back), ("b1", back.sum(0))):
            w[name] = w[name] - RATE * change
        return loss


class Cnn:
    """The demo's network: two 5 x 5 convolutions, each with relu and pooling, and a dense layer."""

    def __init__(self, weights: dict[str, Array]) -> None:
        self.weights = weights

    def step(self, images: Array, labels: NDArray[Any]) -> float:
        w = self.weights
        one = _Layer(images, w["k1"], w["b1"])
        two = _Layer(one.out, w["k2"], w["b2"])
        flat = two.out.reshape(len(images), -1)
        loss, grad = softmax_loss(flat @ w["w"] + w["b"], labels)
        changes = {"w": flat.T @ grad, "b": grad.sum(0)}
        back, changes["k2"], changes["b2"] = two.backward((grad @ w["w"].T).reshape(two.out.shape), True)
        _, changes["k1"], changes["b1"] = one.backward(back, False)
        for name, change in changes.items():
            w[name] = w[name] - RATE * change
        return loss


class _Layer:
    """Convolution (im2col), bias, relu, and 2 x 2 pooling."""

    def __init__(self, images: Array, kernel: Array, bias: Array) -> None:
        self._kernel = kernel
        self._columns = _columns(images, kernel.shape[0])
        batch, height, width, _ = images.shape
        flat = self._columns @ kernel.reshape(-1, kernel.shape[3]) + bias
        self._active = np.maximum(flat, np.float32(0)).reshape(batch, height, width, -1)
        blocks = self._active.reshape(batch, height // 2, 2, width // 2, 2, -1)
        self.out = blocks.max(axis=(2, 4))
        self._blocks = blocks

    def backward(self, grad: Array, to_images: bool) -> tuple[Array, Array, Array]:
        chosen = self._blocks == self.out[:, :, None, :, None]
        spread = (chosen * grad[:, :, None, :, None]).reshape(self._active.shape)
        spread *= self._active > 0
        flat = spread.reshape(-1, spread.shape[3])
        kernel = (self._columns.T @ flat).reshape(self._kernel.shape)
        images = grad
        if to_images:
            turned = self._kernel[::-1, ::-1].transpose(0, 1, 3, 2)
            columns = _columns(spread, turned.shape[0])
            images = (columns @ turned.reshape(-1, turned.shape[3])).reshape(*spread.shape[:3], -1)
        return images, kernel, flat.sum(0)


def _columns(images: Array, size: int) -> Array:
    edge = size // 2
    padded = np.pad(images, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    windows = sliding_window_view(padded, (size, size), axis=(1, 2)).transpose(0, 1, 2, 4, 5, 3)
    return windows.reshape(-1, size * size * images.shape[3])
