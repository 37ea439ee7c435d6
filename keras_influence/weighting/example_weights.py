from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.optimizers import Evidence, RowOptimizer
from keras_influence.optimizers.row_optimizer import gather_rows
from keras_influence.weighting.signals import Examples
from keras_influence.weighting.weighting import Weighting


@keras.saving.register_keras_serializable(package="keras_influence")
class ExampleWeights(Weighting):
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
    >>> ExampleWeights(3)(Examples(np.array([0, 2]))).numpy()
    array([1., 1.], dtype=float32)

    Reference: Eq. 4 of "Not All Unlabeled Data are Equal".
    """

    def __init__(
        self,
        num_examples: int,
        initial_weight: float | np.ndarray | list[float] = 1.0,
        max_weight: float | None = 2.0,
        **kwargs,
    ):
        super().__init__(num_examples, **kwargs)
        if num_examples is None:
            raise ValueError(
                "Argument `num_unlabeled` must be an integer: a number is "
                "learned for every example. Received: num_unlabeled=None"
            )
        _check_range(initial_weight, num_examples, max_weight)
        self.initial_weight = initial_weight
        self.max_weight = max_weight
        self._values = self.add_weight(
            shape=(num_examples,),
            initializer=lambda shape, dtype: ops.broadcast_to(
                ops.cast(initial_weight, dtype), shape
            ),
            trainable=self.trainable,
            aggregation="none",
            name="example_weights",
        )
        self.built = True

    @property
    def values(self) -> Any:
        """Every example's weight, shape `(num_examples,)`."""
        return self._values

    @property
    def bounds(self) -> tuple[float, float]:
        """The range of a weight."""
        upper = self.max_weight
        return 0.0, float("inf") if upper is None else upper

    def start(self, initial_weight: float) -> None:
        """Lets all weights start at a number.

        Raises:
            ValueError: if it is not between 0 and `max_weight`.
        """
        _check_range(initial_weight, self.num_examples, self.max_weight)
        self.initial_weight = initial_weight
        self._values.assign(ops.full(self._values.shape, initial_weight))

    def optimizer(self) -> RowOptimizer:
        """`Evidence`, which needs two bounds."""
        bounded = self.max_weight is not None
        return Evidence(2.0) if bounded else super().optimizer()

    def call(self, examples: Examples) -> tf.Tensor:
        """The weights of the examples with these ids, shape `(n,)`."""
        return gather_rows(self._values.value, examples.index)

    def assign(self, index: tf.Tensor, weights: tf.Tensor) -> None:
        """Replaces the weights of the examples with these ids."""
        self._values.value.scatter_update(
            tf.IndexedSlices(ops.cast(weights, self._values.dtype), index)
        )

    def load_own_variables(self, store) -> None:
        """Loads the weights, of as many examples."""
        # Keras tries several paths and shows the error of the last.
        if "0" not in store or len(store["0"]) != self.num_examples:
            raise ValueError(
                "The file has no weights of as many examples as this model's "
                f"num_unlabeled={self.num_examples}. Make it with "
                "`num_unlabeled` as it was saved. What version 0.1 saved with "
                "a `weight_network`, a `mean_weight` or `Unrolled` has another "
                "layout: load it there, and save its `network`."
            )
        super().load_own_variables(store)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "initial_weight": np.asarray(self.initial_weight).tolist(),
            "max_weight": self.max_weight,
        }


def _check_range(initial_weight, num_examples, max_weight):
    upper = np.inf if max_weight is None else max_weight
    weights = np.asarray(initial_weight)
    in_range = np.all((weights >= 0) & (weights <= upper))
    if weights.shape not in ((), (num_examples,)) or not in_range:
        raise ValueError(
            "Argument `initial_weight` must be a float or one for each of "
            f"{num_examples} examples, between 0 and max_weight="
            f"{max_weight}. Received: initial_weight={initial_weight!r}"
        )
