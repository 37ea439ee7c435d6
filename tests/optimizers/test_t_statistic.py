import numpy as np
import tensorflow as tf

from keras_influence.optimizers.t_statistic import (
    in_units_of_batch,
    t_statistic,
)


def test_units_of_a_batch():
    g = tf.constant([3.0, 0.0, -4.0, np.nan, np.inf])
    unit = np.sqrt((9 + 16) / 2)
    expected = [3 / unit, 0, -4 / unit, 0, 0]
    np.testing.assert_allclose(in_units_of_batch(g), expected, rtol=1e-6)


def test_units_of_a_batch_without_gradients():
    for g in ([], [0.0, 0.0], [np.nan]):
        result = in_units_of_batch(tf.constant(g, tf.float32))
        np.testing.assert_array_equal(result, np.zeros(len(g)))


def test_a_negligible_gradient_is_none():
    """Its square is not a number of float32, and t would be infinite."""
    result = in_units_of_batch(tf.constant([1e30, 1e-10]))
    np.testing.assert_allclose(result, [1.0, 0.0], rtol=0.5)
    assert result[1] == 0


def test_t_of_gradients_and_of_none():
    t = t_statistic(tf.constant([6.0, 0.0]), tf.constant([9.0, 0.0]))
    np.testing.assert_allclose(t, [2.0, 0.0])
