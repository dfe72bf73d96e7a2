"""Words as vectors, learned from the words around them: skip-gram with negative sampling, as one wrote it for TensorFlow 1.

The text is what Python says about itself (`pydoc_data.topics`), so nothing is downloaded. Both tables of vectors are
variables; a step looks up a few of their rows, so its gradients are rows. A run pulls both tables whole, to look the rows
up here, and pushes the gradients of these rows only.

    python -m examples.tf1_word2vec                               # variables in this process
    python -m examples.tf1_word2vec --url http://127.0.0.1:8080   # variables on a server
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Sequence
from pydoc_data.topics import topics
from typing import NamedTuple

import numpy as np

import paramserver_client.graph as tf

RAREST = 5
WINDOW = 2
WIDTH = 48
BATCH = 256
NEGATIVES = 64
SHOWN = ("class", "exception", "string", "import", "integer", "for")


class Corpus(NamedTuple):
    """The words by number, the most frequent first; how often each occurs; and the text as numbers."""

    words: list[str]
    counts: np.ndarray
    text: np.ndarray


def read_corpus() -> Corpus:
    """The words of Python's topics that occur often enough to learn something about."""
    found = re.findall(r"[a-z_]{2,}", "\n".join(topics.values()).lower())
    counted = [(word, count) for word, count in Counter(found).most_common() if count >= RAREST]
    number = {word: at for at, (word, _) in enumerate(counted)}
    text = np.array([number[word] for word in found if word in number])
    return Corpus(list(number), np.array([count for _, count in counted]), text)


class Pairs:
    """Draws words with a neighbour each, and other words that are no neighbours. Frequent words are drawn less often."""

    def __init__(self, corpus: Corpus, seed: int) -> None:
        self._draw = np.random.default_rng(seed)
        self._text = corpus.text
        shares = corpus.counts / corpus.counts.sum()
        kept = np.minimum(1.0, np.sqrt(1e-3 / shares))[corpus.text[WINDOW:-WINDOW]]
        self._centres = kept / kept.sum()
        noise = corpus.counts**0.75
        self._noise = noise / noise.sum()

    def draw(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A batch of words, their neighbours, and words that stand for all others."""
        at = WINDOW + self._draw.choice(len(self._centres), BATCH, p=self._centres)
        apart = self._draw.integers(1, WINDOW + 1, BATCH) * self._draw.choice([-1, 1], BATCH)
        return self._text[at], self._text[at + apart], self._draw.choice(len(self._noise), NEGATIVES, p=self._noise)


class Network:
    """The two tables, and the loss of a batch: neighbours should have vectors alike, and drawn words not."""

    def __init__(self, words: int) -> None:
        self.centres = tf.placeholder(tf.int64, [None], name="centres")
        self.neighbours = tf.placeholder(tf.int64, [None], name="neighbours")
        self.others = tf.placeholder(tf.int64, [None], name="others")
        with tf.variable_scope("word2vec"):
            spread = tf.random_uniform_initializer(-0.5 / WIDTH, 0.5 / WIDTH, seed=1)
            self.vectors = tf.get_variable("vectors", [words, WIDTH], initializer=spread)
            contexts = tf.get_variable("contexts", [words, WIDTH], initializer=tf.zeros_initializer())
        words_here = tf.nn.embedding_lookup(self.vectors, self.centres)
        alike = tf.reduce_sum(words_here * tf.nn.embedding_lookup(contexts, self.neighbours), axis=1)
        drawn = tf.matmul(words_here, tf.nn.embedding_lookup(contexts, self.others), transpose_b=True)
        near = tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.ones_like(alike), logits=alike)
        far = tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.zeros_like(drawn), logits=drawn)
        # As if five words had been drawn for each neighbour.
        self.loss = tf.reduce_mean(near) + 5.0 * tf.reduce_mean(far)

        optimizer = tf.train.AdagradOptimizer(0.5)
        self.gradients = optimizer.compute_gradients(self.loss)
        self.step = tf.train.get_or_create_global_step()
        self.train = optimizer.apply_gradients(self.gradients, global_step=self.step)


def nearest(vectors: np.ndarray, corpus: Corpus, word: str, count: int = 6) -> Sequence[str]:
    """The words whose vectors point where that of `word` does."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.maximum(lengths, 1e-12)
    order = np.argsort(-unit @ unit[corpus.words.index(word)])
    return [corpus.words[at] for at in order[1 : count + 1]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="", help="a parameter server; without one the variables are in this process")
    parser.add_argument("--steps", type=int, default=3000)
    options = parser.parse_args()
    corpus = read_corpus()
    pairs = Pairs(corpus, seed=1)
    network = Network(len(corpus.words))
    print(f"{len(corpus.text):,} words of text, {len(corpus.words):,} different ones")

    with tf.Session(options.url) as sess:
        sess.run(tf.global_variables_initializer())
        losses = []
        for number in range(1, options.steps + 1):
            centres, neighbours, others = pairs.draw()
            feeds = {network.centres: centres, network.neighbours: neighbours, network.others: others}
            if number == 1:
                rows = [sess.run(gradient, feeds).indices for gradient, _ in network.gradients]
                told = " and ".join(f"{len(set(each.tolist()))} of {len(corpus.words)}" for each in rows)
                print(f"a step changes {told} rows")
            _, loss = sess.run([network.train, network.loss], feeds)
            losses.append(loss)
            if number % max(1, options.steps // 5) == 0:
                print(f"step {number}: loss {np.mean(losses[-200:]):.3f}", flush=True)
        vectors = sess.run(network.vectors)
    for word in SHOWN:
        print(f"{word:>10}: {', '.join(nearest(vectors, corpus, word))}")


if __name__ == "__main__":
    main()
