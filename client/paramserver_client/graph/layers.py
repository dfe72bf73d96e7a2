"""`tf.layers`: layers that make their own variables, in a variable scope of their name.

A layer with a name that is taken fails, as `get_variable` does, unless `reuse` says to share its variables; without a name
it gets the next free one: `dense`, `dense_1`, ...
"""

from paramserver_client.graph.layer_functions import (
    average_pooling2d,
    batch_normalization,
    conv2d,
    dense,
    dropout,
    flatten,
    max_pooling2d,
)
from paramserver_client.graph.layer_objects import BatchNormalization, Conv2D, Dense

__all__ = [
    "BatchNormalization",
    "Conv2D",
    "Dense",
    "average_pooling2d",
    "batch_normalization",
    "conv2d",
    "dense",
    "dropout",
    "flatten",
    "max_pooling2d",
]
