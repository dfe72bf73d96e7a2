"""The operations that make constant values."""

import paramserver_client.graph as tf

plane = [[1, 2], [3, 4], [5, 6]]
values = {
    "zeros": tf.zeros([2, 3]),
    "zeros_like": tf.zeros_like(plane),
    "ones": tf.ones([2, 3]),
    "ones_like": tf.ones_like(plane),
    "fill": tf.fill([2, 2], 8),
    "constant": tf.constant([1, 2, 3, 4]),
    "linspace": tf.linspace(10.0, 12.0, 3, name="line"),
    "range": tf.range(3, 18, 3),
}
with tf.Session() as sess:
    found = sess.run(values)
for name, value in found.items():
    print(name, value.dtype, value.tolist())
