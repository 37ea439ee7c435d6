import keras
import tensorflow as tf
from keras import ops

from keras_influence.optimizers.row_optimizer import gather_rows


@keras.saving.register_keras_serializable(package="keras_influence")
class ExampleWeights(keras.layers.Layer):
    """One learned weight for every unlabelled example: `Λ` of the paper.

    Args:
        num_examples: integer, the number of unlabelled examples.
        initial_weight: float, or array of shape `(num_examples,)`: where the
            weights start. Defaults to `1.0`.
        max_weight: float, the upper bound of a weight; the lower is 0.
            `None` for no upper bound. Defaults to `2.0`.

    Example:
    >>> ExampleWeights(3)(np.array([0, 2])).numpy()
    array([1., 1.], dtype=float32)

    Reference: Eq. 4 of "Not All Unlabeled Data are Equal".
    """

    def __init__(
        self, num_examples, initial_weight=1.0, max_weight=2.0, **kwargs
    ):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.num_examples = num_examples
        self.initial_weight = initial_weight
        self.max_weight = max_weight
        self.values = self.add_weight(
            shape=(num_examples,),
            initializer=lambda shape, dtype: ops.broadcast_to(
                ops.cast(initial_weight, dtype), shape
            ),
            trainable=False,
            name="example_weights",
        )
        self.built = True

    @property
    def bounds(self) -> tuple[float, float]:
        """The range of a weight."""
        upper = self.max_weight
        return 0.0, float("inf") if upper is None else upper

    def call(self, index):
        """The weights of the examples with these ids, shape `(n,)`."""
        return gather_rows(self.values.value, index)

    def update(self, optimizer, index, hypergradient):
        """One step of a row optimizer on the rows of these examples.

        Args:
            optimizer: a `keras_influence.optimizers.RowOptimizer`.
            index: integer tensor of shape `(n,)`; an id that occurs twice
                adds both of its gradients.
            hypergradient: tensor of shape `(n,)`.
        """
        optimizer.apply([tf.IndexedSlices(hypergradient, index)], [self.values])

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "num_examples": self.num_examples,
            "initial_weight": self.initial_weight,
            "max_weight": self.max_weight,
        }
