import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tensorflow as tf

from keras_influence.data.arrays import (
    as_arrays,
    as_labels,
    as_sample_weight,
)

ROWS = 50
X = np.zeros((ROWS, 2))
BAD = X.copy()
BAD[[7, 31], 1] = np.nan, -np.inf


def spoilt(rows):
    values = np.arange(ROWS).astype(object)
    values[rows] = None
    return values


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (BAD, "`x` of `unlabeled` must be finite.* in rows 7, 31. Drop"),
        (BAD.astype("float16"), "infinity in rows 7, 31"),
        (tf.cast(BAD, "bfloat16"), "infinity in rows 7, 31"),
        (pd.DataFrame(BAD, index=range(ROWS, 0, -1)), "in rows 7, 31"),
        (BAD.tolist(), "in rows 7, 31"),
        (scipy.sparse.csr_matrix(BAD), "Received: NaN or infinity. Drop"),
        ({"a": X, "b": [BAD, X]}, r"`x\['b'\]\[0\]` of `unlabeled` must be f"),
        (spoilt([3, 4]), "a value everywhere. Received: none in rows 3, 4"),
        (pd.DataFrame({"a": [1, pd.NA], "b": 2}), "none in rows 0|1"),
        (np.ma.masked_less(np.arange(3), 2), "masked array"),
        (np.array([1, "a"], object), "numbers or strings. Received: both"),
        ([[1.0], [1.0, 2.0]], "rows of one shape"),
        (pd.Series([np.zeros(1), np.zeros(2)]), "rows of one shape"),
        (pd.date_range("2020", periods=3), "numbers or strings"),
        (tf.ragged.constant([[1], [1, 2]]), "to_tensor"),
        (tf.sparse.from_dense(np.ones((2, 2, 2))), "two dimensions"),
        (3.0, "one row an example"),
        (None, "one row an example"),
    ],
)
def test_what_is_no_array_of_finite_numbers_or_strings(x, message):
    with pytest.raises(ValueError, match=message):
        as_arrays(x, "x", "unlabeled")


@pytest.mark.parametrize("rows", [1, 2**22 - 1, 2**22 + 1, 2**23])
def test_large_arrays_are_looked_at_to_the_end(rows):
    x = np.zeros(rows, "float32")
    as_arrays(x, "x", "unlabeled")
    x[-1] = np.inf
    with pytest.raises(ValueError, match=f"in rows {rows - 1}. Drop"):
        as_arrays(x, "x", "unlabeled")


def test_frames_of_several_types_are_numbers():
    frame = pd.DataFrame({"a": [True, False], "b": [1, 2], "c": [0.5, 1.5]})
    np.testing.assert_array_equal(
        as_arrays(frame, "x", "labeled"), [[1, 1, 0.5], [0, 2, 1.5]]
    )


def test_lists_of_strings_are_texts_and_lists_of_arrays_inputs():
    assert as_arrays(["a", "b"], "x", "labeled").tolist() == ["a", "b"]
    first, second = as_arrays([X, X], "x", "labeled")
    assert first.shape == second.shape == (ROWS, 2)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a", float("nan")], "must have a value everywhere.* in rows 1"),
        (["a", None], "must have a value everywhere.* in rows 1"),
        (["a", 1, True], "both in one array"),
        ([1j, 2.0], "must be real numbers"),
    ],
)
def test_lists_that_are_not_all_of_a_kind(texts, message):
    with pytest.raises(ValueError, match=message):
        as_arrays(texts, "x", "labeled")


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "uint16", "uint64"])
def test_labels_do_not_wrap(dtype):
    largest = 1 if dtype == "bool" else min(np.iinfo(dtype).max, 2**63 - 1)
    labels = as_labels(np.array([0, largest], dtype), "y", "labeled")
    assert labels.tolist() == [0, largest]
    assert labels.dtype in ("int32", "int64")
    with pytest.raises(ValueError, match="`y` of `labeled` must be below"):
        as_labels(np.array([2**63], "uint64"), "y", "labeled")


def test_labels_that_are_no_numbers():
    for y in (["a", "b"], [b"a"], np.array(["a"], object)):
        with pytest.raises(ValueError, match="`y` of `labeled` must be number"):
            as_labels(y, "y", "labeled")


@pytest.mark.parametrize("weights", [[1, 2], [[1.0], [2.0]], [True, True]])
def test_sample_weights(weights):
    found = as_sample_weight(weights, "sample_weight", "labeled")
    np.testing.assert_array_equal(found, np.ravel(weights))
    assert found.dtype.kind == "f"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, -1.0], "must not be negative.* in rows 1"),
        ([1.0, np.nan], "must be finite"),
        (["a", "b"], "array of numbers"),
        ([np.ones(2), np.ones(2)], "array of numbers"),
    ],
)
def test_sample_weights_that_are_none(weights, message):
    with pytest.raises(ValueError, match=f"`sample_weight` of `.* {message}"):
        as_sample_weight(weights, "sample_weight", "labeled")
