from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_influence.data.checks import check_integer
from keras_influence.data.examples import as_examples
from keras_influence.data.sparse_rows import to_dense
from keras_influence.influence import outer as outers
from keras_influence.influence.head import Head
from keras_influence.influence.per_example_loss import PerExampleLoss

_FORMS = {2: "(x, y)"}

# Fewer examples are not worth a draw of their own.
LEAST = 4


class ValidationSet:
    """`V` of Eq. 6, kept in memory and drawn from on update steps only.

    Args:
        data: tuple `(x, y)` of nests of arrays, data frames, lists or sparse
            matrices, or a `tf.data.Dataset` of single examples `(x, y)`.
        number: integer, how many examples judge one update; never more than
            there are.
        draws: integer, of how many draws they are, as far as there are enough
            of them. Defaults to `1`.

    Raises:
        ValueError: if the set is empty, not finite, or `x` and `y` differ in
            length.
    """

    def __init__(self, data, number: int, draws: int = 1):
        if isinstance(data, list):
            data = tuple(data)
        if isinstance(data, tf.data.Dataset):
            data = _load(as_examples("validation_set", data, _FORMS))
        if not isinstance(data, tuple) or len(data) != 2:
            raise ValueError(
                "Argument `validation_set` must be a tuple (x, y) or a "
                f"`tf.data.Dataset` of such. Received: {_kind(data)}"
            )
        data = as_examples("validation_set", data, _FORMS)
        self.size = len(data[1])
        self.divide(number, draws)
        # Shuffled once: a draw is then a window of consecutive examples.
        order = np.random.RandomState(0).permutation(self.size)
        self.data = keras.tree.map_structure(
            lambda leaf: tf.constant(to_dense(leaf)[order]), data
        )

    def divide(self, number: int, draws: int = 1) -> None:
        """Sets the size of a draw; the arguments are the constructor's."""
        check_integer("validation_draw", number, 1)
        number = min(number, self.size)
        self.draws = draws if number >= LEAST * draws else 1
        self.batch_size = number // self.draws

    @property
    def labels(self) -> np.ndarray:
        """All labels, shuffled."""
        return self.data[1].numpy()

    def draw(self, number: int | tf.Tensor) -> tuple:
        """The `number`-th window of `batch_size` examples, round and round.

        Args:
            number: integer scalar tensor.

        Returns:
            Tuple `(x, y)`.
        """
        if self.batch_size == self.size:
            return self.data
        start = tf.cast(number, tf.int64) * self.batch_size
        rows = (start + tf.range(self.batch_size, dtype=tf.int64)) % self.size
        return keras.tree.map_structure(
            lambda leaf: tf.gather(leaf, rows), self.data
        )


def check_judges(
    data: ValidationSet | None,
    head: Head | None,
    loss: PerExampleLoss,
    outer: str | Callable,
) -> None:
    """Raises where labels are none of the classes, if these are known.

    Args:
        data: the `ValidationSet`, or `None`.
        head: the network's `Head`, or `None`.
        loss: the labelled loss, a `PerExampleLoss`.
        outer: what it judges by, as of `Influence`.
    """
    if data is not None and head is not None:
        outers.check_labels(outer, "validation_set", data.labels, head.classes)
        loss.check_labels("validation_set", data.labels, head.classes)


def _kind(data):
    count = f" of {len(data)} parts" if isinstance(data, tuple) else ""
    return f"{type(data).__name__}{count}"


def _load(dataset: tf.data.Dataset) -> tuple:
    examples = list(dataset.as_numpy_iterator())
    if not examples:
        raise ValueError(
            "Argument `validation_set` must hold at least one example. "
            f"Received an empty dataset: {dataset}"
        )
    return keras.tree.map_structure(lambda *rows: np.stack(rows), *examples)
