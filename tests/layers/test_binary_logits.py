import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_influence.layers import BinaryLogits
from tests.cases.layers import assert_close, record_gradients


def hessian(head, inputs, labels):
    """Of the mean cross-entropy, in all of the head's parameters."""
    parameters = [v.value for v in head.trainable_variables]
    sizes = [int(np.prod(p.shape)) for p in parameters]
    flat = tf.concat([tf.reshape(p, [-1]) for p in parameters], axis=0)
    with tf.GradientTape() as outer:
        outer.watch(flat)
        with tf.GradientTape() as inner:
            inner.watch(flat)
            kernel, bias = tf.split(flat, sizes)
            kernel = tf.reshape(kernel, parameters[0].shape)
            outputs = inputs @ kernel + bias
            if isinstance(head, BinaryLogits):
                outputs = head.readout(outputs)
            loss = ops.mean(cross_entropy(labels, outputs))
        gradient = inner.gradient(loss, flat)
    return outer.jacobian(gradient, flat).numpy()


def cross_entropy(labels, logits):
    return keras.losses.sparse_categorical_crossentropy(
        labels, logits, from_logits=True
    )


@pytest.fixture
def heads():
    """A binary head and two free logits with the same class differences."""
    inputs = np.random.normal(size=(30, 4))
    free = keras.layers.Dense(2, dtype="float64")
    binary = BinaryLogits(dtype="float64")
    free(inputs), binary(inputs)
    free.bias.assign([0.3, -0.5])
    kernel, bias = free.get_weights()
    halves = [(kernel[:, :1] - kernel[:, 1:]) / 2, (bias[:1] - bias[1:]) / 2]
    binary.set_weights(halves)
    return free, binary, inputs, np.random.randint(2, size=30)


def test_is_two_free_logits_without_their_mean(heads):
    free, binary, inputs, labels = heads
    expected = free(inputs).numpy()
    found = binary(inputs).numpy()
    np.testing.assert_allclose(
        found[:, 0] - found[:, 1], expected[:, 0] - expected[:, 1]
    )
    np.testing.assert_allclose(found.sum(axis=1), 0.0, atol=1e-12)
    np.testing.assert_allclose(
        cross_entropy(labels, found), cross_entropy(labels, expected)
    )


def test_hessian_is_not_singular(heads):
    free, binary, inputs, labels = heads
    of_free = np.linalg.eigvalsh(hessian(free, inputs, labels))
    of_binary = np.linalg.eigvalsh(hessian(binary, inputs, labels))
    assert abs(of_free[:5]).max() < 1e-12
    assert of_binary[0] > 1e-2


def test_records_the_one_logit(heads):
    _, binary, inputs, _ = heads
    weight = np.random.normal(size=(30, 2))
    features, gradients = record_gradients(binary, inputs, weight)
    f = binary(inputs).numpy()[:, 0]
    slope = 1 - np.tanh(f) ** 2
    expected = (weight[:, 0] - weight[:, 1]) * slope
    assert_close(gradients[:, 0], expected, 1e-9)
    kernel, _ = binary.per_example_gradients(features, gradients)
    assert_close(kernel[..., 0], inputs * expected[:, None], 1e-9)


def test_saves_and_loads(tmp_path):
    inputs = np.random.normal(size=(3, 4)).astype("float32")
    model = keras.Sequential([keras.Input((4,)), BinaryLogits(name="head")])
    assert model.output_shape == (None, 2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_close(loaded(inputs), model(inputs), 1e-6)


def test_computes_in_half_precision():
    layer = BinaryLogits(dtype="mixed_float16")
    assert layer(np.ones((3, 4))).dtype == "float16"
    assert layer.kernel.dtype == "float32"


@pytest.mark.parametrize("fixed", [{"activation": "relu"}, {"units": 2}])
def test_refuses_what_is_fixed(fixed):
    with pytest.raises(TypeError, match=next(iter(fixed))):
        BinaryLogits(**fixed)
