import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_influence as ki
from keras_influence.stateless import stateless_call

X = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")


class WithoutMode(keras.Model):
    """Its `call` does not take `training`, but its layers do."""

    def __init__(self):
        super().__init__()
        self.norm = keras.layers.BatchNormalization()
        self.drop = keras.layers.Dropout(0.5, seed=1)
        self.head = keras.layers.Dense(2)

    def call(self, x):
        return self.head(self.drop(self.norm(x)))


@pytest.fixture
def network():
    network = WithoutMode()
    network(X)
    return network


def test_other_values_and_nothing_moves(network):
    before = [v.numpy() for v in network.variables]
    zeros = [0 * v.numpy() for v in network.trainable_variables]
    rest = network.non_trainable_variables
    for training in (True, False):
        outputs = stateless_call(network, zeros, rest, X, training)
        np.testing.assert_array_equal(outputs, np.zeros((6, 2)))
    now = network.trainable_variables
    one, same = (stateless_call(network, now, rest, X, True) for _ in range(2))
    np.testing.assert_array_equal(one, same)
    for a, b in zip(before, network.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(network(X, training=True), one, rtol=1e-6)


def test_scores_of_such_a_network(network):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    data = X, np.arange(6) % 2
    influence = ki.Influence("all", curvature=None)
    scores = ki.influence_scores(
        network, data, data, loss=loss, influence=influence
    )
    assert np.isfinite(scores).all()
    assert np.ptp(scores) > 0


def test_a_graph_that_was_loaded_holds_its_variables(tmp_path):
    body = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    body.export(tmp_path / "body", verbose=False)
    loaded = keras.layers.TFSMLayer(tmp_path / "body", call_endpoint="serve")
    network = keras.Sequential(
        [keras.Input((3,)), loaded, keras.layers.Dense(2)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    data = X, np.arange(6) % 2
    influence = ki.Influence("all", curvature="gauss_newton")
    arguments = {"loss": loss, "influence": influence}
    with pytest.raises(ValueError, match="`TFSMLayer` is a graph"):
        ki.influence_scores(network, data, data, **arguments)
    loaded.trainable = False
    assert np.ptp(ki.influence_scores(network, data, data, **arguments)) > 0


class Recomputed(keras.layers.Dense):
    """Keeps no activations: its derivatives compute them again."""

    def call(self, inputs):
        return tf.recompute_grad(super().call)(inputs)


@pytest.mark.parametrize("training", [True, False])
def test_derivatives_that_would_be_lost(training):
    network = keras.Sequential(
        [keras.Input((3,)), Recomputed(4, name="lost"), keras.layers.Dense(2)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    data = X, np.arange(6) % 2
    influence = ki.Influence("all", curvature="gauss_newton")
    if training:
        model = ki.InfluenceModel(network, 6)
        train = functools.partial(
            model.compile,
            *("sgd", loss, ki.losses.GivenLabels()),
            influence=influence,
            validation_set=data,
        )
    else:
        train = functools.partial(
            ki.influence_scores,
            *(network, data, data),
            loss=loss,
            influence=influence,
        )
    with pytest.raises(ValueError, match=r"'.*lost/kernel' is in such a func"):
        train()


def test_variables_that_nothing_uses_are_not_lost():
    class Idle(keras.layers.Layer):
        def build(self, _):
            self.idle = self.add_weight(name="idle")

        def call(self, inputs):
            return 2 * inputs

    network = keras.Sequential(
        [keras.Input((3,)), Idle(), keras.layers.Dense(2)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    data = X, np.arange(6) % 2
    influence = ki.Influence("all", curvature="gauss_newton")
    scores = ki.influence_scores(
        network, data, data, loss=loss, influence=influence
    )
    assert np.ptp(scores) > 0
