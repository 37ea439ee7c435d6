"""Losses that layers add by themselves, such as activity regularisers."""

import warnings
from collections.abc import Sequence

import keras
import tensorflow as tf


def added_losses(network: keras.Model) -> list:
    """What the layers of a network added in its last call."""
    regularized = [v for v in network.trainable_weights if v.regularizer]
    # Keras lists those of variables last.
    return network.losses[: len(network.losses) - len(regularized)]


def depend_on(
    losses: Sequence[tf.Tensor], tensors: Sequence[tf.Tensor]
) -> bool:
    """Whether losses depend on tensors of the graph that is being traced."""
    if not losses or not tensors:
        return False
    return any(g is not None for g in tf.gradients(losses, tensors))


def warn_of_added_losses(influence, adds_losses: bool) -> None:
    """Warns where training has a loss that `H` of Eq. 6 does not.

    Args:
        influence: an `Influence` or `Unrolled`.
        adds_losses: boolean, whether one depends on parameters in scope.
    """
    if adds_losses and getattr(influence, "curvature", "hessian") is not None:
        warnings.warn(
            "Layers add losses of their own that depend on the parameters "
            "which the influence is of, by `activity_regularizer` or "
            "`add_loss()`. `H` holds the examples' losses and the "
            "regularisers of kernels and biases only: scores are off by as "
            "much as the others curve. Take `kernel_regularizer` in their "
            "place.",
            stacklevel=4,
        )
