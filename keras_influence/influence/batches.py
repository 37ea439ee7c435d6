"""Examples of a data set in batches, and what enters the head for them."""

import functools
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_influence.data.checks import check_integer
from keras_influence.data.examples import as_examples
from keras_influence.data.sparse_rows import SparseRows, gather_examples

# Numbers (features and logits) that one step of a solver works on.
CHUNK = 2**22


class Batches:
    """Examples as batches `(x, y)` of tensors, in their order.

    Args:
        name: string, the argument that `data` was given as.
        data: tuple `(x, y)` of arrays, or a `tf.data.Dataset` of single
            examples.
        size: integer, examples in a batch.
        inputs: as of `as_examples`. Defaults to `None`.
    """

    def __init__(self, name: str, data: Any, size: int, inputs: Any = None):
        check_integer("batch_size", size, 1)
        self.name = name
        self.size = size
        if isinstance(data, list):
            data = tuple(data)
        self.data = as_examples(name, data, {2: "(x, y)"}, inputs)
        if isinstance(self.data, tf.data.Dataset):
            self.data = self.data.batch(size)
            if not any(True for _ in self.data.take(1)):
                raise ValueError(
                    f"Argument `{name}` must hold at least one example. "
                    "Received an empty data set."
                )

    def __iter__(self) -> Iterator:
        if isinstance(self.data, tf.data.Dataset):
            return iter(self.data)
        starts = range(0, len(self.data[1]), self.size)
        return (self._slice(start) for start in starts)

    def _slice(self, start):
        def rows(leaf):
            stop = min(start + self.size, leaf.shape[0])
            if isinstance(leaf, SparseRows):
                return leaf.gather(tf.range(start, stop))
            return tf.convert_to_tensor(leaf[start:stop])

        return keras.tree.map_structure(rows, self.data)

    @property
    def count(self) -> int:
        """How many batches there are; below 0 where that is not known."""
        if isinstance(self.data, tf.data.Dataset):
            return int(self.data.cardinality())
        return -(-len(self.data[1]) // self.size)

    @property
    def spec(self) -> Any:
        """The `tf.TensorSpec`s of `x`, of any number of rows."""
        return self._specs[0]

    @property
    def labels(self) -> tf.TensorSpec:
        """The `tf.TensorSpec` of `y`."""
        return self._specs[1]

    @functools.cached_property
    def _specs(self):
        return keras.tree.map_structure(
            lambda leaf: tf.TensorSpec((None, *leaf.shape[1:]), leaf.dtype),
            next(iter(self)),
        )

    def dataset(self) -> tf.data.Dataset:
        """The same batches as a data set."""
        if isinstance(self.data, tf.data.Dataset):
            return self.data
        rows = tf.data.Dataset.range(len(self.data[1])).batch(self.size)
        data = keras.tree.map_structure(
            lambda leaf: (
                leaf if isinstance(leaf, SparseRows) else tf.constant(leaf)
            ),
            self.data,
        )
        return rows.map(lambda rows: gather_examples(data, rows))

    def features(self, run: Callable, head, loss, steps: Iterator) -> list:
        """What enters the head, as a list of few batches `(features, y)`.

        Args:
            run: function from `x` to what enters the head.
            head: the `Head`.
            loss: the `PerExampleLoss` whose labels these are.
            steps: iterator of these batches, which may show progress.
        """
        kernel, labels = head.variables[0], []
        # The system keeps in memory what fits; the file has no name.
        with tempfile.TemporaryFile() as file:
            for x, y in steps:
                features = run(x).numpy()
                _check_finite(self.name, features)
                file.write(features.tobytes())
                labels.append(y.numpy())
            file.flush()
            labels = np.concatenate(labels)
            loss.check_labels(self.name, labels, head.classes)
            shape = len(labels), head.width
            features = np.memmap(file, kernel.dtype, "r", shape=shape)
        rows = max(CHUNK // (head.width + head.classes), 1)
        return [
            (features[i : i + rows], labels[i : i + rows])
            for i in range(0, len(labels), rows)
        ]


def _check_finite(name, features):
    wrong = ~np.isfinite(features).all(-1)
    if wrong.any():
        raise ValueError(
            f"Argument `{name}` must have inputs for which the network is "
            f"finite. Received: {wrong.sum()} examples in one batch whose "
            "features are NaN or infinite"
        )
