import keras
import numpy as np
import pytest

from applications import networks


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (networks.linear, (2,)),
        (networks.mlp, (8, 8, 1)),
        (networks.mlp, (2,)),
        (networks.convolutional, (8, 8, 1)),
        (networks.convolutional, (28, 28, 3)),
    ],
)
def test_logits_from_a_dense_head(make, shape):
    network = make(shape, classes=7)
    outputs = network(np.ones((3, *shape), "float32"))
    assert outputs.shape == (3, 7)
    assert type(network.layers[-1]) is keras.layers.Dense
    assert network.layers[-1].activation is keras.activations.linear


def test_sizes():
    network = networks.mlp((2,), 3, units=[5, 4])
    assert network.count_params() == (2 * 5 + 5) + (5 * 4 + 4) + (4 * 3 + 3)
    network = networks.linear((2,), 3)
    assert network.count_params() == 2 * 3 + 3
