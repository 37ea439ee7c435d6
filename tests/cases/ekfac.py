"""Objectives of recording networks in float64, and EK-FAC in numpy."""

import keras
import numpy as np
import scipy.linalg
import tensorflow as tf

from keras_influence import layers
from keras_influence.influence.objective import Term
from keras_influence.influence.scope import VariablesScope

random = np.random.default_rng(0)
SIZE = 9
WEIGHTS = random.uniform(0.5, 2.0, SIZE)
LABELS = np.eye(3)[random.integers(0, 3, SIZE)]


def sequential(shape, *stack):
    """A network whose biases are not zero."""
    network = keras.Sequential([keras.Input(shape, dtype="float64"), *stack])
    for variable in network.trainable_variables:
        variable.assign(random.normal(size=variable.shape))
    return network


def mlp(units=3, **arguments):
    return sequential(
        (4,),
        layers.Dense(5, "tanh", dtype="float64", **arguments),
        layers.Dense(units, dtype="float64", **arguments),
    )


def cross_entropy(z):
    return tf.nn.softmax_cross_entropy_with_logits(LABELS, z[:, 0])


def squared(z):
    return 0.5 * tf.reduce_sum((z[:, 0] - LABELS[:, :1]) ** 2, -1)


def objective(network, x, loss, **arguments):
    """The objective of every variable, each example seen once."""
    term = Term(loss, tf.constant(WEIGHTS), loss is cross_entropy)
    scope = VariablesScope(network, network.trainable_variables)
    return scope.objective(tf.constant(x), [term], **arguments)


def with_ones(a):
    return np.concatenate([a, np.ones_like(a[..., :1])], -1)


def explicit_ekfac(*pairs):
    """The matrix of layers with `a`, `δ` of shape `(n, positions, ...)`."""
    blocks = []
    for a, delta in pairs:
        gradients, bases = np.zeros((SIZE, a.shape[-1], delta.shape[-1])), []
        for x in (a, delta):
            moment = np.zeros(2 * x.shape[-1:])
            for n, weight in enumerate(WEIGHTS):
                for row in x[n]:
                    moment += weight * np.outer(row, row)
            bases.append(np.linalg.eigh(moment)[1])
        for n in range(SIZE):
            for left, right in zip(a[n], delta[n], strict=True):
                gradients[n] += np.outer(left, right)
        projected = bases[0].T @ gradients @ bases[1]
        values = np.sum(WEIGHTS[:, None, None] * projected**2, 0)
        basis = np.kron(*bases)
        blocks.append(basis @ np.diag(values.ravel()) @ basis.T)
    return scipy.linalg.block_diag(*blocks)
