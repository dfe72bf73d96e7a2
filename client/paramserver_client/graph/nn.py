"""`tf.nn`: what neural networks are made of."""

from paramserver_client.graph.ops_activation import (
    crelu,
    elu,
    leaky_relu,
    log_sigmoid,
    relu6,
    selu,
    softplus,
    softsign,
    swish,
)
from paramserver_client.graph.ops_embedding import embedding_lookup
from paramserver_client.graph.ops_math import sigmoid, tanh
from paramserver_client.graph.ops_matmul import xw_plus_b
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
from paramserver_client.graph.ops_norm import (
    batch_normalization,
    dropout,
    l2_normalize,
    local_response_normalization,
    moments,
    weighted_cross_entropy_with_logits,
    zero_fraction,
)
from paramserver_client.graph.ops_norm import local_response_normalization as lrn
from paramserver_client.graph.ops_scan import in_top_k, top_k
from paramserver_client.graph.ops_window import avg_pool, conv2d_transpose, depthwise_conv2d, separable_conv2d

__all__ = [
    "avg_pool",
    "batch_normalization",
    "bias_add",
    "conv2d",
    "conv2d_transpose",
    "crelu",
    "depthwise_conv2d",
    "dropout",
    "elu",
    "embedding_lookup",
    "in_top_k",
    "l2_loss",
    "l2_normalize",
    "leaky_relu",
    "local_response_normalization",
    "log_sigmoid",
    "log_softmax",
    "lrn",
    "max_pool",
    "moments",
    "relu",
    "relu6",
    "selu",
    "separable_conv2d",
    "sigmoid",
    "sigmoid_cross_entropy_with_logits",
    "softmax",
    "softmax_cross_entropy_with_logits",
    "softmax_cross_entropy_with_logits_v2",
    "softplus",
    "softsign",
    "sparse_softmax_cross_entropy_with_logits",
    "swish",
    "tanh",
    "top_k",
    "weighted_cross_entropy_with_logits",
    "xw_plus_b",
    "zero_fraction",
]
