import keras
import numpy as np
import pytest

from keras_influence.influence import scope
from keras_influence.influence.forward_pass import values


@pytest.fixture
def network():
    inner = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="deep")], name="inner"
    )
    return keras.Sequential(
        [keras.Input((4,)), inner, keras.layers.Dense(2, name="head")]
    )


def test_all_and_named_layers(network):
    deep = network.get_layer("inner").get_layer("deep")
    head = network.get_layer("head")
    assert scope.scope_variables(network, "all") == network.trainable_variables
    for names, layers in (
        (["head"], [head]),
        (["deep"], [deep]),
        (["inner", "deep"], [deep]),
    ):
        expected = [v for layer in layers for v in layer.trainable_variables]
        assert scope.scope_variables(network, names) == expected


def test_missing_names(network):
    with pytest.raises(ValueError, match=r"'body', but the layers are"):
        scope.scope_variables(network, ["head", "body"])


def test_nothing_trainable(network):
    network.get_layer("head").trainable = False
    with pytest.raises(ValueError, match="none is trainable"):
        scope.scope_variables(network, ["head"])


def test_penalty():
    layer = keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.5))
    layer.build((None, 3))
    variables = [layer.kernel, layer.bias]
    penalty = scope.penalty(variables)(values(variables))
    np.testing.assert_allclose(
        penalty, 0.5 * np.sum(layer.kernel.numpy() ** 2), rtol=1e-6
    )
    assert scope.penalty([layer.bias]) is None
