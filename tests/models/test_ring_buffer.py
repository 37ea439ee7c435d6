import numpy as np
import pytest
import tensorflow as tf

from keras_influence.models.ring_buffer import RingBuffer


def step(number):
    return {
        "a": np.full((2, 3), number, "float32"),
        "b": [np.array(-number, "int32")],
    }


@pytest.mark.parametrize("pushed", [1, 3, 7])
def test_the_last_steps_and_no_others(pushed):
    buffer = RingBuffer(3)
    for number in range(1, pushed + 1):
        buffer.push(step(number))
    for back in range(3):
        assert bool(buffer.holds(back)) is (back < pushed)
        if back < pushed:
            found, expected = buffer.recent(back), step(pushed - back)
            np.testing.assert_array_equal(found["a"], expected["a"])
            np.testing.assert_array_equal(found["b"][0], expected["b"][0])
            assert found["b"][0].dtype == "int32"


def test_saved_and_loaded():
    buffer, store = RingBuffer(2), {}
    for number in (1, 2, 3):
        buffer.push(step(number))
    buffer.save_own_variables(store)
    loaded = RingBuffer.from_config(buffer.get_config())
    loaded.load_own_variables(store)
    loaded.prepare(step(0))
    for back in (0, 1):
        np.testing.assert_array_equal(
            loaded.recent(back)["a"], buffer.recent(back)["a"]
        )
    assert not loaded.trainable_variables
    assert len(loaded.variables) == 3


@pytest.mark.parametrize("shape", [(3,), (2, 1)])
def test_tensors_of_another_shape_are_refused(shape):
    buffer = RingBuffer(2)
    buffer.push([np.zeros(2)])
    with pytest.raises(ValueError, match="must all be of one size"):
        buffer.push([np.zeros(shape)])


def test_rows_that_only_the_step_counts():
    """As a network of texts gives them."""
    buffer = RingBuffer(2)
    buffer.push([np.zeros(2)])
    push = tf.function(
        lambda rows: buffer.push([rows]),
        input_signature=[tf.TensorSpec((None,), "float64")],
    )
    push(tf.ones(2, "float64"))
    np.testing.assert_array_equal(buffer.recent(0)[0], [1, 1])
