import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_influence.influence.objective import Objective, Term
from keras_influence.influence.streamed import (
    StreamedObjective,
    StreamedOperator,
)
from tests.cases.influence import (
    assert_close,
    explicit_hessian,
    explicit_jacobian,
)

random = np.random.default_rng(0)
X = random.normal(size=(7, 4))
Y = np.eye(3)[random.integers(0, 3, 7)]
WEIGHTS = random.uniform(size=7)


@pytest.fixture
def model():
    return keras.Sequential(
        [
            keras.Input((4,), dtype="float64"),
            keras.layers.Dense(2, "tanh", dtype="float64"),
            keras.layers.Dense(3, dtype="float64"),
        ]
    )


def decay(parameters):
    return 0.1 * sum(ops.sum(p**4) for p in parameters)


def objective(model, batch=(X, Y, WEIGHTS), penalty=1.0):
    """Cross-entropy of each example seen once; a convex loss."""
    x, y, weights = map(tf.convert_to_tensor, batch)
    term = Term(
        lambda z: -ops.sum(y * ops.log_softmax(z[:, 0]), -1),
        weights,
    )
    return Objective(
        [tf.convert_to_tensor(v.value) for v in model.trainable_variables],
        lambda p: [model.stateless_call(p, [], x)[0][:, None]],
        [term],
        lambda parameters: penalty * decay(parameters),
    )


def explicit(kind, objective):
    parameters = objective.parameters
    hessian = explicit_hessian(objective, parameters)
    if kind == "hessian":
        return hessian
    penalty = explicit_hessian(decay, parameters)
    if kind == "outer_product":
        g = explicit_jacobian(lambda p: objective.losses(p)[0], parameters)
        return g.T @ (WEIGHTS[:, None] * g) + penalty
    z = objective.outputs(parameters)[0]
    jacobian = explicit_jacobian(
        lambda p: tf.reshape(objective.outputs(p)[0], (-1,)), parameters
    )
    p = ops.softmax(z[:, 0]).numpy()
    blocks = np.zeros((21, 21))
    for i, weight in enumerate(WEIGHTS):
        rows = slice(3 * i, 3 * i + 3)
        block = np.diag(p[i]) - np.outer(p[i], p[i])
        blocks[rows, rows] = weight * block
    return jacobian.T @ blocks @ jacobian + penalty


KINDS = ["hessian", "gauss_newton", "outer_product"]


@pytest.mark.parametrize("kind", KINDS)
def test_operators_of_a_deep_network(kind, model):
    inner = objective(model)
    operator = inner.curvature(kind)
    expected = explicit(kind, inner)
    assert operator.size == len(expected)
    assert operator.dtype == "float64"
    assert_close(operator.as_matrix(), expected)
    vector = random.normal(size=len(expected))
    run = tf.function(operator.matvec)
    assert_close(run(tf.constant(vector)), expected @ vector)


def test_gauss_newton_is_not_the_hessian_here(model):
    # Or the test above could not tell them apart.
    inner = objective(model)
    matrices = [explicit(kind, inner) for kind in KINDS[:2]]
    assert np.abs(matrices[0] - matrices[1]).max() > 0.01
    assert np.linalg.eigvalsh(matrices[1]).min() > -1e-12


def test_gradient_and_directional_derivatives(model):
    inner = objective(model)
    expected = explicit_jacobian(lambda p: inner(p)[None], inner.parameters)
    assert_close(inner.gradient(), expected[0])
    g = explicit_jacobian(lambda p: inner.losses(p)[0], inner.parameters)
    vector = random.normal(size=g.shape[1])
    assert_close(
        inner.directional_derivatives(tf.constant(vector))[0], g @ vector
    )


def test_vectors_and_lists_of_tensors(model):
    inner = objective(model)
    vector = tf.range(inner.size, dtype="float64")
    tensors = inner.unflatten(vector)
    assert [t.shape for t in tensors] == [p.shape for p in inner.parameters]
    np.testing.assert_array_equal(inner.flatten(tensors), vector)


@pytest.mark.parametrize("kind", KINDS)
def test_streamed_sums_are_those_of_all_examples(kind, model):
    def of_batch(batch):
        return objective(model, batch, penalty=1 / 3)

    rows = slice(0, 3), slice(3, 6), slice(6, 7)
    batches = [(X[r], Y[r], WEIGHTS[r]) for r in rows]
    streamed = StreamedObjective(of_batch, batches, 3)
    whole = objective(model)
    assert_close(streamed.gradient(), whole.gradient())
    operator = streamed.curvature(kind)
    assert isinstance(operator, StreamedOperator)
    expected = whole.curvature(kind)
    vector = tf.constant(random.normal(size=whole.size))
    assert_close(operator.matvec(vector), expected.matvec(vector))
    assert_close(
        streamed.directional_derivatives(vector)[0],
        whole.directional_derivatives(vector)[0],
    )
    assert operator.preconditioner(0.1) is None
