"""How surely an example's gradients are not noise."""

import tensorflow as tf
from keras import ops


def in_units_of_batch(gradients: tf.Tensor) -> tf.Tensor:
    """Gradients over the root mean square of those that are not 0.

    Args:
        gradients: float tensor, one batch with every example once. One that
            is not finite counts as 0, no gradient; so does one that is
            negligible beside the others.

    Returns:
        Tensor like `gradients`, finite.
    """
    g = ops.where(ops.isfinite(gradients), gradients, 0)
    # Largest first: squares of 1e30 or 1e-30 are not float32 numbers.
    largest = ops.max(ops.abs(g), initial=0)
    g /= ops.where(largest > 0, largest, 1)
    count = ops.sum(ops.cast(ops.not_equal(g, 0), g.dtype))
    square = ops.sum(g**2) / ops.maximum(count, 1)
    g /= ops.sqrt(ops.where(square > 0, square, 1))
    return ops.where(g**2 > 0, g, 0)


def t_statistic(total: tf.Tensor, squares: tf.Tensor) -> tf.Tensor:
    """Student's `t = Σ g / √Σ g²` about 0; 0 where there is no gradient yet.

    Without an effect it is about standard normal, whatever the scale of the
    gradients.

    Args:
        total: float tensor, `Σ g` of every example.
        squares: tensor like `total`, `Σ g²`.

    Returns:
        Tensor like `total`.
    """
    seen = squares > 0
    return ops.where(seen, total / ops.sqrt(ops.where(seen, squares, 1)), 0)
