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
