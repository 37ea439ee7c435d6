import hypothesis
import hypothesis.strategies as st
import numpy as np
import tensorflow as tf

from keras_influence.augmentation.switch import switch

BRANCHES = [lambda x, m: x, lambda x, m: x + m[:, None], lambda x, m: x * 2]


@hypothesis.settings(deadline=None, max_examples=30)
@hypothesis.given(choices=st.lists(st.integers(0, 2), max_size=12))
def test_every_row_gets_its_own_branch(choices):
    rows = np.random.default_rng(0).integers(0, 99, (len(choices), 3))
    amounts = np.arange(len(choices))
    expected = [
        (row, row + amount, row * 2)[choice]
        for row, amount, choice in zip(rows, amounts, choices, strict=True)
    ]
    actual = switch(np.array(choices, "int32"), BRANCHES, rows, amounts)
    np.testing.assert_array_equal(actual, np.reshape(expected, (-1, 3)))


def test_a_branch_sees_only_its_rows():
    seen = []

    def spy(x):
        seen.append(x.shape[0])
        return x

    switch(np.array([1, 0, 1, 1]), [spy, spy, spy], np.zeros((4, 2)))
    assert seen == [1, 3, 0]


def test_static_shape_survives_a_graph():
    @tf.function(input_signature=[tf.TensorSpec((None, 5), tf.uint8)])
    def graph(x):
        y = switch(tf.zeros(tf.shape(x)[:1], tf.int32), [lambda x: x], x)
        assert y.shape.as_list() == [None, 5]
        return y

    assert graph(np.zeros((3, 5), "uint8")).shape == (3, 5)
