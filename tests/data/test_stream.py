import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

from keras_influence.data import stream as streams
from keras_influence.data.sparse_rows import SparseRows
from keras_influence.data.stream import stream

N, SIZE = 7, 3
X = np.arange(2.0 * N).reshape(N, 2)


def form(kind):
    if kind == "sparse":
        return SparseRows(scipy.sparse.csr_matrix(X))
    return tf.data.Dataset.from_tensor_slices((X,)) if kind == "dataset" else X


def drawn(kind, steps, start=0, seed=1):
    batches = stream("x", form(kind), SIZE, seed, start, 100).take(steps)
    index, rows = zip(*batches.as_numpy_iterator(), strict=True)
    rows = [keras.tree.flatten(row)[0] for row in rows]
    return np.concatenate(index), np.concatenate(rows)


@pytest.fixture(params=["array", "sparse", "dataset", "many"])
def kind(request, monkeypatch):
    if request.param == "many":
        monkeypatch.setattr(streams, "SHUFFLED_AT_ONCE", 1)
    return request.param


def test_every_epoch_has_every_row_once_under_its_id(kind):
    index, rows = drawn(kind, N)
    np.testing.assert_array_equal(rows, X[index])
    epochs = index.reshape(SIZE, N)
    np.testing.assert_array_equal(np.sort(epochs), [range(N)] * SIZE)
    assert len({tuple(epoch) for epoch in epochs}) == SIZE
    assert index.dtype == "int64"


@pytest.mark.parametrize("start", [2, 5])
def test_a_later_start_goes_on(kind, start):
    whole, rest = drawn(kind, 8)[0], drawn(kind, 8 - start, start)[0]
    np.testing.assert_array_equal(rest, whole[start * SIZE :])


def test_the_seed_decides(kind):
    first, again = drawn(kind, N)[0], drawn(kind, N)[0]
    np.testing.assert_array_equal(first, again)
    assert (drawn(kind, N, seed=2)[0] != first).any()
