import keras
import numpy as np
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

    Raises:
        ValueError: if an argument is outside its range.

    Example:
    >>> ExampleWeights(3)(np.array([0, 2])).numpy()
    array([1., 1.], dtype=float32)

    Reference: Eq. 4 of "Not All Unlabeled Data are Equal".
    """

    def __init__(
        self, num_examples, initial_weight=1.0, max_weight=2.0, **kwargs
    ):
        super().__init__(**{**kwargs, "dtype": "float32"})
        if not isinstance(num_examples, int) or num_examples < 1:
            raise ValueError(
                "Argument `num_unlabeled` must be an integer >= 1. Received: "
                f"num_unlabeled={num_examples!r}"
            )
        upper = np.inf if max_weight is None else max_weight
        weights = np.asarray(initial_weight)
        in_range = np.all((weights >= 0) & (weights <= upper))
        if weights.shape not in ((), (num_examples,)) or not in_range:
            raise ValueError(
                "Argument `initial_weight` must be a float or one for each of "
                f"{num_examples} examples, between 0 and max_weight="
                f"{max_weight}. Received: initial_weight={initial_weight!r}"
            )
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

    def call(self, index, signals=None):
        """The weights of the examples with these ids, shape `(n,)`."""
        return gather_rows(self.values.value, index)

    # What the weights depend on beside the id: nothing.
    signals = ()

    @property
    def learned(self) -> list:
        """The variables that the weight optimizer moves: `Λ`."""
        return [self.values]

    def checked(self, index):
        """The ids themselves, if all are of examples."""
        return checked_ids(index, self.num_examples)

    def gradients(self, index, signals, hypergradient) -> list:
        """`d L(V) / d Λ`, nonzero in the rows of these examples.

        Args:
            index: integer tensor of shape `(n,)`; an id that occurs twice
                adds both of its gradients.
            signals: not used: the weights are free.
            hypergradient: tensor of shape `(n,)`.
        """
        return [tf.IndexedSlices(hypergradient, index)]

    def assign(self, index, weights):
        """Replaces the weights of the examples with these ids."""
        self.values.value.scatter_update(
            tf.IndexedSlices(ops.cast(weights, self.values.dtype), index)
        )

    def load_own_variables(self, store):
        """Loads the weights, of as many examples."""
        # Keras tries several paths and shows the error of the last.
        if "0" not in store or len(store["0"]) != self.num_examples:
            raise ValueError(
                "The saved weights are not of as many examples as this model's "
                f"num_unlabeled={self.num_examples}. Make it with "
                "`num_unlabeled` as it was saved."
            )
        super().load_own_variables(store)

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "num_examples": self.num_examples,
            "initial_weight": self.initial_weight,
            "max_weight": self.max_weight,
        }


def checked_ids(index, num_examples: int | None):
    """The ids themselves, if all are of examples.

    Args:
        index: integer tensor.
        num_examples: integer, or `None` where any id will do.

    Raises:
        tf.errors.InvalidArgumentError: if one is not. Compiled by XLA, it is
            not noticed.
    """
    if num_examples is None:
        return index
    # Unchecked, a GPU reads zeros there without a word.
    check = tf.debugging.Assert(
        ops.all((index >= 0) & (index < num_examples)),
        [
            "Ids of unlabelled examples must be from 0 to num_unlabeled - 1 = "
            f"{num_examples - 1}: make the model with `num_unlabeled` as large "
            "as the data. Received: index=",
            index,
        ],
    )
    with tf.control_dependencies([check]):
        return tf.identity(index)
