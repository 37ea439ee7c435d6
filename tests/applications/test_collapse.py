import keras
import numpy as np
import pytest
import tensorflow as tf

from applications.collapse import (
    BATCH,
    CollapseWarning,
    largest_share,
    predicted,
)

X = np.linspace(-1, 1, 20, dtype="float32")[:, None]


@pytest.fixture
def network():
    """Gives class 1 to positive inputs, until its bias is moved."""
    layer = keras.layers.Dense(2)
    network = keras.Sequential([keras.Input((1,)), layer])
    layer.kernel.assign([[0.0, 1.0]])
    return network


def callback(network):
    guard = CollapseWarning(X)
    guard.set_model(network)
    return guard


def test_two_epochs_of_one_class_warn(network, capsys):
    guard = callback(network)
    network.layers[-1].bias.assign([5.0, 0.0])
    guard.on_epoch_end(0)
    assert capsys.readouterr().out == ""
    guard.on_epoch_end(1)
    output = capsys.readouterr().out
    assert "epochs 1 and 2 the network gives over 95%" in output
    # Once is enough.
    guard.on_epoch_end(2)
    guard.on_train_end()
    assert capsys.readouterr().out == ""


def test_a_collapse_in_the_last_epoch_warns(network, capsys):
    guard = callback(network)
    guard.on_epoch_end(0)
    network.layers[-1].bias.assign([5.0, 0.0])
    guard.on_epoch_end(1)
    assert capsys.readouterr().out == ""
    guard.on_train_end()
    assert "at the end of training the network" in capsys.readouterr().out


def test_a_network_that_recovers_does_not(network, capsys):
    guard = callback(network)
    for bias in (5.0, 0.0, 5.0, 0.0):
        network.layers[-1].bias.assign([bias, 0.0])
        guard.on_epoch_end(0)
    assert capsys.readouterr().out == ""


def test_most_but_not_all_of_one_class(network, capsys):
    guard = callback(network)
    network.layers[-1].bias.assign([0.85, 0.0])
    assert 0.85 < largest_share(predicted(network, X)) <= 0.95
    for epoch in range(3):
        guard.on_epoch_end(epoch)
    assert capsys.readouterr().out == ""


def test_the_network_inside_a_model_is_watched(network, capsys):
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.network = network

    guard = callback(Model())
    network.layers[-1].bias.assign([5.0, 0.0])
    guard.on_epoch_end(0)
    guard.on_epoch_end(1)
    assert "Warning" in capsys.readouterr().out


def test_predictions_of_nests():
    inputs = {name: keras.Input((1,), name=name) for name in ("a", "b")}
    outputs = keras.layers.Concatenate()([inputs["a"], inputs["b"]])
    network = keras.Model(inputs, outputs)
    classes = predicted(network, {"a": X, "b": -X})
    np.testing.assert_array_equal(classes, (X[:, 0] < 0).astype(int))


def test_predictions_of_many_trace_nothing():
    eager = []

    class Watched(keras.layers.Layer):
        def call(self, x):
            eager.append(tf.executing_eagerly())
            return x

    network = keras.Sequential([Watched(), keras.layers.Dense(3)])
    x = np.random.default_rng(0).normal(size=(2 * BATCH + 9, 2))
    x = x.astype("float32")
    network(x[:1])
    eager.clear()
    classes = predicted(network, x)
    assert eager == [True] * 3
    expected = network.predict(x, verbose=0).argmax(-1)
    np.testing.assert_array_equal(classes, expected)
