import keras
import numpy as np
import pytest
from keras import ops

from keras_influence.layers.affine import Affine


class Scale(Affine):
    """`activation(kernel * x + bias)`, element by element."""

    def __init__(self, bias, activation=None):
        super().__init__()
        self.kernel = self.add_weight(shape=(3,), initializer="ones")
        self.bias = self.add_weight(shape=(3,)) if bias else None
        self.activation = activation
        self.built = True

    def apply_kernel(self, features, kernel):
        return features * kernel


@pytest.mark.parametrize("bias", [False, True])
def test_the_map_is_linear_in_kernel_and_bias(bias):
    layer = Scale(bias)
    assert layer.parameters == [layer.kernel, layer.bias][: 1 + bias]
    x, kernel = np.arange(6.0).reshape(2, 3), np.array([1.0, -2.0, 3.0])
    shift = [np.array([4.0, 5.0, 6.0])] if bias else []
    found = layer.linear(x, kernel, *shift)
    np.testing.assert_allclose(found, x * kernel + sum(shift))
    layer.trainable = False
    assert len(layer.parameters) == 1 + bias


def test_readout_is_the_activation():
    outputs = np.array([-1.0, 2.0], "float32")
    assert Scale(True).readout(outputs) is outputs
    relu = Scale(True, keras.activations.relu)
    np.testing.assert_array_equal(relu.readout(outputs), [0.0, 2.0])


def test_what_a_subclass_must_write():
    with pytest.raises(NotImplementedError):
        Affine().apply_kernel(ops.ones(3), ops.ones(3))
