"""Two variables change, and each time all of it is saved."""

import paramserver_client.graph as tf

weight = tf.Variable(0.0, name="weight")
bias = tf.Variable(1.0, name="bias")
saver = tf.train.Saver()
paths = []
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for step in range(1, 5):
        sess.run([weight.assign_add(1.0), bias.assign_sub(0.001)])
        print("w={}, b={}".format(*sess.run([weight, bias])))
        paths.append(saver.save(sess, "temp/test", step))
kept = saver.last_checkpoints
