import keras
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tensorflow as tf
from hypothesis import strategies as st

from keras_influence.data import semi_supervised
from tests.cases.properties import property_test
from tests.cases.streams import take

Dataset = tf.data.Dataset
INTEGERS = ["bool", "int8", "int16", "int32", "int64"]
INTEGERS += ["uint8", "uint16", "uint32", "uint64"]
FORMS = {
    "array": np.asarray,
    "list": lambda x: x.tolist(),
    "objects": lambda x: x.astype(object),
    "tensor": tf.constant,
    "frame": lambda x: pd.DataFrame(x, index=range(len(x), 0, -1)),
    "scipy csr": scipy.sparse.csr_matrix,
    "scipy coo array": scipy.sparse.coo_array,
    "sparse tensor": tf.sparse.from_dense,
}


@property_test(
    fast=10,
    rows=st.integers(1, 9),
    columns=st.integers(1, 5),
    form=st.sampled_from(sorted(FORMS)),
    label=st.sampled_from(INTEGERS),
    weighted=st.booleans(),
)
def test_every_form_is_the_same_examples(rows, columns, form, label, weighted):
    """Values, ids, labels and sample weights are those of plain arrays."""
    random = np.random.default_rng(rows)
    x = np.round(random.normal(size=(rows, columns)), 1) * (rows % 3 > 0)
    y = np.arange(rows) % (2 if label == "bool" else 100)
    weight = [np.arange(rows) / 4] * weighted
    given = FORMS[form]
    train = semi_supervised(
        (given(x), y.astype(label), *weight),
        (given(x), y.astype(label)[:, None]),
        batch_size=3,
    )
    plain = semi_supervised((x, y, *weight), (x, y), batch_size=3)
    for batch, expected in zip(take(train, 3), take(plain, 3), strict=True):
        labels = batch["unlabeled"]["label"]
        assert (labels.shape, labels.dtype.name[:3]) == ((21, 1), "int")
        batch["unlabeled"]["label"] = labels[:, 0]
        keras.tree.map_structure(np.testing.assert_array_equal, batch, expected)


def test_sparse_examples_of_a_dataset_are_made_dense():
    x = np.eye(4, dtype="float32")
    dataset = Dataset.from_tensor_slices(tf.sparse.from_dense(x))
    train = semi_supervised((x, np.arange(4)), dataset, batch_size=4)
    for batch in take(train, 2):
        index, views = batch["unlabeled"]["index"], batch["unlabeled"]["views"]
        np.testing.assert_array_equal(views["original"], x[index])


def test_labels_of_datasets_are_wide_and_weights_checked():
    x, y = np.zeros((4, 1)), np.array([0, 1, 2, 3], "uint8")
    train = semi_supervised(
        Dataset.from_tensor_slices((x, y, y)),
        Dataset.from_tensor_slices((x, y > 1)),
    )
    assert train.element_spec["labeled"][1].dtype == "int32"
    assert train.element_spec["unlabeled"]["label"].dtype == "int32"
    assert train.element_spec["labeled"][2].dtype == "float32"
    for weight in (-1.0, np.nan):
        weighted = Dataset.from_tensor_slices((x, y, np.full(4, weight)))
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="not negative"
        ):
            take(semi_supervised(weighted, x), 1)
