import hypothesis
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
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


def test_draws_that_follow_each_other_share_nothing():
    """Three windows of two, one of which goes over the end, then the rest."""
    validation = ValidationSet((np.zeros((7, 1)), np.arange(7)), 2)
    draws = [validation.draw(number)[1].numpy() for number in range(4)]
    np.testing.assert_array_equal(np.concatenate(draws)[:7], validation.labels)
    assert draws[3][1] == validation.labels[0]


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


X, Y = np.arange(10.0).reshape(5, 2), np.array([0, 1, 1, 0, 1])
FORMS = {
    "frame": (pd.DataFrame(X, index=range(9, 4, -1)), pd.Series(Y)),
    "lists": (X.tolist(), Y.tolist()),
    "list of both": [X, Y],
    "sparse": (scipy.sparse.csr_matrix(X), Y),
    "tensors": (tf.constant(X), tf.constant(Y)),
    "booleans": (X, Y == 1),
    "bytes": (X, Y.astype("uint8")),
    "dataset": tf.data.Dataset.from_tensor_slices((X, Y)),
    "shuffled": tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(1),
    "sparse dataset": tf.data.Dataset.from_tensor_slices(
        (tf.sparse.from_dense(X), Y)
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("draw", [3, 5])
def test_every_form_is_the_same_set(form, draw):
    found = ValidationSet(FORMS[form], draw)
    expected = ValidationSet((X, Y), draw)
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert found.labels.dtype.kind == "i"
    for number in range(2):
        for part, right in zip(
            found.draw(number), expected.draw(number), strict=True
        ):
            np.testing.assert_array_equal(part, right)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((X, np.where(Y, np.nan, 0)), "`y` of `validation_set` must be finite"),
        (({"a": X + np.inf}, Y), r"`x\['a'\]` of `validation_set` must be fin"),
        ((X, Y, Y), r"tuple \(x, y\) .*Received: tuple of 3 parts"),
        ((X, Y.astype(str)), "`y` of `validation_set` must be numbers"),
        ((X, Y[:3]), "as many labels"),
        (FORMS["dataset"].batch(2), "unbatch"),
        (FORMS["dataset"].map(lambda x, y: {"x": x, "y": y}), r"\(x, y\)"),
        (FORMS["dataset"].map(lambda x, y: (x / 0.0, y)), "must be finite"),
    ],
)
def test_what_is_no_validation_set(data, message):
    with pytest.raises(ValueError, match=message) as error:
        ValidationSet(data, 3)
    assert "`validation_set`" in str(error.value)


@pytest.mark.parametrize("draw", [0, -1, 1.5, np.nan])
def test_a_draw_is_of_a_number_of_examples(draw):
    with pytest.raises(ValueError, match="`validation_draw` must be an integ"):
        ValidationSet((X, Y), draw)


def test_labels():
    validation = ValidationSet((np.zeros((5, 1)), np.arange(5)), 2)
    assert sorted(validation.labels) == list(range(5))
