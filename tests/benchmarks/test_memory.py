import pathlib
import subprocess
import sys

import numpy as np

from benchmarks.memory import peak_growth

PEAKS = """
import tensorflow as tf
from benchmarks import harness

def allocate():
    return tf.reduce_sum(tf.ones((15, 2**20)) * tf.ones(()))

for _ in range(3):
    peak = harness.peak_memory(allocate)
    assert 115 < peak < 135, peak
"""


def test_growth_is_what_a_call_allocates():
    assert 55 < peak_growth(lambda: np.ones(60 * 2**17)) < 75


def test_growth_does_not_count_what_was_there():
    kept = np.ones(60 * 2**17)
    assert peak_growth(lambda: kept.sum()) < 10


def test_peak_of_tensors_is_what_a_call_allocates():
    """In a process of its own: a free piece twice as large is given whole."""
    subprocess.run(
        [sys.executable, "-c", PEAKS],
        cwd=pathlib.Path(__file__).parents[2],
        check=True,
    )
