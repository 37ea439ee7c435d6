"""An objective of two terms in two parameters, written out."""

import numpy as np
import pytest
import tensorflow as tf

from keras_influence.influence.objective import Objective, Term
from tests.cases.influence import assert_close, explicit_jacobian

random = np.random.default_rng(0)
A, B = random.normal(size=(4, 2)), random.normal(size=(3, 3))
WEIGHTS = np.arange(1.0, 5.0), np.arange(5.0, 8.0)
THETA = [tf.constant(random.normal(size=(2, 1))), tf.constant([1.0, -2.0, 3.0])]
THETA[1] = tf.cast(THETA[1], "float64")


def outputs(parameters):
    kernel, vector = parameters
    return [(A @ kernel)[:, None], tf.linalg.matvec(B, vector)[:, None, None]]


@pytest.fixture
def objective():
    terms = [
        Term(lambda z: z[:, 0, 0] ** 3, tf.constant(WEIGHTS[0], "float32")),
        Term(lambda z: tf.sin(z[:, 0, 0]), tf.constant(WEIGHTS[1])),
    ]
    return Objective(
        THETA, outputs, terms, lambda p: 0.5 * tf.reduce_sum(p[0] ** 2)
    )


def test_value(objective):
    first, second = (t.numpy() for t in THETA)
    value = WEIGHTS[0] @ (A @ first)[:, 0] ** 3
    value += WEIGHTS[1] @ np.sin(B @ second) + 0.5 * np.sum(first**2)
    assert_close(objective(THETA), value)
    objective.regularization = None
    assert_close(objective.penalty(THETA), 0.0)


def test_parameters_are_one_vector(objective):
    assert (objective.size, objective.dtype) == (5, "float64")
    vector = tf.constant(np.arange(5.0))
    kernel, rest = objective.unflatten(vector)
    np.testing.assert_array_equal(kernel, [[0.0], [1.0]])
    np.testing.assert_array_equal(rest, [2.0, 3.0, 4.0])
    np.testing.assert_array_equal(objective.flatten([kernel, rest]), vector)


def test_derivatives(objective):
    jacobian = explicit_jacobian(
        lambda p: tf.concat(objective.losses(p), 0), THETA
    )
    weights = np.concatenate(WEIGHTS)
    gradient = weights @ jacobian
    gradient[:2] += THETA[0].numpy()[:, 0]
    assert_close(objective.gradient(), gradient)
    vector = random.normal(size=5)
    found = objective.directional_derivatives(tf.constant(vector))
    assert [len(part) for part in found] == [4, 3]
    assert_close(np.concatenate(found), jacobian @ vector)


def test_a_sample_is_half_of_the_examples_twice(objective):
    drawn = [
        np.concatenate([t.weights for t in objective.sample(i).terms])
        for i in range(200)
    ]
    factors = np.array(drawn) / np.concatenate(WEIGHTS)
    assert set(np.unique(factors)) == {0.0, 2.0}
    np.testing.assert_allclose(factors.mean(0), 1.0, atol=0.25)
    # The terms are not drawn alike, and the whole stays as it was.
    assert (factors[:, :3] != factors[:, 4:]).any()
    np.testing.assert_array_equal(objective.terms[0].weights, WEIGHTS[0])


def test_a_batch_of_its_own(objective):
    assert objective.one_batch() is objective
    assert objective.low_rank() is None
    seen = objective.sums(lambda o, number, x: [o, number, x], 3)
    assert seen == [objective, 0, 3]


def test_terms_of_labels_see_the_one_view():
    def loss(labels, logits):
        return labels * logits[:, 1]

    labels, logits = np.array([2.0, 3.0]), np.arange(4.0).reshape(2, 1, 2)
    term = Term.of_labels(loss, labels, np.ones(2))
    np.testing.assert_array_equal(term.loss(logits), [2 * 1, 3 * 3])
    assert term.softmax is False
    loss.softmax = True
    assert Term.of_labels(loss, labels, np.ones(2)).softmax is True
