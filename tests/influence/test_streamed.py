"""Sums over batches against the same objective on all examples at once."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_influence.influence.objective import Objective, Term
from keras_influence.influence.streamed import StreamedObjective
from keras_influence.solvers import DenseOperator
from tests.cases.influence import assert_close

SIZE, BATCHES = 3, 4
random = np.random.default_rng(0)
X = random.normal(size=(4 * BATCHES - 1, SIZE))  # the last batch is smaller
WEIGHTS = random.uniform(0.5, 2.0, len(X))
THETA = tf.constant(random.normal(size=SIZE))
VECTOR = tf.constant(random.normal(size=SIZE))


def objective(batch, share=1 / BATCHES):
    """A loss whose Hessian depends on the example, and some decay."""
    x, weights = batch
    return Objective(
        [THETA],
        lambda parameters: [tf.linalg.matvec(x, parameters[0])[:, None, None]],
        [Term(lambda z: z[:, 0, 0] ** 4 + z[:, 0, 0], weights)],
        lambda parameters: share * keras.ops.sum(parameters[0] ** 2),
    )


def dataset():
    return tf.data.Dataset.from_tensor_slices((X, WEIGHTS)).batch(4)


@pytest.fixture(params=["list", "dataset"])
def streamed(request):
    batches = dataset()
    batches = list(batches) if request.param == "list" else batches
    return StreamedObjective(objective, batches, BATCHES)


@pytest.fixture
def whole():
    return objective((tf.constant(X), tf.constant(WEIGHTS)), share=1)


def test_derivatives_are_sums_over_batches(streamed, whole):
    assert (streamed.size, streamed.dtype) == (whole.size, whole.dtype)
    assert_close(streamed.gradient(), whole.gradient())
    (found,) = streamed.directional_derivatives(VECTOR)
    assert_close(found, whole.directional_derivatives(VECTOR)[0])


@pytest.mark.parametrize("name", ["hessian", "gauss_newton", "outer_product"])
def test_curvatures_are_sums_over_batches(streamed, whole, name):
    ours, theirs = streamed.curvature(name), whole.curvature(name)
    assert_close(ours.matvec(VECTOR), theirs.matvec(VECTOR))
    assert_close(ours.as_matrix(), theirs.as_matrix())


def test_one_batch_stands_for_all(streamed):
    """Averaged over the batches it is the whole operator."""
    operator = streamed.curvature("hessian")
    products = {}
    for number in range(40):
        sample = operator.sample(tf.constant(number))
        products[float(sample.batch[1][0])] = sample.matvec(VECTOR)
    assert len(products) == BATCHES
    mean = sum(products.values()) / BATCHES
    assert_close(mean, operator.matvec(VECTOR))


def test_a_batch_by_its_number(streamed):
    for place in range(BATCHES):
        np.testing.assert_array_equal(
            streamed.batch(place)[1], WEIGHTS[4 * place : 4 * place + 4]
        )


def test_sums_know_the_place_of_the_first_example(streamed):
    def function(part, first, vector):
        counted = tf.cast(first + 1, "float64")
        return [counted * tf.reduce_sum(part.terms[0].weights), vector]

    weighted, vector = streamed.sums(function, VECTOR)
    parts = [WEIGHTS[4 * i : 4 * i + 4].sum() for i in range(BATCHES)]
    assert_close(weighted, np.dot(range(1, 4 * BATCHES, 4), parts))
    assert_close(vector, BATCHES * VECTOR)


class Diagonal(DenseOperator):
    def preconditioner(self, damping):
        return lambda residual: residual / (self.matrix + damping)


class OfMatrix(Objective):
    def curvature(self, name):
        return Diagonal(tf.constant([[2.0]], "float64"))


def test_the_preconditioner_is_the_first_batchs_for_all():
    """`(4·2 + damping)⁻¹` from one of four batches of curvature 2."""
    one = OfMatrix([tf.ones(1, "float64")], None, [])
    streamed = StreamedObjective(lambda batch: one, 4 * [np.zeros(1)], 4)
    precondition = streamed.curvature("hessian").preconditioner(0.5)
    residual = np.ones((1, 1))
    assert_close(precondition(residual), residual / 8.5)


def test_no_preconditioner():
    streamed = StreamedObjective(objective, list(dataset()), BATCHES)
    assert streamed.curvature("hessian").preconditioner(0.1) is None
