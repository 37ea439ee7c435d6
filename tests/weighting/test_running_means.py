import hypothesis.strategies as st
import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_influence.weighting.running_means import RunningMeans
from tests.cases.properties import property_test

visit = st.tuples(
    st.integers(0, 4), st.sampled_from([0.0, 0.5, 2.0, 1e3, np.nan, np.inf])
)


@property_test(batches=st.lists(st.lists(visit, max_size=6), max_size=4))
def test_is_the_mean_of_what_was_seen(batches):
    """Repeated ids count as often; what is not finite does not."""
    means, seen = RunningMeans(5), [[] for _ in range(5)]

    def next_weight(i):
        return min(1 + sum(weight for weight, _ in seen[i]) / 4, 10)

    for batch in batches:
        index = np.array([i for i, _ in batch], "int64")
        numbers = np.array([x for _, x in batch], "float32")
        means.add(index, tf.constant(numbers))
        now = [(i, next_weight(i), x) for i, x in batch if np.isfinite(x)]
        for i, weight, x in now:
            seen[i].append((weight, x))
    expected = []
    for i in range(5):
        weights, numbers = zip(*seen[i], (next_weight(i), 3.0), strict=True)
        expected.append(np.average(numbers, weights=weights))
    found = means(np.arange(5), tf.fill([5], 3.0))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_later_numbers_count_more():
    """Each a quarter more than the one before, until ten times the first."""
    means, numbers = RunningMeans(1), np.random.default_rng(0).uniform(size=30)
    for number in numbers:
        means.add(np.array([0]), tf.constant([number], "float32"))
    weights = np.minimum(1.25 ** np.arange(30), 10)
    expected = np.average(numbers, weights=weights)
    np.testing.assert_allclose(means.values, [expected], rtol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_equals_eager(jit_compile):
    eager, compiled = RunningMeans(3), RunningMeans(3)
    add = tf.function(compiled.add, jit_compile=jit_compile)
    for numbers in ([1.0, 2.0, 4.0], [np.nan, 3.0, 0.1]):
        arguments = tf.constant([2, 0, 2]), tf.constant(numbers)
        eager.add(*arguments)
        add(*arguments)
    for a, b in zip(eager.weights, compiled.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_comes_back_from_its_config():
    layer = keras.saving.serialize_keras_object(RunningMeans(7))
    assert keras.saving.deserialize_keras_object(layer).num_examples == 7
