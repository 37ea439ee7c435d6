"""The training loss of a batch, in numpy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_influence as ki
from keras_influence.influence.per_example_loss import PerExampleLoss
from keras_influence.models.batch import Batch
from keras_influence.models.training_loss import (
    _labeled_factors,
    training_loss,
)
from keras_influence.weighting import ExampleWeights

random = np.random.default_rng(0)
LOGITS = random.normal(size=(2 + 3 + 3, 4)).astype("float32")
FEATURES = random.normal(size=(2 + 3 + 3, 2)).astype("float32")
Y, INDEX = np.array([1, 3]), np.array([4, 0, 2])
LAMBDA = np.array([0.5, 9.0, 1.5, 9.0, 2.0])
MASK = np.array([1.0, 0.0, 1.0], "float32")


class Loss(ki.losses.UnlabeledLoss):
    def __init__(self, views=None, requires_labels=False):
        self.views = views
        self.requires_labels = requires_labels

    def call(self, logits, labels, step):
        strong = logits["strong"]
        return tf.reduce_sum(strong**2, -1), tf.constant(MASK)

    def __call__(self, logits, labels=None, step=None):
        return self.call(logits, labels, step)


class Seeing(ExampleWeights):
    """Keeps what it was shown."""

    def call(self, examples):
        self.seen = [examples]
        return super().call(examples)


def run(
    views=None,
    sample_weight=None,
    features=FEATURES,
    label=None,
    requires_labels=False,
    ignore_class=None,
):
    batch = Batch(
        x=np.zeros((2, 1)),
        y=Y,
        sample_weight=sample_weight,
        views={"weak": np.zeros((3, 1)), "strong": np.zeros((3, 1))},
        index=INDEX,
        label=label,
    )
    weighting = Seeing(5, LAMBDA, None)
    losses = training_loss(
        batch=batch,
        logits=tf.constant(LOGITS),
        features=None if features is None else tf.constant(features),
        loss=PerExampleLoss(
            keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, ignore_class=ignore_class
            )
        ),
        unlabeled_loss=Loss(views, requires_labels),
        weighting=weighting,
        step=tf.constant(0),
    )
    return losses, weighting.seen[0]


def cross_entropy():
    z = LOGITS[:2]
    return np.log(np.exp(z).sum(-1)) - z[[0, 1], Y]


@pytest.mark.parametrize("sample_weight", [None, np.array([2.0, 0.0])])
def test_parts_and_factors(sample_weight):
    losses, _ = run(sample_weight=sample_weight)
    labeled = 0.5 * (np.ones(2) if sample_weight is None else sample_weight)
    unlabeled = MASK * LAMBDA[INDEX] / 3
    squares = np.sum(LOGITS[5:] ** 2, -1)
    for found, expected in (
        (losses.parts[0], cross_entropy()),
        (losses.parts[1], squares),
        (losses.factors[0], labeled),
        (losses.factors[1], unlabeled),
        (losses.labeled, labeled @ cross_entropy()),
        (losses.unlabeled, unlabeled @ squares),
        (losses.weights, LAMBDA[INDEX]),
        (losses.mask, MASK),
        (losses.logits, LOGITS[:2]),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("views", "rows"),
    [
        (None, slice(2, 5)),  # the data's first
        (("weak", "strong"), slice(2, 5)),
        (("strong", "weak"), slice(5, 8)),
    ],
)
def test_the_view_that_gives_pseudo_labels_is_what_weights_see(views, rows):
    _, seen = run(views)
    np.testing.assert_array_equal(seen.prediction, LOGITS[rows])
    np.testing.assert_array_equal(seen.features, FEATURES[rows])
    np.testing.assert_array_equal(seen.index, INDEX)
    np.testing.assert_array_equal(seen.mask, MASK)
    np.testing.assert_array_equal(seen.logits["weak"], LOGITS[2:5])
    np.testing.assert_allclose(seen.losses, np.sum(LOGITS[5:] ** 2, -1), 1e-6)


def test_features_that_nobody_wants():
    assert run(features=None)[1].features is None


@pytest.mark.parametrize("requires_labels", [True, False])
def test_labels_that_the_loss_asks_for_are_what_weights_see(requires_labels):
    label = np.array([2, 0, 1])
    _, seen = run(label=label, requires_labels=requires_labels)
    if requires_labels:
        np.testing.assert_array_equal(seen.label, label)
    else:
        assert seen.label is None


def test_no_gradient_flows_through_the_weights():
    logits = tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses = training_loss(
            batch=Batch(
                x=np.zeros((2, 1)),
                y=Y,
                sample_weight=None,
                views={"weak": None, "strong": None},
                index=INDEX,
                label=None,
            ),
            logits=logits,
            features=None,
            loss=PerExampleLoss(
                keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            ),
            unlabeled_loss=Loss(),
            weighting=Falling(),
            step=tf.constant(0),
        )
    gradient = tape.gradient(losses.unlabeled, logits)
    factors = losses.weights * MASK / 3
    expected = 2 * LOGITS[5:] * factors[:, None]
    np.testing.assert_allclose(gradient[5:], expected, rtol=1e-5)
    np.testing.assert_array_equal(gradient[:5], 0.0)


class Falling(ki.Weighting):
    signals = ("loss",)

    def call(self, examples):
        return tf.exp(-examples.losses)


@pytest.mark.parametrize("ignore_class", [1, 3, 0])
def test_ignored_labels_do_not_count(ignore_class):
    losses, _ = run(ignore_class=ignore_class)
    stock = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=ignore_class
    )
    np.testing.assert_allclose(losses.labeled, stock(Y, LOGITS[:2]), rtol=1e-6)


@pytest.mark.parametrize("ignore_class", [-1, 255])
def test_annealing_is_over_examples_that_count(ignore_class):
    """As if those that are ignored were not there."""
    draws = np.random.default_rng(1).normal(size=(8, 3))
    logits = tf.constant(3 * draws, "float32")
    y = np.array([0, 1, 2, 0, 1, 2, 0, 1])
    ignored = np.arange(8) % 4 == 0
    given = np.where(ignored, ignore_class, y)
    loss = ki.losses.UDA(annealing="linear", annealing_steps=100)
    sparse = keras.losses.SparseCategoricalCrossentropy
    found = _labeled_factors(
        *(loss, tf.constant(given), logits, 50),
        PerExampleLoss(sparse(from_logits=True, ignore_class=ignore_class)),
    )
    expected = loss.labeled_weights(y[~ignored], logits[~ignored], 50)
    assert 0 < np.count_nonzero(expected) < 6
    np.testing.assert_allclose(found[~ignored], expected, rtol=1e-6)
    np.testing.assert_array_equal(found[ignored], 0)


def test_a_batch_in_which_all_labels_are_ignored():
    loss = PerExampleLoss(
        keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, ignore_class=9
        )
    )
    y, logits = tf.constant([9, 9]), tf.zeros((2, 3))
    factors = _labeled_factors(ki.losses.FixMatch(), y, logits, 0, loss)
    np.testing.assert_array_equal(factors, 0)
