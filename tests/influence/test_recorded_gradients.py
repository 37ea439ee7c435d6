"""Recorded, forward-mode and explicit per-example gradients agree."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_influence as ki
from keras_influence.influence.curvature import OuterProduct
from keras_influence.influence.objective import Objective, Term
from keras_influence.influence.scope import VariablesScope

N = 6


def convolutional():
    layers = ki.layers
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.DepthwiseConv2D(2, activation="tanh"),
            keras.layers.MaxPooling2D(2, padding="same"),
            layers.LayerNormalization(),
            keras.layers.Flatten(),
            layers.Dense(5, activation="tanh"),
            keras.layers.Dropout(0.5),
            layers.Dense(3),
        ]
    )


def tokens():
    layers = ki.layers
    shared = layers.EinsumDense("bth,hk->btk", (None, 4), bias_axes="k")
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(7, 4)(inputs)
    x = shared(keras.ops.tanh(shared(x)))
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.BinaryLogits()(x))


def data(network):
    rng = np.random.default_rng(0)
    shape = (N, *network.input_shape[1:])
    x = rng.normal(size=shape).astype("float32")
    if network.inputs[0].dtype == "int32":
        x = rng.integers(7, size=shape)
    return tf.constant(x), rng.integers(network.output_shape[-1], size=N)


def objective(network, **kwargs):
    for variable in network.variables:
        if not variable.dtype.startswith("float"):
            continue
        noise = keras.random.uniform(variable.shape, 0.1, 0.5, seed=1)
        variable.assign(variable + keras.ops.cast(noise, variable.dtype))
    x, y = data(network)
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction="none"
    )
    weights = tf.linspace(0.1, 1.0, N)
    scope = VariablesScope(network, network.trainable_variables)
    return scope.objective(x, [Term.of_labels(loss, y, weights)], **kwargs)


def explicit(inner):
    """The gradients as rows of a matrix `(N, size)`."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inner.parameters)
        (losses,) = inner.losses(inner.parameters)
    jacobian = tape.jacobian(losses, inner.parameters, experimental_use_pfor=0)
    return np.concatenate([keras.ops.reshape(j, (N, -1)) for j in jacobian], 1)


@pytest.mark.parametrize("build", [convolutional, tokens])
def test_scores_agree(build):
    inner = objective(build())
    vector = np.random.default_rng(1).normal(size=inner.size)
    vector = vector.astype("float32")
    expected = explicit(inner) @ vector
    (recorded,) = inner.directional_derivatives(vector)
    (forward,) = Objective.directional_derivatives(inner, vector)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(forward, expected, atol=1e-5 * scale)
    np.testing.assert_allclose(recorded, expected, atol=1e-5 * scale)
    # The recorded way was really taken.
    assert inner.low_rank() is not None


def test_a_stock_layer_in_scope_needs_forward_mode():
    network = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), ki.layers.Dense(2)]
    )
    inner = objective(network)
    assert inner.low_rank() is None
    vector = np.ones(inner.size, "float32")
    expected = explicit(inner) @ vector
    (found,) = inner.directional_derivatives(vector)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", [convolutional, tokens])
def test_low_rank_is_the_sum_of_outer_products(build):
    inner = objective(build())
    rows = explicit(inner) * np.sqrt(np.linspace(0.1, 1.0, N))[:, None]
    factors = inner.low_rank()
    scale = np.abs(rows @ rows.T).max()
    np.testing.assert_allclose(factors.gram, rows @ rows.T, atol=1e-5 * scale)
    vector = np.random.default_rng(2).normal(size=inner.size)
    expected = rows.T @ (rows @ vector)
    found = factors.matvec(tf.constant(vector, "float32"))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=1e-4 * scale)


@pytest.mark.parametrize("damping", [1.0, 0.1])
@pytest.mark.parametrize("max_dense", [10, 10_000])
def test_woodbury_equals_the_explicit_inverse(damping, max_dense):
    inner = objective(convolutional())
    rows = explicit(inner) * np.sqrt(np.linspace(0.1, 1.0, N))[:, None]
    matrix = rows.T.astype("float64") @ rows + damping * np.eye(inner.size)
    vector = np.random.default_rng(2).normal(size=inner.size)
    expected = np.linalg.solve(matrix, vector)
    operator = OuterProduct(inner)
    solver = ki.solvers.Exact(damping, max_dense=max_dense)
    solution = solver.solve(operator, vector.astype("float32"))
    assert operator.inverse(damping) is not None
    # Fewer examples than parameters: their matrix is never written out.
    assert operator.materialize() is operator
    assert float(solution.residual) < 1e-3
    scale = np.abs(expected).max()
    np.testing.assert_allclose(solution.vector, expected, atol=1e-3 * scale)


def test_weight_decay_counts_beside_outer_products():
    decay = 0.3
    network = keras.Sequential(
        [
            keras.Input((4,)),
            ki.layers.Dense(
                3,
                kernel_regularizer=keras.regularizers.L2(decay),
                bias_regularizer=keras.regularizers.L2(decay),
            ),
        ]
    )
    inner = objective(network)
    rows = explicit(inner) * np.sqrt(np.linspace(0.1, 1.0, N))[:, None]
    expected = rows.T @ rows + 2 * decay * np.eye(inner.size)
    operator = OuterProduct(inner)
    np.testing.assert_allclose(operator.as_matrix(), expected, atol=1e-4)
    assert operator.inverse(0.1) is None


def test_samples_are_unbiased():
    inner = objective(tokens())
    (whole,) = (term.weights.numpy() for term in inner.terms)
    draws = np.stack([inner.sample(i).terms[0].weights for i in range(400)])
    assert set(np.unique(draws / whole)) == {0.0, 2.0}
    # Six standard errors of the mean of 400 coins.
    np.testing.assert_allclose(draws.mean(0) / whole, 1.0, atol=6 / 20)
    np.testing.assert_array_equal(draws[3], inner.sample(3).terms[0].weights)
