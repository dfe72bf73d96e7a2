"""`tf.contrib`: of TensorFlow's contributed code what programs use most, in `tf.contrib.layers`."""

from paramserver_client.graph import contrib_layers as layers

__all__ = ["layers"]
