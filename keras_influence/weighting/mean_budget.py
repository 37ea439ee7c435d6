from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.optimizers import RowOptimizer
from keras_influence.weighting.signals import Examples
from keras_influence.weighting.weighting import Weighting


@keras.saving.register_keras_serializable(package="keras_influence")
class MeanBudget(Weighting):
    """Weights of any kind, rescaled to one mean over every batch.

    A guard against weights that all fall to 0, or all rise to their bound:
    only how they compare is then left to learn.

    Args:
        weighting: the `Weighting` whose weights are rescaled.
        mean_weight: positive float, the mean of the weights of a batch's
            unmasked examples.

    Raises:
        ValueError: if `mean_weight` is not a finite positive number, or more
            than a weight can be.

    Example:

    >>> from keras_influence.weighting import ExampleWeights
    >>> weighting = MeanBudget(ExampleWeights(3, [1.0, 2.0, 0.0]), 0.5)
    >>> examples = Examples(np.array([0, 1]), mask=np.ones(2))
    >>> weighting(examples).numpy().round(3)
    array([0.333, 0.667], dtype=float32)
    """

    def __init__(self, weighting: Weighting, mean_weight: float, **kwargs):
        super().__init__(weighting.num_examples, **kwargs)
        highest = getattr(weighting, "max_weight", None) or float("inf")
        number = isinstance(mean_weight, (int, float, np.number))
        finite = number and 0 < mean_weight < float("inf")
        if not finite or mean_weight > highest:
            raise ValueError(
                "Argument `mean_weight` must be a positive number, at most "
                f"max_weight={highest}, or None. Received: "
                f"mean_weight={mean_weight!r}"
            )
        self.weighting = weighting
        self.mean_weight = mean_weight

    @property
    def signals(self) -> tuple:
        """Those of the weights, and the mask."""
        return (*self.weighting.signals, "mask")

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The range of the weights before they are rescaled."""
        return self.weighting.bounds

    @property
    def values(self) -> Any:
        """The weights as they are kept: rescaled where they were in a step."""
        return self.weighting.values

    def quality(self) -> np.ndarray:
        """As of the weights."""
        return self.weighting.quality()

    def start(self, initial_weight: float) -> None:
        """As of the weights."""
        self.weighting.start(initial_weight)

    def optimizer(self) -> RowOptimizer:
        """As of the weights."""
        return self.weighting.optimizer()

    def build(self, input_shape: tuple) -> None:
        """Builds the weights."""
        if not self.weighting.built:
            self.weighting.build(input_shape)
        self.built = True

    def call(self, examples: Examples) -> tf.Tensor:
        """The rescaled weights; zeros where all are 0."""
        mask = ops.cast(examples.mask, "float32")
        weights = self.weighting(examples)
        total = ops.sum(mask * weights)
        total = ops.where(total > 0, total, 1.0)
        return weights * self.mean_weight * ops.sum(mask) / total

    def after_update(
        self, examples: Examples, hypergradient: tf.Tensor
    ) -> None:
        """As of the weights."""
        self.weighting.after_update(examples, hypergradient)

    def after_step(self, examples: Examples, weights: tf.Tensor) -> None:
        """As of the weights."""
        self.weighting.after_step(examples, weights)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        config = super().get_config()
        del config["num_examples"]
        return {
            **config,
            "weighting": keras.saving.serialize_keras_object(self.weighting),
            "mean_weight": self.mean_weight,
        }

    @classmethod
    def from_config(cls, config: dict) -> "MeanBudget":
        """A `MeanBudget` from `get_config`'s dictionary."""
        weighting = keras.saving.deserialize_keras_object(config["weighting"])
        return cls(**{**config, "weighting": weighting})
