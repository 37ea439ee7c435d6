import hypothesis
import hypothesis.strategies as st
import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_influence.layers import (
    BatchNormalization,
    LayerNormalization,
    Recording,
)
from tests.cases.layers import (
    assert_close,
    check_primitives,
    few_examples,
    randomize,
    record_gradients,
    run_layer_test,
    smooth_loss,
)

parts = st.sampled_from(
    [{}, {"scale": False}, {"center": False}],
)
TRAINING = [
    {},
    {"momentum": 0.5, "scale": False},
    {"axis": 1},
    {"synchronized": True},
    pytest.param(
        {"renorm": True, "renorm_clipping": {"rmax": 1.1, "dmax": 0.1}},
        marks=pytest.mark.skipif(
            not hasattr(keras.layers.BatchNormalization(), "renorm"),
            reason="This version of Keras has no batch renormalization.",
        ),
    ),
]


@few_examples
@hypothesis.given(parts=parts, axis=st.sampled_from([-1, 1, 3]))
def test_batch_normalization_primitives(parts, axis):
    arguments = {**parts, "axis": axis, "dtype": "float64"}
    check_primitives(
        BatchNormalization(**arguments),
        keras.layers.BatchNormalization(**arguments),
        np.random.normal(size=(3, 2, 4, 5)),
    )


@few_examples
@hypothesis.given(
    parts=parts, axis=st.sampled_from([-1, 1, [-1], [1, 2], [-2, -1]])
)
def test_layer_normalization_primitives(parts, axis):
    arguments = {**parts, "axis": axis, "dtype": "float64"}
    check_primitives(
        LayerNormalization(**arguments),
        keras.layers.LayerNormalization(**arguments),
        np.random.normal(size=(3, 4, 5)),
    )


@pytest.mark.parametrize(
    ("kind", "stock"),
    [
        (BatchNormalization, keras.layers.BatchNormalization),
        (LayerNormalization, keras.layers.LayerNormalization),
    ],
)
def test_is_a_normalization(kind, stock, tmp_path):
    inputs = np.random.normal(size=(3, 4, 5)).astype("float32")
    run_layer_test(kind, stock, {"epsilon": 1e-2}, inputs, tmp_path)


def pair(arguments, inputs):
    """A recording and a stock layer with the same random weights."""
    arguments = {**arguments, "dtype": "float64"}
    layer = BatchNormalization(**arguments)
    stock = keras.layers.BatchNormalization(**arguments)
    layer(inputs), stock(inputs)
    randomize(layer)
    stock.set_weights(layer.get_weights())
    return layer, stock


@pytest.mark.parametrize("arguments", TRAINING)
def test_shares_sum_to_the_batch_gradient(arguments):
    inputs = np.random.normal(size=(6, 4, 5))
    weight = np.random.normal(size=inputs.shape)
    layer, stock = pair(arguments, inputs)
    parameters = [v.value for v in stock.trainable_variables]
    with tf.GradientTape() as tape:
        loss = smooth_loss(stock(inputs, training=True), weight)
    expected = tape.gradient(loss, parameters)

    found = record_gradients(layer, inputs, weight, training=True)
    shares = layer.per_example_gradients(*found)
    for ours, theirs in zip(shares, expected, strict=True):
        assert_close(np.sum(ours, axis=0), theirs, 1e-9)
    total = sum(np.sum(v * v) for v in expected)
    assert_close(np.sum(layer.dot(*found, expected)), total, 1e-9)


@pytest.mark.parametrize("arguments", TRAINING)
@pytest.mark.parametrize("compiled", [False, True])
def test_statistics_move_once_as_in_the_stock_layer(arguments, compiled):
    inputs = np.random.normal(size=(6, 4, 5))
    layer, stock = pair(arguments, inputs)

    def step():
        with Recording():
            return layer(inputs, training=True)

    outputs = (tf.function(step) if compiled else step)()
    assert_close(outputs, stock(inputs, training=True), 1e-12)
    for ours, theirs in zip(layer.weights, stock.weights, strict=True):
        assert_close(ours, theirs, 1e-12)


def test_features_ignore_masked_positions():
    inputs = np.random.normal(size=(6, 4, 5))
    mask = np.random.uniform(size=(6, 4)) < 0.7
    layer, _ = pair({"epsilon": 0.0}, inputs)
    with Recording() as recording:
        layer(inputs, training=True, mask=mask)
    kept = inputs[mask]
    expected = (inputs - kept.mean(0)) / kept.std(0)
    assert_close(recording.records[0].inputs, expected, 1e-5)


def test_records_the_normalised_inputs_even_where_gamma_is_zero():
    inputs = np.random.normal(size=(6, 4, 5))
    layer = BatchNormalization(gamma_initializer="zeros", epsilon=0.0)
    with Recording() as recording:
        outputs = layer(inputs, training=True)
    axes = (0, 1)
    expected = (inputs - inputs.mean(axes)) / inputs.std(axes)
    assert_close(recording.records[0].inputs, expected, 1e-5)
    assert recording.records[0].outputs is outputs


def test_costs_nothing_outside_a_recording(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("Features were computed.")

    monkeypatch.setattr(BatchNormalization, "features", fail)
    BatchNormalization()(np.ones((2, 3)), training=True)


def test_frozen_batch_normalization_runs_in_inference_mode():
    inputs = np.random.normal(size=(6, 5))
    layer, stock = pair({"trainable": False}, inputs)
    with Recording() as recording:
        outputs = layer(inputs, training=True)
    assert_close(outputs, stock(inputs, training=False), 1e-12)
    mean, variance = (w.numpy() for w in layer.weights[2:])
    expected = (inputs - mean) / np.sqrt(variance + layer.epsilon)
    assert_close(recording.records[0].inputs, expected, 1e-9)
