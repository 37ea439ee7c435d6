import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_influence.influence import derivatives
from tests.cases.influence import (
    assert_close,
    explicit_hessian,
    explicit_jacobian,
)

random = np.random.default_rng(0)


def network_function(layer, units=3):
    """Per-example losses as a function of a network's parameters."""
    x = random.normal(size=(4, 5, 2))
    model = keras.Sequential(
        [
            keras.Input((5, 2), dtype="float64"),
            layer,
            keras.layers.Flatten(dtype="float64"),
            keras.layers.Dense(units, activation="tanh", dtype="float64"),
        ]
    )
    state = [v.value for v in model.non_trainable_variables]

    def function(parameters):
        outputs, _ = model.stateless_call(parameters, state, x)
        return ops.sum(outputs**2 + outputs, -1)

    primals = [tf.constant(v.numpy()) for v in model.trainable_variables]
    tangents = [tf.constant(random.normal(size=p.shape)) for p in primals]
    return function, primals, tangents


class Reversed(keras.layers.Dense):
    """With a gradient of its own, as networks of domains have it."""

    def call(self, x):
        return reversed_gradient(super().call(x) ** 2)


class Loop(keras.layers.Dense):
    """With a loop, whose gradient has no forward mode."""

    def call(self, x):
        return keras.ops.fori_loop(
            0, 3, lambda _, z: z * keras.ops.tanh(z), super().call(x)
        )


@tf.custom_gradient
def reversed_gradient(x):
    return tf.identity(x), lambda upstream: -0.5 * upstream


LAYERS = {
    "dense": lambda: keras.layers.Dense(3, "gelu", dtype="float64"),
    "conv": lambda: keras.layers.Conv1D(3, 2, dtype="float64"),
    "lstm": lambda: keras.layers.LSTM(3, dtype="float64"),
    "batch_norm": lambda: keras.layers.BatchNormalization(dtype="float64"),
    "silu": lambda: keras.layers.Dense(3, "silu", dtype="float64"),
    "own_gradient": lambda: Reversed(3, dtype="float64"),
    "loop": lambda: Loop(3, dtype="float64"),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("in_graph", [False, True])
def test_jvp_equals_the_explicit_jacobian(name, in_graph):
    function, primals, tangents = network_function(LAYERS[name]())
    jvp = tf.function(derivatives.jvp) if in_graph else derivatives.jvp
    vector = np.concatenate([np.reshape(t, -1) for t in tangents])
    expected = explicit_jacobian(function, primals) @ vector
    assert_close(jvp(function, primals, tangents), expected)


def test_a_graph_of_a_recurrent_layer_has_no_forward_mode(monkeypatch):
    # If it had one, the fallback would need another test.
    function, primals, tangents = network_function(LAYERS["lstm"]())
    fallbacks = []
    double_reverse = derivatives._double_reverse
    monkeypatch.setattr(
        derivatives,
        "_double_reverse",
        lambda *a: fallbacks.append(1) or double_reverse(*a),
    )
    tf.function(derivatives.jvp)(function, primals, tangents)
    assert fallbacks


@pytest.mark.parametrize("name", ["dense", "conv"])
def test_both_modes_agree(name):
    function, primals, tangents = network_function(LAYERS[name]())
    assert_close(
        derivatives._forward_mode(function, primals, tangents),
        derivatives._double_reverse(function, primals, tangents),
    )


def test_hessian_vector_products_and_transposed_products():
    function, primals, tangents = network_function(LAYERS["dense"]())

    def total(parameters):
        return ops.sum(function(parameters))

    vector = np.concatenate([np.reshape(t, -1) for t in tangents])
    product = derivatives.hvp(total, primals, tangents)
    product = np.concatenate([np.reshape(p, -1) for p in product])
    assert_close(product, explicit_hessian(total, primals) @ vector)
    cotangents = random.normal(size=4)
    product = derivatives.vjp(function, primals, tf.constant(cotangents))
    product = np.concatenate([np.reshape(p, -1) for p in product])
    assert_close(product, cotangents @ explicit_jacobian(function, primals))


@pytest.mark.parametrize(
    "mode", [derivatives._forward_mode, derivatives._double_reverse]
)
def test_nests_and_unconnected_outputs(mode):
    primals, tangents = [tf.constant([1.0, 2.0])], [tf.constant([1.0, -1.0])]
    outputs = mode(
        lambda p: {"square": p[0] ** 2, "fixed": [tf.ones(3)]},
        primals,
        tangents,
    )
    np.testing.assert_allclose(outputs["square"], [2.0, -4.0])
    np.testing.assert_allclose(outputs["fixed"][0], np.zeros(3))
    gradient = derivatives.gradient(lambda p: tf.constant(1.0), primals)
    np.testing.assert_allclose(gradient[0], np.zeros(2))
