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
    for batch in batches:
        index = np.array([i for i, _ in batch], "int64")
        numbers = np.array([x for _, x in batch], "float32")
        means.add(index, tf.constant(numbers))
        for i, x in batch:
            seen[i] += [x] if np.isfinite(x) else []
    expected = [np.mean([*numbers, 3.0]) for numbers in seen]
    found = means(np.arange(5), tf.fill([5], 3.0))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


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
