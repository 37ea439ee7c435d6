"""Losses that layers add by themselves, which `H` does not hold."""

import warnings

import keras
import numpy as np
import pytest

import keras_influence as ki
from tests.cases.models import compiled

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
random = np.random.default_rng(0)
DATA = random.normal(size=(20, 4)).astype("float32"), np.arange(20) % 3
L2 = keras.regularizers.L2(0.1)


class Adds(keras.layers.Layer):
    def call(self, x):
        self.add_loss(0.1 * keras.ops.mean(x**2))
        return x


def network(*hidden, **head):
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(5, kernel_regularizer=L2),
            *hidden,
            keras.layers.Dense(3, kernel_regularizer=L2, **head),
        ]
    )


def scores(model, parameters="last_layer", curvature="gauss_newton"):
    influence = ki.Influence(parameters, curvature)
    data = DATA, DATA
    return ki.influence_scores(model, *data, loss=LOSS, influence=influence)


@pytest.mark.parametrize("parameters", ["last_layer", "all"])
def test_losses_of_what_is_in_scope(parameters):
    model = network(activity_regularizer=L2)
    for _ in range(2):  # the second time by the same trace
        with pytest.warns(UserWarning, match="`activity_regularizer`"):
            scores(model, parameters=parameters)


def test_losses_added_before_the_last_layer():
    assert scores(network(Adds())).shape == (20,)
    with pytest.warns(UserWarning, match=r"`add_loss\(\)`"):
        scores(network(Adds()), parameters="all")


@pytest.mark.parametrize("parameters", ["last_layer", "all"])
def test_where_they_do_not_count(parameters):
    scores(network(), parameters=parameters)
    model = network(activity_regularizer=L2)
    scores(model, parameters=parameters, curvature=None)


@pytest.mark.parametrize("parameters", ["last_layer", "all"])
@pytest.mark.parametrize("inner_steps", [1, None])
def test_training(parameters, inner_steps):
    network = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(3, activity_regularizer=L2)]
    )
    influence = ki.Influence(parameters=parameters)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        compiled(network, influence=influence, inner_steps=inner_steps)
    found = [w for w in warned if "losses of their own" in str(w.message)]
    assert len(found) == (1 if inner_steps else 0)
