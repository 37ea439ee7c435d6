import keras
import numpy as np
import tensorflow as tf


class ValidationSet:
    """`V` of Eq. 6, kept in memory and drawn from on update steps only.

    Args:
        data: tuple `(x, y)` of nests of arrays, or a `tf.data.Dataset` of
            single examples `(x, y)`.
        batch_size: integer, the number of examples of one draw; never more
            than there are.

    Raises:
        ValueError: if the set is empty, not finite, or `x` and `y` differ in
            length.
    """

    def __init__(self, data, batch_size: int):
        if batch_size < 1:
            raise ValueError(
                "Argument `validation_draw` must be an integer >= 1. "
                f"Received: validation_draw={batch_size}"
            )
        if isinstance(data, tf.data.Dataset):
            data = _load(data)
        if not isinstance(data, (tuple, list)) or len(data) != 2:
            raise ValueError(
                "Argument `validation_set` must be a tuple (x, y) or a "
                f"`tf.data.Dataset` of such. Received: {type(data)}"
            )
        data = _plain(data)
        leaves = [np.asarray(leaf) for leaf in keras.tree.flatten(data)]
        sizes = {len(leaf) for leaf in leaves}
        if len(sizes) != 1 or 0 in sizes:
            raise ValueError(
                "Argument `validation_set` must hold at least one example, and "
                "as many labels as inputs. Received arrays of shapes "
                f"{[leaf.shape for leaf in leaves]}"
            )
        for leaf in leaves:
            if leaf.dtype.kind == "f" and not np.isfinite(leaf).all():
                raise ValueError(
                    "Argument `validation_set` must be finite: every weight "
                    "is judged by it. Received an array of shape "
                    f"{leaf.shape} with NaN or infinite values."
                )
        self.size = sizes.pop()
        self.batch_size = min(batch_size, self.size)
        # Shuffled once: a draw is then a window of consecutive examples.
        order = np.random.RandomState(0).permutation(self.size)
        self.data = keras.tree.map_structure(
            lambda leaf: tf.constant(np.asarray(leaf)[order]), tuple(data)
        )

    @property
    def labels(self) -> np.ndarray:
        """All labels, shuffled."""
        return self.data[1].numpy()

    def draw(self, number):
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


def _plain(nest):
    """Without the containers in which Keras tracks a model's attributes."""
    if isinstance(nest, dict):
        return {key: _plain(value) for key, value in nest.items()}
    if isinstance(nest, (list, tuple)):
        return tuple(map(_plain, nest))
    return nest


def _load(dataset):
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            "Argument `validation_set` must be finite. Received a "
            "`tf.data.Dataset` that repeats without end: remove `.repeat()`."
        )
    examples = list(dataset.as_numpy_iterator())
    if not examples:
        raise ValueError(
            "Argument `validation_set` must hold at least one example. "
            f"Received an empty dataset: {dataset}"
        )
    return keras.tree.map_structure(lambda *rows: np.stack(rows), *examples)
