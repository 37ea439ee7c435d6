"""Recorded gradients of a network against automatic differentiation."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_influence import layers
from keras_influence.influence.objective import Term
from keras_influence.influence.scope import VariablesScope
from tests.cases.influence import assert_close, explicit_jacobian

random = np.random.default_rng(0)
X = random.normal(size=(8, 4))  # two labelled rows, two views of three
WEIGHTS = np.array([1.0, 2.0]), np.array([0.5, 3.0, 1.5])
KINDS = {"recorded": layers.Dense, "forward mode": keras.layers.Dense}


def stack(rows):
    views = tf.stack(tf.split(rows[2:], 2), 1)
    return [rows[:2, None], views]


def of_views(z):
    return tf.reduce_sum(z[:, 0] ** 2, -1) - tf.reduce_sum(z[:, 1] ** 3, -1)


def objective(kind, regularizer=None):
    """Biases are out of scope where layers share them with nothing."""
    network = keras.Sequential(
        [
            keras.Input((4,), dtype="float64"),
            kind(3, "tanh", dtype="float64"),
            kind(2, dtype="float64", kernel_regularizer=regularizer),
        ]
    )
    scope = VariablesScope(network, network.trainable_variables)
    terms = [
        Term(lambda z: tf.reduce_sum(z[:, 0] ** 2, -1), WEIGHTS[0]),
        Term(of_views, WEIGHTS[1]),
    ]
    return scope.objective(tf.constant(X), terms, stack)


def jacobian_of(found):
    return explicit_jacobian(
        lambda p: tf.concat(found.losses(p), 0), found.parameters
    )


@pytest.mark.parametrize("kind", KINDS)
def test_directional_derivatives(kind):
    found = objective(KINDS[kind])
    vector = random.normal(size=found.size)
    ours = found.directional_derivatives(tf.constant(vector))
    assert [len(part) for part in ours] == [2, 3]
    assert_close(np.concatenate(ours), jacobian_of(found) @ vector)


def test_the_outer_product_of_recorded_gradients():
    found = objective(layers.Dense)
    jacobian, weights = jacobian_of(found), np.concatenate(WEIGHTS)
    vector = random.normal(size=found.size)
    low_rank = found.low_rank()
    root = np.sqrt(weights)[:, None] * jacobian
    assert_close(low_rank.gram, root @ root.T)
    assert_close(low_rank.project(tf.constant(vector)), root @ vector)
    r = np.arange(5.0)
    assert_close(low_rank.expand(tf.constant(r)), r @ root)


def test_stock_layers_record_no_outer_product():
    assert objective(keras.layers.Dense).low_rank() is None
