from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence import replicas
from keras_influence.data.checks import check_integer
from keras_influence.optimizers import MAdam, RowOptimizer
from keras_influence.weighting.signals import Examples


class Weighting(keras.layers.Layer):
    """Base class of what gives every unlabelled example its weight `λ`.

    Subclass it and write `call`; its `trainable_variables` are what the weight
    optimizer moves, against the derivatives of Eq. 6. An `InfluenceModel`
    calls it in every step, tells it what came of the step, and never asks
    what kind of weights it has.

    Args:
        num_examples: integer, the number of unlabelled examples, or `None`
            where nothing is kept of single ones.

    Attributes:
        signals: sequence of names: what `call` needs of `Examples` beside the
            ids. Features are computed only if `"features"` is among them.
        bounds: pair of floats, the range of the trained variables, or `None`.

    Example:

    >>> class ByConfidence(Weighting):
    ...     signals = ("confidence",)
    ...
    ...     def build(self, features_shape):
    ...         self.power = self.add_weight(initializer="ones", name="power")
    ...
    ...     def call(self, examples):
    ...         highest = keras.ops.softmax(examples.prediction)
    ...         return keras.ops.max(highest, -1) ** self.power
    >>> weighting = ByConfidence()
    >>> weighting.build((None, 8))
    >>> examples = Examples(np.arange(2), prediction=np.zeros((2, 4)))
    >>> np.array(weighting(examples))
    array([0.25, 0.25], dtype=float32)

    Reference: `Λ` of Eq. 4 of "Not All Unlabeled Data are Equal".
    """

    signals = ()
    bounds = None

    def __init__(self, num_examples: int | None = None, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        if num_examples is not None:
            check_integer("num_unlabeled", num_examples, 1)
        self.num_examples = num_examples

    def build(self, input_shape: tuple) -> None:
        """Creates the variables.

        Args:
            input_shape: tuple `(None, features)`, of what enters the network's
                last layer.
        """
        self.built = True

    def call(self, examples: Examples) -> tf.Tensor:
        """The weights of examples, shape `(n,)`; without side effects."""
        raise NotImplementedError(
            f"`{type(self).__name__}` must implement `call(examples)`."
        )

    @property
    def values(self) -> Any:
        """Every example's weight as it was last, shape `(num_examples,)`.

        Raises:
            ValueError: if none are kept.
        """
        raise ValueError(
            "This model keeps no weights of single examples. Make it with "
            "`num_unlabeled` as the number of unlabelled examples."
        )

    def quality(self) -> np.ndarray:
        """How far every example can be believed, shape `(num_examples,)`.

        Returns:
            Numpy array of numbers from 0 to 1: below 0.5, that is below half
            of the mean weight, it is doubted.

        Raises:
            ValueError: if no weights are kept.
        """
        return quality_of(ops.convert_to_numpy(self.values))

    def differentiable(
        self, examples: Examples
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], list]]:
        """The weights of examples, and how to differentiate them.

        Args:
            examples: the `Examples`.

        Returns:
            The weights, a tensor of shape `(n,)`, and a function from
            `d L(V) / d λ`, a tensor of that shape, to
            `Σ_u d L(V) / d λ_u · dλ_u / dφ` for each trainable variable `φ`,
            plus the derivatives of the regularisers: a list of tensors or,
            where a variable has rows of examples, of `tf.IndexedSlices`. It
            can be called once.
        """
        variables = [v.value for v in self.trainable_variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            weights = self(examples)
            penalties = self.losses
        if len(weights.shape) != 1:
            raise ValueError(
                f"`{type(self).__name__}.call` must return weights of shape "
                f"(n,), one an example. Received: shape {tuple(weights.shape)}"
            )

        def gradients(hypergradient):
            hypergradient = tf.cast(hypergradient, weights.dtype)
            shares = [_share(hypergradient) for _ in penalties]
            return tape.gradient(
                [weights, *penalties], variables, [hypergradient, *shares]
            )

        return weights, gradients

    def start(self, initial_weight: float) -> None:
        """Lets the weights start at a number, before anything is learned."""

    def optimizer(self) -> RowOptimizer:
        """The recommended optimizer of the trainable variables."""
        return MAdam(0.01)

    def after_update(
        self, examples: Examples, hypergradient: tf.Tensor
    ) -> None:
        """Sees the derivatives of an update; zeros where there are none."""

    def after_step(self, examples: Examples, weights: tf.Tensor) -> None:
        """Sees the weights that the examples had in a step.

        Losses are NaN where the step was skipped.
        """

    def assert_in_range(self, index: tf.Tensor) -> tf.Tensor:
        """The ids themselves, if all are of examples.

        Args:
            index: integer tensor.

        Raises:
            tf.errors.InvalidArgumentError: if one is not. Compiled by XLA, it
                is not noticed.
        """
        if self.num_examples is None:
            return index
        last = self.num_examples - 1
        # Unchecked, a GPU reads zeros there without a word. Not
        # `tf.debugging.Assert`, whose branch is as dear as a small layer.
        low, high = tf.reduce_min(index), tf.reduce_max(index)
        check = tf.raw_ops.Assert(
            condition=(low >= 0) & (high <= last),
            data=[
                "Ids of unlabelled examples must be from 0 to num_unlabeled - "
                f"1 = {last}: make the model with `num_unlabeled` as large as "
                "the data. Received: ids from",
                *(low, "to", high),
            ],
        )
        with tf.control_dependencies([check]):
            return tf.identity(index)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "num_examples": self.num_examples}


def _share(hypergradient):
    """A replica's part of a regulariser; an update of zeros has none."""
    [together] = replicas.of_all_replicas(hypergradient)
    moves = ops.cast(ops.any(together != 0), "float32")
    return moves / replicas.count()


def quality_of(weights: np.ndarray) -> np.ndarray:
    """Numbers from 0 to 1, below 0.5 where a weight is below half the mean."""
    return weights / (weights + max(float(weights.mean()) / 2, 1e-12))
