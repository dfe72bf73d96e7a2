"""The same layers with get_variable in scopes: the second call shares the variables of the first."""

import paramserver_client.graph as tf


def conv_relu(source: tf.Tensor, kernel_shape: list[int], bias_shape: list[int]) -> tf.Tensor:
    weight = tf.get_variable("weight", kernel_shape, initializer=tf.random_normal_initializer())
    bias = tf.get_variable("bias", bias_shape, initializer=tf.constant_initializer(0.0))
    return tf.nn.relu(tf.nn.conv2d(source, weight, strides=[1, 1, 1, 1], padding="SAME") + bias)


def image_filter(input_image: tf.Tensor, reuse: object = None) -> tf.Tensor:
    with tf.variable_scope("conv1", reuse=reuse):
        layer = conv_relu(input_image, [5, 5, 3, 8], [8])
    with tf.variable_scope("conv2", reuse=reuse):
        return conv_relu(layer, [5, 5, 8, 8], [8])


images = tf.placeholder(tf.float32, [None, 6, 6, 3])
errors = []
try:
    image_filter(images, reuse=True)
except ValueError as error:
    errors.append(str(error))
first = image_filter(images)
try:
    image_filter(images)
except ValueError as error:
    errors.append(str(error))
names = [variable.op.name for variable in tf.global_variables()]
second = image_filter(images, reuse=tf.AUTO_REUSE)
names_after = [variable.op.name for variable in tf.global_variables()]
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    found = sess.run([first, second], {images: [[[[0.5] * 3] * 6] * 6] * 2})
