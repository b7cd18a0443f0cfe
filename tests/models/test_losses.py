"""Losses against plain double loops and Keras' own."""

import numpy as np
import pytest

from musicrec.models.losses import TEMPERATURE, cross_entropy, losses_and_hits, supervised_contrastive
from musicrec.models.network import import_keras

pytestmark = pytest.mark.engine

LABELS = np.array([0, 0, 0, 1, 1, 2, 0, 1])
ARTISTS = np.array([0, 0, 1, 2, 3, 4, 5, 2])  # class 1: an artist twice; class 2: nobody else
UNITS = np.random.default_rng(0).normal(size=(8, 4))
UNITS /= np.linalg.norm(UNITS, axis=1, keepdims=True)


WEIGHTS = np.random.default_rng(1).uniform(0.1, 3, 8)


def double_loop(units, labels, artists, anchors, weights):
    total = 0.0
    for i in anchors:
        positives = [j for j in range(len(units)) if labels[j] == labels[i] and artists[j] != artists[i]]
        compared = [
            j for j in range(len(units)) if j != i and not (labels[j] == labels[i] and artists[j] == artists[i])
        ]
        if positives:
            below = sum(np.exp(units[i] @ units[j] / TEMPERATURE) for j in compared)
            logs = [units[i] @ units[j] / TEMPERATURE - np.log(below) for j in positives]
            total -= weights[i] * sum(logs) / len(positives)
    return total


def contrastive(units, labels, artists, anchors=None, weights=WEIGHTS):
    import tensorflow as tf

    rows = np.arange(len(units)) if anchors is None else np.asarray(anchors)
    about = tuple(map(tf.constant, (labels, artists, np.arange(len(units)))))
    everyone = tf.constant(units, tf.float32)
    return supervised_contrastive(
        tf.gather(everyone, rows),
        tuple(tf.gather(a, rows) for a in about),
        everyone,
        about,
        tf.constant(weights[rows], tf.float32),
    ).numpy()


def test_the_contrastive_loss_is_that_of_a_plain_double_loop():
    for weights in (np.ones(8), WEIGHTS):
        expected = double_loop(UNITS, LABELS, ARTISTS, range(8), weights)
        assert contrastive(UNITS, LABELS, ARTISTS, weights=weights) == pytest.approx(expected, rel=1e-4)


def test_shares_of_workers_add_up_to_the_contrastive_loss_of_the_step():
    shares = [contrastive(UNITS, LABELS, ARTISTS, range(rank, 8, 3)) for rank in range(3)]
    assert sum(shares) == pytest.approx(contrastive(UNITS, LABELS, ARTISTS), rel=1e-5)
    assert shares[1] == pytest.approx(double_loop(UNITS, LABELS, ARTISTS, (1, 4, 7), WEIGHTS), rel=1e-4)


@pytest.mark.parametrize(
    ("labels", "artists"),
    [(np.arange(8), np.arange(8)), (np.zeros(8, int), np.zeros(8, int))],
    ids=["no genre twice", "one artist"],
)
def test_without_positives_there_is_nothing_to_bring_together(labels, artists):
    assert contrastive(UNITS, labels, artists) == 0


def test_songs_of_the_same_artist_are_neither_drawn_nearer_nor_pushed_away():
    import tensorflow as tf

    about = tuple(map(tf.constant, (LABELS, ARTISTS, np.arange(8))))
    everyone = tf.Variable(UNITS, dtype=tf.float32)
    first = tuple(a[:1] for a in about)
    with tf.GradientTape() as tape:
        loss = supervised_contrastive(tf.constant(UNITS[:1], tf.float32), first, everyone, about, tf.ones(1))
    pull = np.abs(tape.gradient(loss, everyone).numpy()).max(axis=1)
    assert pull[1] == 0  # the same artist and genre
    assert (pull[2:] > 0).all()


@pytest.mark.parametrize("labels", [LABELS, np.arange(8), np.zeros(8, int)])
@pytest.mark.parametrize("units", [UNITS, np.tile(UNITS[:1], (8, 1))], ids=["apart", "alike"])
def test_gradients_of_the_contrastive_loss_are_finite(labels, units):
    import tensorflow as tf

    about = tuple(map(tf.constant, (labels, ARTISTS, np.arange(8))))
    embeddings = tf.Variable(units, dtype=tf.float32)
    with tf.GradientTape() as tape:
        loss = supervised_contrastive(embeddings, about, embeddings, about, tf.ones(8))
    assert np.isfinite(tape.gradient(loss, embeddings).numpy()).all()


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_the_loss_of_tested_songs_is_keras_own_summed(output):
    import_keras()
    draw = np.random.default_rng(0)
    p = draw.dirichlet(np.full(5, 2.0), 40).astype(np.float32)
    y = draw.integers(5, size=40).astype(np.int32)
    loss, hits = losses_and_hits(p, y, output)
    assert loss == pytest.approx(keras_loss(p, y, output), rel=1e-5)
    assert hits == (p.argmax(axis=1) == y).sum()
    each = [losses_and_hits(p[i : i + 1], y[i : i + 1], output)[0] for i in range(40)]
    assert sum(each) == pytest.approx(loss)
    weights = draw.uniform(0.1, 3, 40)
    weighted, same_hits = losses_and_hits(p, y, output, weights)
    assert weighted == pytest.approx(keras_loss(p, y, output, weights.astype(np.float32)), rel=1e-5)
    assert weighted == pytest.approx(weights @ each, rel=1e-9)
    assert same_hits == hits


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_what_is_wrong_beyond_doubt_costs_what_it_costs_in_keras(output):
    p, y = np.array([[0, 1], [1, 0]], np.float32), np.array([0, 0], np.int32)
    loss, hits = losses_and_hits(p, y, output)
    assert loss == pytest.approx(keras_loss(p, y, output), rel=0.02)  # 1 - 1e-7 is rounded in float32
    assert loss == pytest.approx(-np.log(1e-7), rel=1e-3)
    assert hits == 1


def keras_loss(p, y, output, weights=None):
    return float(cross_entropy(output)(np.eye(p.shape[1], dtype=np.float32)[y], p, sample_weight=weights))
