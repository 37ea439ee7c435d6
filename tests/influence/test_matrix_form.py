"""Layers as matrices, against their own explicit gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_influence import layers
from keras_influence.influence.matrix_form import matrix_forms
from tests.cases.influence import assert_close, few_examples


def einsum(equation, output_shape, bias_axes):
    return layers.EinsumDense(equation, output_shape, bias_axes=bias_axes)


IMAGE = (3, 5, 4, 6)
CASES = [
    (layers.Dense(3), (4, 5), [3 * 6]),
    (layers.Dense(3, use_bias=False), (4, 2, 3, 5), [3 * 5]),
    (layers.BinaryLogits(), (4, 5), [6]),
    (layers.Conv2D(4, (2, 3), strides=2), IMAGE, [4 * 37]),
    (layers.Conv2D(4, 3, padding="same", groups=2), IMAGE, [4 * 28]),
    (layers.Conv2D(4, 2, dilation_rate=2, use_bias=False), IMAGE, [4 * 24]),
    (layers.DepthwiseConv2D(2, depth_multiplier=3), IMAGE, [18 * 5]),
    (einsum("abc,cde->abde", (5, 3, 2), "de"), (4, 5, 6), [42]),
    (einsum("abc,dce->abed", (5, 2, 3), "ed"), (4, 5, 6), [42]),
    (einsum("abcd,cde->abe", (5, 7), "e"), (4, 5, 2, 3), [49]),
    (einsum("abc,cd->ad", 7, "d"), (4, 5, 6), [49]),
    (einsum("agc,gcd->agd", (2, 3), "gd"), (4, 2, 6), [42]),
    # The bias has fewer entries than there are outputs.
    (einsum("abc,cd->abd", (5, 6), "b"), (4, 5, 3), [18, 5]),
    (einsum("abc,cde->abde", (5, 3, 2), "d"), (4, 5, 6), [36, 3]),
    # The bias belongs to the positions, which are as many as the outputs.
    (einsum("abc,cd->adb", (3, 3), "b"), (4, 3, 5), [15, 3]),
    (layers.BatchNormalization(), (4, 3, 5), [5, 5]),
    (layers.LayerNormalization(center=False), (4, 5), [5]),
    (layers.Embedding(6, 2), (4, 5), [12]),
]


def ids(case):
    return f"{type(case).__name__}" if hasattr(case, "name") else None


@pytest.mark.parametrize(("layer", "shape", "sizes"), CASES, ids=ids)
@few_examples
@given(seed=st.integers(0, 2**16))
def test_forms_hold_the_gradients(layer, shape, sizes, seed):
    random = np.random.default_rng(seed)
    x = random.normal(size=shape).astype("float32")
    if isinstance(layer, layers.Embedding):
        x = random.integers(0, 6, shape)
    with layers.Recording() as recording:
        layer(x)
    (record,) = recording.records
    delta = random.normal(size=record.outputs.shape).astype("float32")
    expected = layer.per_example_gradients(record.inputs, tf.constant(delta))
    expected = {
        id(p): g for p, g in zip(layer.parameters, expected, strict=True)
    }
    forms = matrix_forms(layer, layer.trainable_variables)
    found = []
    for form in forms:
        a, ours = form.rows(record.inputs, tf.constant(delta))
        for n in range(len(x)):
            gradient = tf.einsum("tgi,tgo->gio", a[n], ours[n])
            tensors = form.tensors(gradient)
            for p, g in zip(form.parameters, tensors, strict=True):
                assert_close(g, expected[id(p)][n], 1e-5)
        np.testing.assert_array_equal(form.matrix(tensors), gradient)
        found.append(int(tf.size(gradient)))
    assert found == sizes


def test_what_is_frozen_is_left_out():
    layer = layers.Dense(2)
    x = np.ones((3, 4), "float32")
    layer(x)
    kernel, bias = layer.weights
    (form,) = matrix_forms(layer, [kernel])
    assert form.rows(x, layer(x))[0].shape == (3, 1, 1, 4)
    (form,) = matrix_forms(layer, [bias])
    assert form.parameters == [bias]
    assert form.rows(x, layer(x))[0].shape == (3, 1, 2, 1)
    assert matrix_forms(layer, []) == []


def test_open_shapes():
    layer = layers.Dense(2)
    x = np.random.normal(size=(3, 5, 4)).astype("float32")
    layer(x)
    (form,) = matrix_forms(layer, layer.weights)
    spec = tf.TensorSpec((None, None, 4))
    compiled = tf.function(lambda x: form.rows(x, layer(x)), [spec])
    for ours, theirs in zip(compiled(x), form.rows(x, layer(x)), strict=True):
        assert_close(ours, theirs, 1e-6)


def test_half_precision_channels_first():
    # The convolution itself has no kernel for this on a CPU.
    layer = layers.Conv2D(4, 2, data_format="channels_first")
    layer.build((None, 6, 5, 4))
    other = layers.Conv2D(4, 2)
    other.build((None, 5, 4, 6))
    x = np.random.normal(size=(3, 5, 4, 6)).astype("float16")
    delta = np.random.normal(size=(3, 4, 3, 4)).astype("float16")
    (form,), (expected,) = (
        matrix_forms(k, k.trainable_variables) for k in (layer, other)
    )
    first = form.rows(np.moveaxis(x, -1, 1), np.moveaxis(delta, -1, 1))
    for ours, theirs in zip(first, expected.rows(x, delta), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert keras.backend.standardize_dtype(first[0].dtype) == "float16"
