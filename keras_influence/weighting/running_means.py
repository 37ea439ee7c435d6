import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.optimizers.row_optimizer import gather_rows

# How much more than the one before a number counts, and the most that one does.
GROWTH = 0.25
MOST = 10.0


@keras.saving.register_keras_serializable(package="keras_influence")
class RunningMeans(keras.layers.Layer):
    """The mean of a number of every example over all steps that saw it.

    The loss of a wrong label falls once the network has learned the label by
    heart; the mean over training remembers that it did so late. The first
    losses are those of a network that knows little: every number counts a
    quarter more than the one before, up to ten times as much as the first.

    Args:
        num_examples: integer, the number of unlabelled examples.

    Example:

    >>> means = RunningMeans(3)
    >>> means.add(np.array([0, 2]), tf.constant([4.0, 1.0]))
    >>> means(np.array([0, 1]), tf.constant([1.75, 2.0])).numpy()
    array([2.75, 2.  ], dtype=float32)

    Reference: Pleiss et al., "Identifying Mislabeled Data using the Area
    Under the Margin Ranking", 2020, for what a trajectory tells.
    """

    def __init__(self, num_examples: int, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.num_examples = num_examples
        self.total, self.count = (
            self.add_weight(
                shape=(num_examples,),
                initializer="zeros",
                trainable=False,
                name=name,
            )
            for name in ("total", "count")
        )
        self.built = True

    @property
    def values(self) -> np.ndarray:
        """Every example's mean, NaN where it was not seen."""
        total, count = map(ops.convert_to_numpy, (self.total, self.count))
        return total / np.where(count > 0, count, np.nan)

    def add(self, index: tf.Tensor, numbers: tf.Tensor) -> None:
        """Counts one more number of the examples with these ids.

        Args:
            index: integer tensor of shape `(n,)`; an id that occurs twice
                counts twice.
            numbers: float tensor of shape `(n,)`; NaN and infinity count as
                none.
        """
        finite = tf.math.is_finite(numbers)
        numbers = tf.where(finite, tf.cast(numbers, "float32"), 0.0)
        count = gather_rows(self.count.value, index)
        weights = tf.where(finite, _next_weight(count), 0.0)
        for table, values in (
            (self.total, weights * numbers),
            (self.count, weights),
        ):
            table.value.scatter_add(tf.IndexedSlices(values, index))

    def call(self, index: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
        """The means, this step's numbers among them, shape `(n,)`."""
        total = gather_rows(self.total.value, index)
        count = gather_rows(self.count.value, index)
        weight = _next_weight(count)
        total += weight * tf.cast(numbers, "float32")
        return total / (count + weight)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "num_examples": self.num_examples}


def _next_weight(count):
    """What a number counts after others that count so much together."""
    return tf.minimum(1 + GROWTH * count, MOST)
