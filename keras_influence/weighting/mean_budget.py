"""A guard against weights that all fall to 0, or all rise to their bound."""

import tensorflow as tf
from keras import ops


def rescaled(weights, mask, mean_weight: float):
    """The weights of a batch, times what makes their mean `mean_weight`.

    Only how they compare is then left to learn.

    Args:
        weights: tensor of shape `(n,)`.
        mask: tensor of shape `(n,)`; only examples with a 1 are counted.
        mean_weight: float, the mean.

    Returns:
        Tensor of shape `(n,)`; zeros where all weights are 0.
    """
    weights = ops.cast(weights, mask.dtype)
    total = ops.sum(mask * weights)
    total = ops.where(total > 0, total, 1.0)
    return weights * mean_weight * ops.sum(mask) / total


def rescaled_gradient(weights, mask, mean_weight: float, gradient):
    """From the derivative in the rescaled weights to that in the weights.

    An example's own derivative, less the weighted mean of the batch's.

    Args:
        weights: as of `rescaled`.
        mask: as of `rescaled`.
        mean_weight: as of `rescaled`.
        gradient: tensor of shape `(n,)`.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(weights)
        results = rescaled(weights, mask, mean_weight)
    return tape.gradient(results, weights, gradient)
