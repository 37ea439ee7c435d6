import numpy as np
import tensorflow as tf

from benchmarks import harness
from benchmarks.memory import peak_growth


def test_growth_is_what_a_call_allocates():
    assert 55 < peak_growth(lambda: np.ones(60 * 2**17)) < 75


def test_growth_does_not_count_what_was_there():
    kept = np.ones(60 * 2**17)
    assert peak_growth(lambda: kept.sum()) < 10


def test_peak_of_tensors_is_what_a_call_allocates():
    def allocate():
        return tf.reduce_sum(tf.ones((15, 2**20)) * tf.ones(()))

    # A free piece of memory up to twice a tensor's size is given whole.
    assert 115 < harness.peak_memory(allocate) < 2 * 120 + 10
