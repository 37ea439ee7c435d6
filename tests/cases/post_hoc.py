"""A small trained model, and its scores with every matrix written out."""

import keras
import numpy as np
import tensorflow as tf

import keras_influence as ki
from tests.cases.influence import (
    explicit_hessian,
    explicit_jacobian,
)

random = np.random.default_rng(0)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def draw(n, features=4, classes=3):
    return random.normal(size=(n, features)), random.integers(0, classes, n)


TRAIN, VALIDATION = draw(11), draw(5)


def network(hidden=False, **arguments):
    layers = [keras.Input((4,), dtype="float64")]
    if hidden:
        layers.append(keras.layers.Dense(2, "tanh", dtype="float64"))
    layers.append(keras.layers.Dense(3, dtype="float64", **arguments))
    return keras.Sequential(layers)


def arguments_of(**arguments):
    influence = ki.Influence(
        arguments.pop("parameters", "last_layer"),
        arguments.pop("curvature", "hessian"),
        solver=arguments.pop("solver", ki.solvers.Exact(0.05)),
        outer=arguments.pop("outer", "loss"),
    )
    return {"loss": LOSS, "influence": influence, **arguments}


def scores(model, train=TRAIN, validation=VALIDATION, **arguments):
    arguments = arguments_of(**arguments)
    return ki.influence_scores(model, train, validation, **arguments)


def explicit_scores(model, curvature, damping=0.05, decay=0.0):
    """Eq. 6 with every matrix written out."""
    return explicit_matrix(model, VALIDATION, curvature, damping, decay).mean(1)


def explicit_matrix(
    model, validation, curvature="hessian", damping=0.05, decay=0.0
):
    """The scores of every training example by every validation example."""
    parameters = [v.numpy() for v in model.trainable_variables]

    def losses(parameters, data):
        x, y = data
        logits, _ = model.stateless_call(parameters, [], x)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)

    def objective(parameters):
        penalty = sum(tf.reduce_sum(p**2) for p in parameters)
        return tf.reduce_mean(losses(parameters, TRAIN)) + decay * penalty

    g = explicit_jacobian(lambda p: losses(p, TRAIN), parameters)
    if curvature == "outer_product":
        matrix = g.T @ g / len(g) + 2 * decay * np.eye(g.shape[1])
    else:
        matrix = explicit_hessian(objective, parameters)
    outer = explicit_jacobian(lambda p: losses(p, validation), parameters)
    v = np.linalg.solve(matrix + damping * np.eye(len(matrix)), outer.T)
    return -g @ v / len(g)
