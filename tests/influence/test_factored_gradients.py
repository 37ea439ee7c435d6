"""Random gradients against the covariance that they must have."""

import numpy as np
import pytest
import tensorflow as tf

from keras_influence.influence.factored_gradients import (
    FactoredGradients,
    eigenvectors,
)
from keras_influence.influence.last_layer import LastLayerObjective
from keras_influence.influence.objective import Term
from tests.cases.ekfac import (
    SIZE,
    WEIGHTS,
    cross_entropy,
    mlp,
    objective,
    random,
    squared,
)

DRAWS = 1000


def draws(function):
    """A tensor of every independent draw."""
    numbers = SIZE * tf.range(DRAWS)
    run = tf.function(
        lambda: tf.map_fn(function, numbers, fn_output_signature="float64"),
        autograph=False,
    )
    return run().numpy()


def saddle(z):
    return z[:, 0, 0] ** 2 - 3 * z[:, 0, 1] ** 2 + z[:, -1, 0] * z[:, 0, 0]


def output_covariance(loss, views, softmax=False):
    """Of the directions at outputs `z`, which it gives too, and these."""
    z = random.normal(size=(SIZE, views, 3))
    head = LastLayerObjective(
        [tf.eye(3, dtype="float64")],
        [tf.constant(z)],
        [Term(loss, tf.constant(WEIGHTS), softmax)],
    )
    delta = draws(lambda i: FactoredGradients(head, i).blocks[0].delta[0])
    delta = delta.reshape(DRAWS, SIZE, -1)
    return np.einsum("dni,dnj->nij", delta, delta) / DRAWS, z, delta


@pytest.mark.parametrize("softmax", [True, False])
def test_covariance_is_the_hessian_of_the_loss(softmax):
    covariance, z, delta = output_covariance(cross_entropy, 1, softmax)
    p = tf.nn.softmax(z[:, 0]).numpy()
    expected = np.stack([np.diag(q) - np.outer(q, q) for q in p])
    np.testing.assert_allclose(covariance, expected, atol=1.5 / DRAWS**0.5)
    # Logits may all grow alike: no direction changes their sum.
    np.testing.assert_allclose(delta.sum(-1), 0, atol=1e-7)


def test_covariance_has_no_negative_part():
    covariance, *_ = output_covariance(saddle, 2)
    hessian = np.zeros((6, 6))
    hessian[0, 0], hessian[1, 1], hessian[0, 3] = 2, -6, 1
    values, vectors = np.linalg.eigh(np.triu(hessian) + np.triu(hessian, 1).T)
    expected = (vectors * values.clip(0)) @ vectors.T
    expected = np.broadcast_to(expected, covariance.shape)
    np.testing.assert_allclose(covariance, expected, atol=15 / DRAWS**0.5)


def test_draws_are_reproducible_and_differ():
    inner = objective(mlp(), random.normal(size=(SIZE, 4)), cross_entropy)
    first, again, other = (
        FactoredGradients(inner, i).blocks[0].delta[0] for i in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


@pytest.mark.parametrize("views", [1, 2])
def test_an_example_keeps_its_draw_in_another_batch(views):
    z = random.normal(size=(SIZE, views, 3))

    def drawn(rows, first):
        head = LastLayerObjective(
            [tf.eye(3, dtype="float64")],
            [tf.constant(rows)],
            [Term(saddle, tf.ones(len(rows), "float64"), False)],
        )
        return FactoredGradients(head, first).blocks[0].delta[0]

    whole = drawn(z, 5)
    np.testing.assert_allclose(drawn(z[2:], 7), whole[2:], rtol=1e-12)


def test_eigenvalues_are_the_diagonal_of_gauss_newton_in_the_basis():
    inner = objective(mlp(), random.normal(size=(SIZE, 4)), cross_entropy)
    bases = [eigenvectors(m) for m in FactoredGradients(inner, 0).moments()]
    values = draws(
        lambda i: tf.concat(
            [
                tf.reshape(block, (-1,))
                for block in FactoredGradients(inner, i).eigenvalues(*bases)
            ],
            0,
        )
    ).mean(0)
    matrix = inner.curvature("gauss_newton").as_matrix().numpy()
    first = np.kron(bases[0][0], bases[1][0])
    last = np.kron(bases[2][0], bases[3][0])
    size = len(first)
    expected = np.concatenate(
        [
            np.diag(first.T @ matrix[:size, :size] @ first),
            np.diag(last.T @ matrix[size:, size:] @ last),
        ]
    )
    atol = 3 * expected.max() / DRAWS**0.5
    np.testing.assert_allclose(values, expected, atol=atol)


def test_what_is_not_finite_has_no_eigenvectors():
    matrices = np.ones((2, 3, 3))
    assert np.isfinite(eigenvectors(matrices)).all()
    matrices[1, 0, 0] = np.inf
    assert np.isnan(eigenvectors(matrices)).all()


def test_one_output_leaves_nothing_to_chance():
    inner = objective(mlp(1), random.normal(size=(SIZE, 4)), squared)
    for number in (0, 1):
        head = FactoredGradients(inner, number).blocks[1]
        np.testing.assert_allclose(np.abs(head.delta[0]), 1, rtol=1e-12)
