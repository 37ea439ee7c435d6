import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_influence.optimizers import Evidence
from keras_influence.weighting.t_statistics import TStatistics

BATCHES = [
    ([4, 0, 4, 1], [1.0, -2.0, 1.5, 0.5]),
    ([1, 1, 1, 2], [np.nan, 3.0, 1.0, -1.0]),
    ([3, 0, 2, 0], [np.inf, 0.0, 2.0, -1.0]),
]


def test_equals_the_slots_of_evidence():
    """Repeated ids and gradients that are no numbers included."""
    statistics = TStatistics(5)
    variable = keras.Variable(np.ones(5), dtype="float32")
    optimizer = Evidence(bounds=(0.0, 2.0))
    for index, g in BATCHES:
        g, index = tf.constant(g), tf.constant(index)
        statistics.add(index, g)
        optimizer.apply([tf.IndexedSlices(g, index, (5,))], [variable])
    total, norm, _ = optimizer.variables[2:]
    np.testing.assert_array_equal(statistics.total.numpy(), total.numpy())
    np.testing.assert_array_equal(statistics.norm.numpy(), norm.numpy())
    t = statistics(np.arange(5)).numpy()
    assert t[0] < 0 < t[4]
    assert t[3] == 0  # never a finite derivative


@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_equals_eager(jit_compile):
    eager, compiled = TStatistics(5), TStatistics(5)
    add = tf.function(compiled.add, jit_compile=jit_compile)
    for index, g in BATCHES:
        eager.add(np.array(index), tf.constant(g))
        add(tf.constant(index), tf.constant(g))
    np.testing.assert_allclose(
        compiled(np.arange(5)), eager(np.arange(5)), rtol=1e-6
    )
