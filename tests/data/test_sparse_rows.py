import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import numpy as np
import scipy.sparse
import tensorflow as tf

from keras_influence.data.sparse_rows import (
    SparseRows,
    gather_examples,
    to_dense,
)
from tests.cases.properties import property_test

FORMATS = ["csr_matrix", "csc_matrix", "coo_array", "lil_matrix", "dok_array"]


@property_test(
    matrix=npst.arrays(
        "float32",
        st.tuples(*[st.integers(1, 6)] * 2),
        elements=st.integers(0, 2),
    ),
    kind=st.sampled_from([*FORMATS, "SparseTensor"]),
    data=st.data(),
)
def test_rows_are_those_of_the_dense_matrix(matrix, kind, data):
    sparse = (
        tf.sparse.from_dense(matrix)
        if kind == "SparseTensor"
        else getattr(scipy.sparse, kind)(matrix)
    )
    rows = data.draw(st.lists(st.integers(0, len(matrix) - 1), max_size=5))
    rows = np.array(rows, "int64")
    found = SparseRows(sparse)
    assert found.shape == matrix.shape
    np.testing.assert_array_equal(to_dense(found), matrix)
    both = gather_examples(
        {"sparse": found, "dense": tf.constant(matrix)}, rows
    )
    np.testing.assert_array_equal(both["sparse"], matrix[rows])
    np.testing.assert_array_equal(both["dense"], matrix[rows])
    assert to_dense(matrix) is matrix


def test_entries_of_one_place_add():
    matrix = scipy.sparse.coo_matrix(([1.0, 2.0], ([0, 0], [1, 1])), (2, 3))
    np.testing.assert_array_equal(
        to_dense(SparseRows(matrix)), [[0, 3, 0], [0, 0, 0]]
    )
