import hypothesis
import hypothesis.strategies as st
import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_influence as ki
from keras_influence.weighting import Examples, ExampleWeights


@hypothesis.settings(max_examples=10, deadline=None)
@hypothesis.given(
    size=st.integers(1, 9),
    places=st.lists(st.integers(0, 99), max_size=5),
    in_graph=st.booleans(),
)
def test_weights_by_id(size, places, in_graph):
    initial = np.linspace(0, 2, size).astype("float32")
    index = np.array(places, "int64") % size
    weights = ExampleWeights(size, initial)
    call = tf.function(weights) if in_graph else weights
    found = call(Examples(tf.constant(index)))
    np.testing.assert_array_equal(found, initial[index])


@pytest.mark.parametrize("index", [[0, 4], [-1, 0]])
@pytest.mark.parametrize("in_graph", [True, False])
def test_ids_outside_the_weights(index, in_graph):
    weights = ExampleWeights(4)
    checked = weights.assert_in_range
    checked = tf.function(checked) if in_graph else checked
    np.testing.assert_array_equal(checked(tf.constant([0, 3])), [0, 3])
    message = "must be from 0 to num_unlabeled - 1 = 3"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        checked(tf.constant(index))


def test_only_touched_rows_move_and_stay_in_bounds():
    weights = ExampleWeights(4, 1.0, max_weight=1.1)
    optimizer = ki.optimizers.MAdam(0.3, bounds=weights.bounds)
    index = tf.constant([2, 0], "int64")
    _, differentiate = weights.differentiable(Examples(index))
    gradients = differentiate(tf.constant([-1.0, 1.0]))
    assert isinstance(gradients[0], tf.IndexedSlices)
    optimizer.apply(gradients, weights.trainable_variables)
    np.testing.assert_allclose(weights.values, [0.7, 1.0, 1.1, 1.0])


@pytest.mark.parametrize("max_weight", [None, 3.0])
def test_serialization(max_weight):
    weights = ExampleWeights(3, 0.5, max_weight)
    copy = ExampleWeights.from_config(weights.get_config())
    np.testing.assert_array_equal(copy.values, weights.values)
    assert copy.bounds == (0.0, np.inf if max_weight is None else max_weight)


def test_weights_are_float32():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        weights = ExampleWeights(3)
        assert weights(Examples(tf.constant([1]))).dtype == "float32"
    finally:
        keras.config.set_dtype_policy("float32")


def test_doubted_below_half_of_the_mean():
    quality = ExampleWeights(4, [0.0, 0.4, 0.5, 1.1]).quality()
    np.testing.assert_allclose(quality, [0, 8 / 13, 2 / 3, 22 / 27])
    unbounded = ExampleWeights(3, [0.0, 1.0, 5.0], max_weight=None)
    np.testing.assert_allclose(unbounded.quality(), [0, 1 / 2, 5 / 6])
    alike = ExampleWeights(3, 0.1)
    np.testing.assert_allclose(alike.quality(), 2 / 3, rtol=1e-6)
    nothing = ExampleWeights(3, 0.0, max_weight=None)
    np.testing.assert_array_equal(nothing.quality(), 0)
