import hypothesis
import hypothesis.strategies as st
import numpy as np
import tensorflow as tf

from keras_influence.models.validation_set import ValidationSet


@hypothesis.settings(max_examples=15, deadline=None)
@hypothesis.given(size=st.integers(1, 12), draw=st.integers(1, 15))
def test_draws_go_round_and_take_every_example_equally_often(size, draw):
    data = np.arange(size)[:, None], np.arange(size)
    validation = ValidationSet(data, draw)
    expected = min(draw, size)
    seen = []
    for number in range(size):
        x, y = validation.draw(tf.constant(number))
        np.testing.assert_array_equal(x[:, 0], y)
        assert len(set(y.numpy())) == expected
        seen.extend(y.numpy())
    counts = np.bincount(seen, minlength=size)
    np.testing.assert_array_equal(counts, expected)


def test_a_late_draw_does_not_overflow():
    validation = ValidationSet((np.zeros((9, 1)), np.arange(9)), 4)
    late = tf.constant(2**31 // 2, "int32")
    assert set(validation.draw(late)[1].numpy()) <= set(range(9))


def test_nests_and_datasets_are_the_same():
    data = {"a": np.arange(5.0), "b": np.zeros((5, 2))}, np.arange(5)
    dataset = tf.data.Dataset.from_tensor_slices(data)
    for ours, theirs in zip(
        tf.nest.flatten(ValidationSet(data, 2).draw(1)),
        tf.nest.flatten(ValidationSet(dataset, 2).draw(1)),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_labels():
    validation = ValidationSet((np.zeros((5, 1)), np.arange(5)), 2)
    assert sorted(validation.labels) == list(range(5))
