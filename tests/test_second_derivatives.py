"""What TensorFlow has no second derivative of, or one that is wrong."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_influence as ki
from keras_influence.influence import derivatives
from keras_influence.influence.forward_pass import StatelessNetwork
from keras_influence.second_derivatives import with_second_derivatives
from keras_influence.shared_setting import SharedSetting

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def normalised(normalization):
    return [layers.Dense(4, "tanh"), normalization, layers.Dense(3)]


def resized(*resizing):
    return [
        layers.Reshape((2, 3, 1)),
        layers.Conv2D(2, 2, padding="same", activation="tanh"),
        *resizing,
        layers.Conv2D(2, 3, activation="tanh"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3),
    ]


NETWORKS = {
    "layer_normalization": lambda: normalised(layers.LayerNormalization()),
    "group_normalization": lambda: normalised(layers.GroupNormalization(2)),
    "batch_normalization": lambda: normalised(layers.BatchNormalization()),
    "attention": lambda: [
        layers.Reshape((3, 2)),
        layers.EinsumDense("abc,cd->abd", (3, 4), activation="tanh"),
        layers.LayerNormalization(),
        layers.Flatten(),
        layers.Dense(3),
    ],
    "softsign": lambda: [layers.Dense(4, "softsign"), layers.Dense(3)],
    "nearest": lambda: resized(layers.UpSampling2D((2, 3))),
    "bilinear": lambda: resized(
        layers.UpSampling2D((2, 3), interpolation="bilinear")
    ),
    "resizing": lambda: resized(layers.Resizing(5, 4)),
    "bicubic": lambda: resized(layers.Resizing(4, 5, "bicubic")),
}


def made(name):
    keras.utils.set_random_seed(0)
    # Resizing computes in float32 whatever its inputs are.
    network = keras.Sequential([keras.Input((6,)), *NETWORKS[name]()])
    random = np.random.default_rng(0)
    for variable in network.trainable_variables:
        variable.assign(random.normal(size=variable.shape))
    x = random.normal(size=(8, 6)).astype("float32")
    return network, x, random.integers(0, 3, 8)


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_products_are_those_of_finite_differences(name, eagerly):
    """Of the gradient that TensorFlow's own reverse mode gives."""
    network, x, y = made(name)
    variables = network.trainable_variables
    before = [v.numpy() for v in variables]
    random = np.random.default_rng(1)
    direction = [random.normal(size=v.shape) for v in variables]

    def gradient(share):
        for variable, value, slope in zip(
            variables, before, direction, strict=True
        ):
            variable.assign(value + share * slope)
        with tf.GradientTape() as tape:
            loss = LOSS(y, network(x, training=True))
        found = tape.gradient(loss, [v.value for v in variables])
        return np.concatenate([np.ravel(g) for g in found])

    step = 3e-3
    expected = (gradient(step) - gradient(-step)) / (2 * step)
    gradient(0.0)
    stateless = StatelessNetwork(network, variables, training=True)

    def product():
        vector = [tf.constant(v, "float32") for v in direction]
        return derivatives.hvp(
            lambda parameters: LOSS(y, stateless(parameters, x)),
            stateless.parameters,
            vector,
        )

    found = product() if eagerly else tf.function(product)()
    found = np.concatenate([np.ravel(g) for g in found])
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert error < 5e-3


@pytest.mark.parametrize("name", ["layer_normalization", "bilinear"])
def test_scores_without_curvature_are_products_of_gradients(name):
    network, x, y = made(name)

    def gradients(rows):
        with tf.GradientTape() as tape:
            loss = LOSS(y[rows], network(x[rows]))
        found = tape.gradient(loss, network.trainable_variables)
        return np.concatenate([np.ravel(g) for g in found])

    judges = gradients(range(3))
    expected = [-gradients([i]) @ judges / len(x) for i in range(len(x))]
    scores = ki.influence_scores(
        network,
        (x, y),
        (x[:3], y[:3]),
        loss=LOSS,
        influence=ki.Influence("all", None),
    )
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-5)


def test_an_operation_without_a_second_derivative_is_named():
    x, y = np.ones((4, 2), "float32"), np.arange(4) % 2
    network = keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(4),
            layers.Reshape((2, 2, 1)),
            layers.Lambda(lambda x: tf.nn.dilation2d(*dilated(x))),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    with pytest.raises(ValueError, match=r"none of an operation.*Dilation2D"):
        ki.influence_scores(
            network, (x, y), (x, y), loss=LOSS, influence=ki.Influence("all")
        )


def dilated(x):
    return x, tf.zeros((1, 1, 1)), [1] * 4, "SAME", "NHWC", [1] * 4


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axes", [0, -1, (0, 2), [1]])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_moments_are_those_of_tensorflow(axes, keepdims, dtype):
    x = tf.constant(np.random.default_rng(0).normal(size=(5, 4, 3)), dtype)
    expected = tf.nn.moments(x, axes, keepdims=keepdims)
    with with_second_derivatives():
        found = tf.nn.moments(x, axes, keepdims=keepdims)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (5, 4), (7, 8)])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("method", ["bilinear", "nearest", "lanczos3"])
def test_resizing_is_that_of_tensorflow(size, dtype, method):
    images = np.random.default_rng(0).uniform(0, 255, (2, 5, 4, 3))
    images = images.astype(dtype)
    expected = tf.image.resize(images, size, method)
    with with_second_derivatives():
        found = tf.image.resize(images, size, method)
        smooth = tf.image.resize(images, size, method, antialias=True)
        single = tf.image.resize(images[0], size, method)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(single, expected[0], rtol=1e-5, atol=1e-3)
    theirs = tf.image.resize(images, size, method, antialias=True)
    np.testing.assert_allclose(smooth, theirs, rtol=1e-5, atol=1e-3)


def test_nothing_is_left_behind():
    before = tf.nn.moments, tf.image.resize
    network, x, y = made("batch_normalization")
    influence = ki.Influence("all", "gauss_newton")
    ki.influence_scores(network, (x, y), (x, y), loss=LOSS, influence=influence)
    assert (tf.nn.moments, tf.image.resize) == before


def test_a_setting_is_shared_by_threads():
    values = ["before"]
    setting = SharedSetting(lambda: values[-1], values.append, "within")
    entered, leave = threading.Barrier(2), threading.Event()

    def hold():
        with setting:
            entered.wait()
            leave.wait()

    other = threading.Thread(target=hold)
    other.start()
    entered.wait()
    with setting:
        assert values == ["before", "within"]
    assert values[-1] == "within"
    leave.set()
    other.join()
    assert values == ["before", "within", "before"]
