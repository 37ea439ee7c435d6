"""A network with `tf.function`s of its own is what it is without them."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_influence as ki
from keras_influence.inlined import inlined
from tests.cases.models import LOSS, compiled, data, draw, fit


class Hidden(keras.layers.Dense):
    """A layer of a user."""


class HiddenFunction(Hidden):
    @tf.function
    def call(self, inputs):
        return super().call(inputs)


class HiddenAttribute(Hidden):
    def build(self, input_shape):
        super().build(input_shape)
        self.function = tf.function(super().call)

    def call(self, inputs):
        return self.function(inputs)


class Network(keras.Model):
    def __init__(self, hidden=Hidden):
        super().__init__()
        self.hidden = hidden(5, activation="tanh")
        self.drop = keras.layers.Dropout(0.3, seed=1)
        self.head = keras.layers.Dense(3)

    def call(self, inputs, training=None):
        hidden = self.drop(self.hidden(inputs), training=training)
        return self.head(hidden)


class NetworkFunction(Network):
    @tf.function
    def call(self, inputs, training=None):
        return super().call(inputs, training)


class Branching(Network):
    @tf.function
    def call(self, inputs, training=None):
        if tf.reduce_sum(inputs) > 0:
            inputs = -inputs
        return super().call(inputs, training)


WITH_FUNCTIONS = {
    "layer": lambda: Network(HiddenFunction),
    "attribute": lambda: Network(HiddenAttribute),
    "network": NetworkFunction,
}


def built(make):
    keras.utils.set_random_seed(0)
    network = make()
    network(draw(2, 3)[0])
    # As it was used before, with traces of its own.
    network.compile("sgd", LOSS)
    network.fit(*draw(20, 3), verbose=0)
    network.predict(draw(20, 3)[0], verbose=0)
    return network


@pytest.mark.parametrize("make", WITH_FUNCTIONS.values(), ids=WITH_FUNCTIONS)
@pytest.mark.parametrize(
    "influence",
    [
        ki.Influence(),
        ki.Influence("all", curvature="gauss_newton"),
        ki.Influence("all", curvature="outer_product"),
    ],
    ids=repr,
)
def test_scores_are_the_same(make, influence):
    expected, found = (
        ki.influence_scores(
            *(built(kind), draw(20, 1), draw(9, 2)), influence=influence
        )
        for kind in (Network, make)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert np.ptp(expected) > 0
    assert not tf.config.functions_run_eagerly()


SLOW = pytest.param(True, marks=pytest.mark.slow)


@pytest.mark.parametrize("run_eagerly", [False, SLOW])
@pytest.mark.parametrize("make", WITH_FUNCTIONS.values(), ids=WITH_FUNCTIONS)
def test_training_is_the_same(make, run_eagerly):
    """The teacher has other values than the network; θ is its last layer."""
    weights = []
    for kind in (Network, make):
        model = compiled(
            built(kind),
            unlabeled_loss=ki.losses.MeanTeacher(0.5),
            run_eagerly=run_eagerly,
        )
        fit(model, 3, data(views={"weak": None, "strong": None}))
        weights.append(model.example_weights)
    np.testing.assert_allclose(*weights, rtol=1e-5)
    assert np.ptp(weights[0]) > 0


@pytest.mark.slow
@pytest.mark.parametrize("make", WITH_FUNCTIONS.values(), ids=WITH_FUNCTIONS)
def test_training_through_all_layers_is_the_same(make):
    weights = []
    for kind in (Network, make):
        influence = ki.Influence("all", curvature="gauss_newton")
        model = compiled(built(kind), influence=influence)
        fit(model, 3)
        weights.append(model.example_weights)
    np.testing.assert_allclose(*weights, rtol=1e-5)
    assert np.ptp(weights[0]) > 0


def test_a_branch_on_tensors():
    network = built(Branching)
    with pytest.raises(ValueError, match=r"write `keras.ops.cond`"):
        ki.influence_scores(network, draw(20, 1), draw(9, 2))
    assert not tf.config.functions_run_eagerly()
    network.predict(draw(4, 1)[0], verbose=0)


def test_what_was_set_is_set_again():
    """Also where the threads of several replicas take turns."""
    network, inside, leave = built(NetworkFunction), [], threading.Event()

    def enter():
        with inlined(network):
            inside.append(tf.config.functions_run_eagerly())
            leave.wait()

    threads = [threading.Thread(target=enter) for _ in range(2)]
    for thread in threads:
        thread.start()
    with inlined(network):
        leave.set()
        for thread in threads:
            thread.join()
        assert tf.config.functions_run_eagerly()
    assert inside == [True, True]
    assert not tf.config.functions_run_eagerly()


def test_stock_networks_are_left_alone():
    network = built(Network)
    with inlined(network):
        assert not tf.config.functions_run_eagerly()
