"""A scope's initializer holds for what is inside, unless something nearer says otherwise."""

import numpy as np

import paramserver_client.graph as tf

with tf.variable_scope("foo", initializer=tf.constant_initializer(0.4)):
    v = tf.get_variable("v", [1])
    w = tf.get_variable("w", [2], initializer=tf.constant_initializer(0.3))
    with tf.variable_scope("bar"):
        inherited = tf.get_variable("v", [3])
    with tf.variable_scope("baz", initializer=tf.constant_initializer(0.1)):
        changed = tf.get_variable("v", [2])
    with tf.variable_scope("random", initializer=tf.random_normal_initializer(0.1)):
        random = tf.get_variable("v", [2])

errors = []
try:
    v.eval()
except ValueError as error:
    errors.append(str(error))
with tf.Session() as sess:
    try:
        v.eval()
    except tf.errors.FailedPreconditionError as error:
        errors.append(str(error))
    for variable in (v, w, inherited, changed, random):
        sess.run(variable.initializer)
    assert v.eval() == np.float32(0.4)
    for variable, wanted in ((w, 0.3), (inherited, 0.4), (changed, 0.1)):
        assert np.allclose(variable.eval(), wanted)
    drawn = random.eval()
