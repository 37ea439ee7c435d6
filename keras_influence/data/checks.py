"""Arguments that are numbers or labels."""

from typing import Any

import numpy as np
import tensorflow as tf


def check_integer(name: str, value, minimum: int) -> None:
    """Raises unless `value` is an integer of at least `minimum`."""
    is_integer = isinstance(value, (int, np.integer))
    if not is_integer or isinstance(value, bool) or value < minimum:
        raise ValueError(
            f"`{name}` must be an integer of at least {minimum}. "
            f"Received: {name}={value!r}"
        )


def check_label_form(name: str, labels: Any, training: Any) -> None:
    """Raises unless labels have the form that the training labels have.

    A loss would broadcast, silently, what differs.

    Args:
        name: string, the argument that the labels are of.
        labels: array, tensor or `tf.TensorSpec` of shape `(n, ...)`.
        training: the same, the labels of training.
    """
    forms = [
        tf.TensorShape([size for size in t.shape[1:] if size != 1])
        for t in (labels, training)
    ]
    if not forms[0].is_compatible_with(forms[1]):
        raise ValueError(
            f"Argument `{name}` must have labels of the form that the training "
            f"labels have. Received: labels of shape {tuple(labels.shape)} "
            f"beside {tuple(training.shape)}"
        )
