import numpy as np
import pytest
import tensorflow as tf

from keras_influence.optimizers.t_statistic import hypotenuse, t_statistic


def test_t_of_gradients_and_of_none():
    t = t_statistic(tf.constant([6.0, 0.0]), tf.constant([3.0, 0.0]))
    np.testing.assert_allclose(t, [2.0, 0.0])


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_hypotenuse_at_any_scale(scale):
    a, b = np.random.default_rng(0).normal(size=(2, 50)) * scale
    a, b = np.append(a, 0.0), np.append(b, [0.0])
    result = hypotenuse(*map(tf.constant, (a.astype("f"), b.astype("f"))))
    np.testing.assert_allclose(result, np.hypot(a, b), rtol=1e-6)
