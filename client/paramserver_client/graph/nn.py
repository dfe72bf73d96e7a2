"""`tf.nn`: what neural networks are made of."""

from paramserver_client.graph.ops_embedding import embedding_lookup
from paramserver_client.graph.ops_math import sigmoid, tanh
from paramserver_client.graph.ops_nn import (
    bias_add,
    conv2d,
    l2_loss,
    log_softmax,
    max_pool,
    relu,
    sigmoid_cross_entropy_with_logits,
    softmax,
    softmax_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits_v2,
    sparse_softmax_cross_entropy_with_logits,
)

__all__ = [
    "bias_add",
    "conv2d",
    "embedding_lookup",
    "l2_loss",
    "log_softmax",
    "max_pool",
    "relu",
    "sigmoid",
    "sigmoid_cross_entropy_with_logits",
    "softmax",
    "softmax_cross_entropy_with_logits",
    "softmax_cross_entropy_with_logits_v2",
    "sparse_softmax_cross_entropy_with_logits",
    "tanh",
]
