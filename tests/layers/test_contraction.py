import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_influence import layers
from tests.cases.layers import check_primitives


@pytest.mark.parametrize("positions", [1, 2, 3, 5])
def test_gram_matrices_of_pairs_and_of_gradients_are_the_same(positions):
    """`T²(d + o)` against `d·o`: of 2 positions pairs are the cheaper ones."""
    inputs, outputs = 6, 12
    layer, stock = (
        kind(
            "abc,cd->abd",
            output_shape=(positions, outputs),
            bias_axes="d",
            dtype="float64",
        )
        for kind in (layers.EinsumDense, keras.layers.EinsumDense)
    )
    x = np.random.default_rng(0).normal(size=(3, positions, inputs))
    check_primitives(layer, stock, x)
    delta = tf.zeros((3, positions, outputs))
    cheaper = layer._pairs_are_cheaper(tf.constant(x), delta)
    assert cheaper is (positions**2 * (inputs + outputs) <= inputs * outputs)


def test_positions_that_are_not_known_are_not_compared():
    layer = layers.Dense(12)
    layer.build((None, None, 6))

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, 6)),
            tf.TensorSpec((None, None, 12)),
        ]
    )
    def gram(features, delta):
        assert not layer._pairs_are_cheaper(features, delta)
        return layer.gram(features, delta, features, delta)

    random = np.random.default_rng(0)
    a = random.normal(size=(2, 1, 6)).astype("float32")
    delta = random.normal(size=(2, 1, 12)).astype("float32")
    inner = (a[:, 0] @ a[:, 0].T + 1) * (delta[:, 0] @ delta[:, 0].T)
    np.testing.assert_allclose(gram(a, delta), inner, rtol=1e-4)
