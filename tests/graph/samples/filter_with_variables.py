"""Two convolution layers made with tf.Variable: every call of the function makes new variables."""

import paramserver_client.graph as tf


def image_filter(input_image: tf.Tensor) -> tf.Tensor:
    kernel = tf.Variable(tf.random_normal([5, 5, 3, 8]), name="conv1_w")
    bias = tf.Variable(tf.zeros([8]), name="conv1_b")
    layer = tf.nn.relu(tf.nn.conv2d(input_image, kernel, strides=[1, 1, 1, 1], padding="SAME") + bias)
    kernel = tf.Variable(tf.random_normal([5, 5, 8, 8]), name="conv1_w")
    bias = tf.Variable(tf.zeros([8]), name="conv2_b")
    return tf.nn.relu(tf.nn.conv2d(layer, kernel, strides=[1, 1, 1, 1], padding="SAME") + bias)


images = tf.placeholder(tf.float32, [None, 6, 6, 3])
first = image_filter(images)
names = [variable.op.name for variable in tf.global_variables()]
second = image_filter(images)
names_after = [variable.op.name for variable in tf.global_variables()]
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    found = sess.run([first, second], {images: [[[[0.5] * 3] * 6] * 6] * 2})
