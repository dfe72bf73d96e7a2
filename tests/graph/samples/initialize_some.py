"""One of two variables gets its first value; how the other can be found out."""

import paramserver_client.graph as tf

w = tf.Variable(tf.random_normal(shape=(1, 4), stddev=0.35), name="weight")
b = tf.Variable(tf.zeros([4]), name="bias")
failures = []
with tf.Session() as sess:
    sess.run(tf.variables_initializer([w]))
    first = w.eval()
    print(first)
    try:
        b.eval()
    except tf.errors.FailedPreconditionError as error:
        failures.append(str(error))
    reported = sess.run(tf.report_uninitialized_variables()).tolist()
    flags = [bool(tf.is_variable_initialized(each).eval()) for each in (w, b)]
    try:
        sess.run(tf.assert_variables_initialized())
    except tf.errors.FailedPreconditionError as error:
        failures.append(str(error))
print(reported, flags, failures)
