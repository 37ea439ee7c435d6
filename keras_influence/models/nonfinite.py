"""Steps whose numbers are not finite: taken back, counted, never learned."""

import tensorflow as tf
from keras import ops

from keras_influence import replicas


def all_finite(loss, gradients: list):
    """Whether a loss and its gradients are finite, a boolean scalar tensor.

    The same on all replicas, which take one step together. A kernel can become
    NaN behind an activation that hides it from the loss.
    """
    total = ops.cast(loss, "float32")
    for gradient in gradients:
        if gradient is not None:
            total += tf.reduce_sum(tf.cast(_values(gradient), "float32"))
    return replicas.everywhere(ops.isfinite(total))


def replaced_unless(finite, gradients: list, number: float) -> list:
    """The gradients, or a number in their place."""
    return [
        tf.IndexedSlices(
            ops.where(finite, g.values, number), g.indices, g.dense_shape
        )
        if isinstance(g, tf.IndexedSlices)
        else g
        if g is None
        else ops.where(finite, g, number)
        for g in gradients
    ]


class Statistics:
    """What a forward pass moves, to be put back where it went wrong.

    Make it before the pass.

    Args:
        variables: list of variables.
    """

    def __init__(self, variables: list):
        self.variables = variables
        self.before = [tf.convert_to_tensor(v.value) for v in self.variables]

    def restore_unless(self, finite) -> None:
        """Puts the values back if `finite` is false."""
        for variable, value in zip(self.variables, self.before, strict=True):
            variable.assign(ops.where(finite, variable.value, value))


def _values(gradient):
    sparse = isinstance(gradient, tf.IndexedSlices)
    return gradient.values if sparse else gradient
