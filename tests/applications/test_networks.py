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
        (networks.small_convolutional, (8, 8, 3)),
        (networks.small_convolutional, (64, 64, 3)),
        (networks.bag_of_words, (50,)),
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


def test_small_convolutional_is_as_deep_as_images_are_large():
    for side, expected in ((4, 0), (8, 1), (32, 3), (64, 4)):
        network = networks.small_convolutional((side, side, 3), 5, width=4)
        names = [type(layer).__name__ for layer in network.layers]
        assert names.count("Conv2D") == expected


def test_a_bag_of_words_does_not_see_how_long_a_text_is():
    network = networks.bag_of_words((6,), 2)
    counts = np.array([[1, 0, 2, 0, 0, 1]], "float32")
    short, long = network(counts), network(9 * counts)
    np.testing.assert_allclose(short, long, rtol=1e-5)
