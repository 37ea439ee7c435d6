import keras
import tensorflow as tf

from keras_influence.optimizers.row_optimizer import (
    gather_rows,
    sum_duplicates,
)
from keras_influence.optimizers.t_statistic import (
    hypotenuse,
    t_statistic,
)


@keras.saving.register_keras_serializable(package="keras_influence")
class TStatistics(keras.layers.Layer):
    """How surely the derivatives of every example's weight are not noise.

    With an example's derivatives `g_1 .. g_k` of Eq. 6, `t = Σ g / √Σ g²`:
    about standard normal where the example has no effect, positive where it
    does harm.

    Args:
        num_examples: integer, the number of unlabelled examples.

    Example:

    >>> statistics = TStatistics(3)
    >>> for _ in range(4):
    ...     statistics.add(np.array([0, 2]), tf.constant([0.5, -0.5]))
    >>> statistics(np.array([0, 1, 2])).numpy()
    array([ 2.,  0., -2.], dtype=float32)

    Reference: Eq. 6 of "Not All Unlabeled Data are Equal"; the statistic is
    Student's, about 0.
    """

    def __init__(self, num_examples: int, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.num_examples = num_examples
        self.total, self.norm = (
            self.add_weight(
                shape=(num_examples,),
                initializer="zeros",
                trainable=False,
                name=name,
            )
            for name in ("total", "norm")
        )
        self.built = True

    def add(self, index: tf.Tensor, gradients: tf.Tensor) -> None:
        """Counts one more derivative of the examples with these ids.

        Args:
            index: integer tensor of shape `(n,)`; the derivatives of an id
                that occurs twice add, once.
            gradients: float tensor of shape `(n,)`; 0, NaN and infinity count
                as none.
        """
        gradients = tf.cast(gradients, "float32")
        slices = tf.IndexedSlices(gradients, tf.convert_to_tensor(index))
        rows, sums, places = sum_duplicates(slices)
        g = tf.gather(tf.where(tf.math.is_finite(sums), sums, 0.0), places)
        for table, add in ((self.total, tf.add), (self.norm, hypotenuse)):
            values = add(gather_rows(table.value, rows), g)
            table.value.scatter_update(tf.IndexedSlices(values, rows))

    def call(self, index: tf.Tensor) -> tf.Tensor:
        """`t` of the examples with these ids, shape `(n,)`; at first 0."""
        return t_statistic(
            gather_rows(self.total.value, index),
            gather_rows(self.norm.value, index),
        )

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "num_examples": self.num_examples}
