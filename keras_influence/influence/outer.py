"""What the validation set judges by: the outer objective of Eq. 6."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.influence.label_checks import check_distributions
from keras_influence.influence.per_example_loss import one_each


def margin(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Minus the log-odds of the true class, for every example.

    Its gradient does not vanish on validation examples that are already
    right, unlike the cross-entropy's.

    Args:
        labels: integer tensor of shape `(n,)` or `(n, 1)`, or one-hot tensor
            of shape `(n, classes)`.
        logits: tensor of shape `(n, classes)`; one column is the logit of
            class 1 against class 0.

    Returns:
        Tensor of shape `(n,)`.

    Example:
    >>> float(margin(np.array([0]), np.array([[2.0, 1.0]]))[0])
    -1.0

    Reference: Park et al., "TRAK: Attributing Model Behavior at Scale", 2023.
    """
    logits = ops.convert_to_tensor(logits)
    classes = logits.shape[-1]
    if classes == 1:
        sign = 2.0 * ops.reshape(ops.cast(labels, logits.dtype), (-1,)) - 1.0
        return -sign * logits[:, 0]
    truth = one_hot(labels, classes, logits.dtype) > 0.5
    true_logit = ops.sum(ops.where(truth, logits, 0.0), -1)
    lowest = tf.as_dtype(logits.dtype).min
    others = ops.logsumexp(ops.where(truth, lowest, logits), -1)
    return others - true_logit


def one_hot(labels: tf.Tensor, classes: int | None, dtype: Any) -> tf.Tensor:
    """Integer or one-hot labels as one-hot rows of shape `(n, classes)`."""
    labels = ops.convert_to_tensor(labels)
    if len(labels.shape) == 2 and labels.shape[-1] == classes:
        return ops.one_hot(ops.argmax(labels, -1), classes, dtype=dtype)
    labels = ops.cast(ops.reshape(labels, (-1,)), "int32")
    return ops.one_hot(labels, classes, dtype=dtype)


def check_labels(
    outer: str | Callable, name: str, labels: np.ndarray, classes: int
) -> None:
    """Raises a `ValueError` if the margin is of labels that are no classes.

    Args:
        outer: as of `resolve`.
        name: string, the argument that the labels are of.
        labels: array with a row for each example.
        classes: integer, the number of logits.
    """
    if outer != "margin":
        return
    if len(labels.shape) > 1 and labels.shape[-1] > 1:
        check_distributions(name, labels)
        return
    count = max(classes, 2)
    wrong = labels[~np.isin(labels, np.arange(count))]
    if len(wrong):
        raise ValueError(
            f"Argument `{name}` must have labels from 0 to {count - 1}, whole "
            "numbers, for `outer='margin'`. Received: "
            f"{np.unique(wrong)[:10]}"
        )


def check(outer: str | Callable) -> None:
    """Raises a `ValueError` unless it is such as `resolve` takes."""
    if not callable(outer) and outer not in ("loss", "margin"):
        raise ValueError(
            "Argument `outer` must be 'loss', 'margin' or a function of "
            f"labels and logits. Received: outer={outer!r}"
        )


def resolve(outer: str | Callable, loss: Callable) -> Callable:
    """The per-example function `(labels, logits) -> (n,)` behind a choice.

    Args:
        outer: `"loss"`, `"margin"` or such a function itself.
        loss: the per-example loss that `"loss"` stands for.
    """
    if callable(outer):
        return functools.partial(_of_function, outer)
    if outer == "margin" and getattr(loss, "ignored", None) is not None:
        raise ValueError(
            "`outer='margin'` knows no class to ignore: leave such examples "
            "out, or take `outer='loss'`. Received: a loss with "
            f"ignore_class={loss.ignored}"  # pyright: ignore
        )
    return {"loss": loss, "margin": margin}[outer]


def _of_function(outer, labels, logits):
    labels = ops.convert_to_tensor(labels)
    if keras.backend.is_float_dtype(labels.dtype):
        labels = ops.cast(labels, logits.dtype)
    return one_each("outer", outer, outer(labels, logits))
