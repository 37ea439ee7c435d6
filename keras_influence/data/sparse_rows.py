import keras
import numpy as np
import tensorflow as tf


class SparseRows:
    """A sparse matrix of which batches of rows are made dense.

    Args:
        matrix: matrix of `scipy.sparse`, or `tf.sparse.SparseTensor` of rank
            two.
    """

    def __init__(self, matrix):
        self.shape = tuple(map(int, matrix.shape))
        with tf.device("CPU:0"):
            columns, values = _by_row(matrix)
        self._columns, self._values = columns, columns.with_flat_values(values)

    @property
    def values(self) -> np.ndarray:
        """What is not zero, row by row."""
        return self._values.flat_values.numpy()

    def gather(self, rows):
        """These rows as a dense tensor of shape `(n, columns)`.

        Args:
            rows: integer tensor of shape `(n,)`.
        """
        columns = tf.gather(self._columns, rows)
        values = tf.gather(self._values, rows).flat_values
        places = tf.stack([columns.value_rowids(), columns.flat_values], 1)
        shape = tf.stack([columns.nrows(), self.shape[1]])
        dense = tf.scatter_nd(places, values, shape)
        return tf.ensure_shape(dense, [rows.shape[0], self.shape[1]])


def _by_row(matrix):
    """Column numbers, a ragged row each, and all values in that order."""
    if isinstance(matrix, tf.sparse.SparseTensor):
        matrix = tf.sparse.reorder(matrix)
        rows, columns = tf.unstack(matrix.indices, axis=1)
        # Missing in TensorFlow's stubs, as the one below.
        columns = tf.RaggedTensor.from_value_rowids(  # pyright: ignore[reportAttributeAccessIssue]
            columns, rows, nrows=matrix.dense_shape[0]
        )
        return columns, matrix.values
    matrix = matrix.tocsr()
    columns = tf.RaggedTensor.from_row_splits(  # pyright: ignore[reportAttributeAccessIssue]
        matrix.indices.astype("int64"), matrix.indptr.astype("int64")
    )
    return columns, tf.convert_to_tensor(matrix.data)


def to_dense(leaf) -> np.ndarray:
    """All rows of `SparseRows`, or an array as it is."""
    if isinstance(leaf, SparseRows):
        return leaf.gather(tf.range(leaf.shape[0])).numpy()
    return leaf


def gather_examples(nest, rows):
    """The rows of a nest of tensors and `SparseRows`, all dense.

    Args:
        nest: nest with one row an example.
        rows: integer tensor of shape `(n,)`.
    """
    return keras.tree.map_structure(
        lambda leaf: (
            leaf.gather(rows)
            if isinstance(leaf, SparseRows)
            else tf.gather(leaf, rows)
        ),
        nest,
    )
