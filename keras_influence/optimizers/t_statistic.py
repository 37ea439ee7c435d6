"""How surely an example's gradients are not noise."""

import tensorflow as tf
from keras import ops


def t_statistic(total: tf.Tensor, norm: tf.Tensor) -> tf.Tensor:
    """Student's `t = Σ g / √Σ g²` about 0; 0 where there is no gradient yet.

    Without an effect it is about standard normal, whatever the scale of the
    gradients. Large gradients count more than small ones: when labels that
    judge are fitted, what is left of their gradient is mostly noise.

    Args:
        total: float tensor, `Σ g` of every example.
        norm: tensor like `total`, `√Σ g²`.

    Returns:
        Tensor like `total`.
    """
    seen = norm > 0
    return ops.where(seen, total / ops.where(seen, norm, 1), 0)


def hypotenuse(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """`√(a² + b²)`, where the squares themselves are too large or small.

    Args:
        a: float tensor.
        b: tensor like `a`.

    Returns:
        Tensor like `a`.
    """
    a, b = ops.abs(a), ops.abs(b)
    long, short = ops.maximum(a, b), ops.minimum(a, b)
    ratio = short / ops.where(long > 0, long, 1)
    return long * ops.sqrt(1 + ops.square(ratio))
