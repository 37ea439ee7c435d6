import copy

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
        if isinstance(matrix, tf.sparse.SparseTensor):
            matrix = tf.sparse.reorder(matrix)
            rows, columns = tf.unstack(matrix.indices, axis=1)
            ragged = tf.RaggedTensor.from_value_rowids(
                columns, rows, nrows=matrix.dense_shape[0]
            )
            values = matrix.values
        else:
            matrix = matrix.tocsr()
            ragged = tf.RaggedTensor.from_row_splits(
                matrix.indices.astype("int64"), matrix.indptr.astype("int64")
            )
            values = tf.convert_to_tensor(matrix.data)
        self.shape = tuple(map(int, matrix.shape))
        self.dtype = values.dtype
        self._columns, self._values = ragged, ragged.with_flat_values(values)

    @property
    def values(self) -> np.ndarray:
        """What is not zero, row by row."""
        return self._values.flat_values.numpy()

    def take(self, rows) -> "SparseRows":
        """The rows at these places, still sparse."""
        taken = copy.copy(self)
        taken._columns = tf.gather(self._columns, rows)
        taken._values = tf.gather(self._values, rows)
        taken.shape = (rows.shape[0], self.shape[1])
        return taken

    def to_dense(self):
        """All rows as a dense tensor."""
        columns, values = self._columns, self._values.flat_values
        places = tf.stack([columns.value_rowids(), columns.flat_values], 1)
        shape = tf.stack([columns.nrows(), self.shape[1]])
        return tf.ensure_shape(tf.scatter_nd(places, values, shape), self.shape)


def to_dense(leaf):
    """`SparseRows` or anything else as a dense tensor."""
    return leaf.to_dense() if isinstance(leaf, SparseRows) else leaf


def gather_rows(nest, rows):
    """The rows of a nest of tensors and `SparseRows`, all dense.

    Args:
        nest: nest with one row an example.
        rows: integer tensor of shape `(n,)`.
    """
    return keras.tree.map_structure(
        lambda leaf: (
            leaf.take(rows).to_dense()
            if isinstance(leaf, SparseRows)
            else tf.gather(leaf, rows)
        ),
        nest,
    )
