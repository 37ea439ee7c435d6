import re
import sys
import types

import keras
import pytest

from applications.own.network import own_network

CLASSES = ["a", "b", "c"]


def head(classes=3, features=4):
    return keras.Sequential(
        [keras.Input((features,)), keras.layers.Dense(classes)]
    )


def test_a_file(tmp_path):
    network = head()
    network.save(tmp_path / "a.keras")
    found = own_network({"name": str(tmp_path / "a.keras")}, (4,), CLASSES)
    assert (found.get_weights()[0] == network.get_weights()[0]).all()


def test_a_function_of_the_users(monkeypatch):
    module = types.ModuleType("mine")
    module.make = lambda input_shape, classes: head(classes, *input_shape)
    module.nothing = lambda input_shape, classes: None
    monkeypatch.setitem(sys.modules, "mine", module)
    found = own_network({"name": "mine:make"}, (5,), CLASSES)
    assert found.output_shape == (None, 3)
    for name, expected in (
        ("mine:mak", "has no 'mak'"),
        ("mine:nothing", "must give a Keras model"),
    ):
        with pytest.raises(ValueError, match=expected):
            own_network({"name": name}, (5,), CLASSES)


def test_one_of_the_ready_ones():
    component = {"name": "mlp", "units": [8]}
    found = own_network(component, (5,), CLASSES)
    assert found.layers[-2].name.startswith("dropout")
    with pytest.raises(ValueError, match="Did you mean mlp"):
        own_network({"name": "mpl"}, (5,), CLASSES)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (lambda: head(classes=2), "a logit for each of the 3 classes"),
        (lambda: head(features=7), "takes inputs of shape (7,), the data"),
    ],
)
def test_a_network_of_another_shape(tmp_path, network, expected):
    network().save(tmp_path / "a.keras")
    with pytest.raises(ValueError, match=re.escape(expected)):
        own_network({"name": str(tmp_path / "a.keras")}, (4,), CLASSES)
