import numpy as np
import pytest
import tensorflow as tf

from keras_influence.data.examples import as_examples

FORMS = {2: "(x, y)", 3: "(x, y, sample_weight)"}
Dataset = tf.data.Dataset


def dataset(*parts):
    return Dataset.from_tensor_slices(parts)


def test_one_hot_integers_as_wide_as_the_inputs_are_no_batches():
    x, y = np.zeros((20, 4)), np.eye(4, dtype="int64")[np.arange(20) % 4]
    spec = as_examples("labeled", dataset(x, y), FORMS).element_spec
    assert [part.shape for part in spec] == [(4,), (4,)]


@pytest.mark.parametrize("size", [2, 3, 8])
@pytest.mark.parametrize("classes", [2, 10])
def test_batches_of_a_known_size_are_no_examples(size, classes):
    y = np.random.default_rng(0).integers(0, classes, 60)
    batches = dataset(np.zeros((60, 4)), y).batch(size, drop_remainder=True)
    with pytest.raises(ValueError, match=r"Call `.unbatch\(\)`"):
        as_examples("labeled", batches, FORMS)
    unbatched = as_examples("labeled", batches.unbatch(), FORMS)
    assert unbatched.element_spec[0].shape == (4,)


def test_columns_of_labels_and_weights():
    column = np.arange(6)[:, None]
    arrays = as_examples("labeled", (column, column, column), FORMS)
    assert [a.shape for a in arrays] == [(6, 1), (6, 1), (6,)]
    spec = as_examples("labeled", dataset(*arrays[:2], column), FORMS)
    assert [s.shape for s in spec.element_spec] == [(1,), (1,), ()]


def test_what_streams_are_refused():
    x, y = np.zeros((6, 2)), np.zeros(6, "int64")
    ragged = Dataset.from_tensor_slices((tf.ragged.constant([[1], []]), y[:2]))
    for examples, message in (
        (dataset(x, y).repeat(), "`labeled` must be a finite dataset"),
        (ragged, "pad them"),
        (dataset(x, y.astype(str)), "StringLookup"),
        (dataset(x, y).batch(2), "unbatch"),
        (dataset(x).map(lambda x: {"x": x}), r"must be `\(x, y\)` or"),
    ):
        with pytest.raises(ValueError, match=message):
            as_examples("labeled", examples, FORMS)


X, Y = np.arange(6.0).reshape(3, 2), np.array([2, 0, 1], "uint8")


def test_arrays():
    x, y, weight = as_examples("train", (X.tolist(), Y, [1, 0, 2]), FORMS)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    np.testing.assert_array_equal(weight, [1.0, 0.0, 2.0])
    assert y.dtype.kind == "i"
    assert weight.dtype.kind == "f"


def test_datasets_of_single_examples():
    weights = np.array([[1], [0], [2]])
    found = as_examples("train", dataset(X, Y, weights), FORMS)
    assert isinstance(found, tf.data.Dataset)
    for i, (x, y, weight) in enumerate(found):
        np.testing.assert_array_equal(x, X[i])
        assert (int(y), float(weight)) == (Y[i], weights[i, 0])
        assert (y.dtype.is_integer, weight.dtype) == (True, "float32")
        assert y.dtype != "uint8"


def test_sparse_inputs_become_dense():
    found = as_examples("x", dataset(tf.sparse.from_dense(X), Y), FORMS)
    rows = [x.numpy() for x, _ in found]
    np.testing.assert_array_equal(rows, X)


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf])
def test_sample_weights_in_a_dataset(weight):
    weights = np.array([1.0, weight, 1.0])
    found = as_examples("train", dataset(X, Y, weights), FORMS)
    with pytest.raises(tf.errors.InvalidArgumentError, match="not negative"):
        list(found)


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (X, r"`\(x, y\)` or `\(x, y, sample_weight\)`"),
        ((X, Y, Y, Y), r"array of shape \(3, 2\).*array of shape \(3,\)"),
        ((X, Y[:2]), "as many labels as inputs"),
        ((X[:0], Y[:0]), "at least one example"),
        ((X, np.zeros((3, 1, 1), int)), "`y` of"),
        ((X, Y, np.ones((3, 2))), "`sample_weight` of"),
        (dataset(X, Y).repeat(), "repeats without end"),
        (dataset(X, Y).batch(2), "unbatch"),
        (dataset(X), r"`\(x, y\)` or"),
        (dataset(X, Y.astype(str)), "StringLookup"),
        (dataset(X, np.eye(3, dtype=int)[Y][:, None]), "`y` of"),
    ],
)
def test_other_forms(examples, message):
    with pytest.raises(ValueError, match=message) as error:
        as_examples("train", examples, FORMS)
    assert "`train`" in str(error.value)


def test_batches_of_a_known_size_and_one_hot_labels():
    batches = dataset(X, np.array([2, 0, 1])).batch(3, drop_remainder=True)
    with pytest.raises(ValueError, match="unbatch"):
        as_examples("train", batches, FORMS)
    one_hot = dataset(np.ones((4, 3)), np.eye(3, dtype=int)[[0, 1, 2, 0]])
    assert isinstance(as_examples("train", one_hot, FORMS), tf.data.Dataset)
