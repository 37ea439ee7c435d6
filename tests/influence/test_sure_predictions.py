"""Networks that have learned their labels by heart, in single precision."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_influence import solvers
from keras_influence.influence.last_layer import (
    LastLayerCurvature,
    LastLayerObjective,
)
from keras_influence.influence.objective import Term
from tests.cases.models import CLASSES, draw

X, Y = draw(12, 0, noise=0.1)


def solution(confidence, dtype, max_dense):
    """`(H + 0.01 λ_max I)⁻¹ b` for logits in multiples of a linear fit."""
    fit = np.linalg.lstsq(
        np.c_[X, np.ones(12)], np.eye(CLASSES)[Y] - 1 / CLASSES, rcond=None
    )[0]
    parameters = [
        tf.constant(confidence * p, dtype) for p in (fit[:-1], fit[-1])
    ]
    weights = tf.fill([12], tf.constant(1 / 12, dtype))

    def loss(z):
        return ops.sparse_categorical_crossentropy(Y, z[:, 0], from_logits=True)

    objective = LastLayerObjective(
        parameters,
        [tf.constant(X[:, None], dtype)],
        [Term(loss, weights, softmax=True)],
    )
    vector = np.random.default_rng(0).normal(size=objective.size)
    solver = solvers.Exact(0.01, "largest_eigenvalue", max_dense=max_dense)
    found = solver.solve(
        LastLayerCurvature(objective), tf.constant(vector, dtype)
    )
    assert solvers.Reason(int(found.reason)) is solvers.Reason.OK
    return found.vector.numpy().astype("float64")


@pytest.mark.parametrize("max_dense", [1, 10**6])
@pytest.mark.parametrize("confidence", [1, 10, 15, 20, 30])
def test_solutions_are_those_of_double_precision(confidence, max_dense):
    expected = solution(confidence, "float64", max_dense=10**6)
    found = solution(confidence, "float32", max_dense)
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert error < 1e-4
