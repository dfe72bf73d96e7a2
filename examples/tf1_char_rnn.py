"""Text, learned letter by letter: a recurrent network unrolled over time, as one wrote it for TensorFlow 1.

The text is what Python says about itself (`pydoc_data.topics`), so nothing is downloaded. The cell is written by hand;
every step of time reuses its variables by their scope, and so does a second, short network that writes text of its own.
A Saver keeps what was learned; `--go-on` restores it.

    python -m examples.tf1_char_rnn --home run                              # variables in this process
    python -m examples.tf1_char_rnn --home run --url http://127.0.0.1:8080  # variables and checkpoints on a server
"""

from __future__ import annotations

import argparse
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np

import paramserver_client.graph as tf

UNROLLED = 24
BATCH = 32
WIDTH = 96
LONGEST_GRADIENT = 5.0


class Text:
    """A text as numbers, in as many parallel strands as a batch has."""

    def __init__(self) -> None:
        # Plain text only: the few odd letters would each be a class of their own.
        whole = "".join(letter for letter in "\n".join(topics.values()) if " " <= letter <= "~" or letter == "\n")
        self.letters = sorted(set(whole))
        self._number = {letter: at for at, letter in enumerate(self.letters)}
        numbers = self.numbers(whole)
        self._strands = numbers[: len(numbers) // BATCH * BATCH].reshape(BATCH, -1)

    def numbers(self, text: str) -> np.ndarray:
        """The numbers of some letters."""
        return np.array([self._number[letter] for letter in text], np.int32)

    def piece(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """What each strand says at a step, and the letter that follows each of its letters."""
        begin = step * UNROLLED % (self._strands.shape[1] - UNROLLED)
        return self._strands[:, begin : begin + UNROLLED], self._strands[:, begin + 1 : begin + UNROLLED + 1]


def gate(name: str, inputs: Any, size: int, bias: float) -> Any:
    with tf.variable_scope(name):
        width = inputs.shape.as_list()[1]
        weight = tf.get_variable("weight", [width, size], initializer=tf.glorot_uniform_initializer(seed=1))
        return tf.matmul(inputs, weight) + tf.get_variable("bias", [size], initializer=tf.constant_initializer(bias))


def cell(inputs: Any, state: Any) -> Any:
    """A gated recurrent unit: how much of the state is looked at, how much of it stays, and what takes its place."""
    both = tf.concat([inputs, state], 1)
    looked_at, kept = tf.split(tf.sigmoid(gate("gates", both, 2 * WIDTH, 1.0)), 2, 1)
    new = tf.tanh(gate("candidate", tf.concat([inputs, looked_at * state], 1), WIDTH, 0.0))
    return kept * state + (1.0 - kept) * new


def unrolled(letters: Any, state: Any, steps: int, count: int) -> tuple[list[Any], Any]:
    """The scores of what follows each letter, and the state after the last."""
    table = tf.get_variable("letters", [count, 32], initializer=tf.random_normal_initializer(stddev=0.1, seed=2))
    scores = []
    for at, now in enumerate(tf.unstack(tf.nn.embedding_lookup(table, letters), steps, axis=1)):
        # The first step of the first network makes the variables; all others find them.
        with tf.variable_scope("cell", reuse=tf.AUTO_REUSE if at == 0 else True):
            state = cell(now, state)
        with tf.variable_scope("out", reuse=tf.AUTO_REUSE if at == 0 else True):
            scores.append(gate("scores", state, count, 0.0))
    return scores, state


class Network:
    """The network that learns, and the one that writes; they are the same variables."""

    def __init__(self, count: int) -> None:
        self.letters = tf.placeholder(tf.int32, [None, UNROLLED], name="letters")
        self.following = tf.placeholder(tf.int32, [None, UNROLLED], name="following")
        self.before = tf.placeholder(tf.float32, [None, WIDTH], name="before")
        with tf.variable_scope("rnn"):
            scores, self.after = unrolled(self.letters, self.before, UNROLLED, count)
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=self.following, logits=tf.stack(scores, axis=1))
        self.loss = tf.reduce_mean(each)
        self.step = tf.train.get_or_create_global_step()
        optimizer = tf.train.AdamOptimizer(0.005)
        gradients, variables = zip(*optimizer.compute_gradients(self.loss), strict=True)
        clipped, self.length = tf.clip_by_global_norm(gradients, LONGEST_GRADIENT)
        self.train = optimizer.apply_gradients(zip(clipped, variables, strict=True), global_step=self.step)

        self.letter = tf.placeholder(tf.int32, [1, 1], name="letter")
        self.state = tf.placeholder(tf.float32, [1, WIDTH], name="state")
        with tf.variable_scope("rnn", reuse=True):
            (score,), self.next_state = unrolled(self.letter, self.state, 1, count)
        self.shares = tf.nn.softmax(score)


def written(sess: tf.Session, network: Network, text: Text, begin: str, count: int) -> str:
    """What the network goes on with after `begin`, each letter drawn by its share."""
    draw = np.random.default_rng(1)
    state, said = np.zeros((1, WIDTH), np.float32), list(begin)
    for at in range(len(begin) + count - 1):
        letter = text.numbers(said[at])[np.newaxis]
        shares, state = sess.run([network.shares, network.next_state], {network.letter: letter, network.state: state})
        if at >= len(begin) - 1:
            # Sharper than they are: likely letters a little more likely.
            sharp = shares[0].astype(np.float64) ** 1.5
            said.append(text.letters[draw.choice(len(sharp), p=sharp / sharp.sum())])
    return "".join(said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path(".char_rnn"), help="where checkpoints are kept")
    parser.add_argument("--url", default="", help="a parameter server; without one the variables are in this process")
    parser.add_argument("--steps", type=int, default=600, help="steps to make in all, those before --go-on included")
    parser.add_argument("--go-on", action="store_true", help="begin with the newest checkpoint")
    options = parser.parse_args()
    text = Text()
    network = Network(len(text.letters))
    saver = tf.train.Saver(max_to_keep=2)
    prefix = str(options.home / "model")

    with tf.Session(options.url) as sess:
        if options.go_on:
            saver.restore(sess, tf.train.latest_checkpoint(str(options.home)))
        else:
            sess.run(tf.global_variables_initializer())
        step = int(sess.run(network.step))
        print(f"begins at step {step}", flush=True)
        state, losses = np.zeros((BATCH, WIDTH), np.float32), []
        while step < options.steps:
            letters, following = text.piece(step)
            feeds = {network.letters: letters, network.following: following, network.before: state}
            _, loss, length, state, step = sess.run(
                [network.train, network.loss, network.length, network.after, network.step], feeds
            )
            losses.append(loss)
            if step % max(1, options.steps // 6) == 0:
                print(f"step {step}: loss {np.mean(losses[-50:]):.3f}, gradient {length:.2f} long", flush=True)
        print(f"saved {saver.save(sess, prefix, global_step=network.step)}")
        print(written(sess, network, text, "The statement ", 200))


if __name__ == "__main__":
    main()
