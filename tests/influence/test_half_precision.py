"""Scores of networks that compute in float16."""

import keras
import numpy as np
import pytest

import keras_influence as ki
from tests.cases.models import LOSS

COPIES = 2500


@pytest.fixture(scope="module")
def trained():
    """A network in half precision, what it learned, and its data."""
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 8)).astype("float32")
    y = np.argmax(x[:, :3] + 0.3 * random.normal(size=(40, 3)), -1)
    keras.utils.set_random_seed(3)
    network, half = (
        keras.Sequential(
            [
                keras.Input((8,)),
                keras.layers.Dense(16, "tanh", dtype=policy),
                keras.layers.Dense(
                    3,
                    dtype=policy,
                    kernel_regularizer=keras.regularizers.L2(0.01),
                ),
            ]
        )
        for policy in ("float32", "mixed_float16")
    )
    network.compile(keras.optimizers.Adam(0.01), LOSS)
    network.fit(x, y, epochs=150, verbose=0)
    half.set_weights(network.get_weights())
    return half, (x, y)


@pytest.mark.parametrize("curvature", ["hessian", "gauss_newton", None])
def test_the_size_of_a_data_set_changes_nothing(trained, curvature):
    """The same examples many times have the same mean."""
    network, (x, y) = trained
    many = np.tile(x, (COPIES, 1)), np.tile(y, COPIES)
    solver = ki.solvers.ConjugateGradient(20, damping=1.0)
    if curvature is None:
        solver = ki.solvers.Identity()
    influence = ki.Influence("all", curvature, solver)
    few, by_many, of_many = (
        ki.influence_scores(
            *(network, train, validation),
            loss=LOSS,
            influence=influence,
            batch_size=2000,
            verbose=0,
        )
        for train, validation in (
            ((x, y), (x, y)),
            ((x, y), many),
            (many, (x, y)),
        )
    )
    largest = np.abs(few).max()
    np.testing.assert_allclose(by_many, few, atol=0.01 * largest)
    np.testing.assert_allclose(COPIES * of_many[:40], few, atol=0.01 * largest)
