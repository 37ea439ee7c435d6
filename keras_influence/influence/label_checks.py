"""What labels must be like, before a training and in its steps."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

DISTRIBUTIONS = (
    "labels that are probabilities of classes, such as one-hot rows: none "
    "negative, with sum 1. Several classes at once are for "
    "`BinaryCrossentropy`, judged by the loss itself. Received:"
)
SHARES = (
    "labels 0 and 1, or numbers between, as binary cross-entropy takes them. "
    "Received:"
)


def check_distributions(name: str, labels: np.ndarray) -> None:
    """Raises a `ValueError` if rows are no probabilities of classes.

    The Hessian of softmax cross-entropy in closed form is that of such.

    Args:
        name: string, the argument that the labels are of.
        labels: array whose last axis is the classes'.
    """
    labels = np.asarray(labels, "float64")
    wrong = (labels < 0).any(-1) | ~(abs(labels.sum(-1) - 1) < 1e-2)
    if wrong.any():
        raise ValueError(
            f"Argument `{name}` must have {DISTRIBUTIONS} {labels[wrong][0]}"
        )


def check_shares(name: str, labels: np.ndarray) -> None:
    """Raises a `ValueError` if labels are none of two classes.

    Args:
        name: string, the argument that the labels are of.
        labels: array of any shape.
    """
    labels = np.asarray(labels, "float64")
    wrong = labels[~((labels >= 0) & (labels <= 1))]
    if wrong.size:
        raise ValueError(
            f"Argument `{name}` must have {SHARES} {np.unique(wrong)[:10]}"
        )


def assert_shares(labels: tf.Tensor) -> tf.Tensor:
    """The labels themselves, if all are of two classes.

    Raises:
        tf.errors.InvalidArgumentError: when run, if they are not.
    """
    numbers = ops.cast(labels, "float32")
    low, high = ops.min(numbers), ops.max(numbers)
    check = tf.raw_ops.Assert(
        condition=(low >= 0) & (high <= 1),
        data=[f"A step must have {SHARES} from", low, "to", high],
    )
    with tf.control_dependencies([check]):
        return tf.identity(labels)


def assert_distributions(labels: tf.Tensor) -> tf.Tensor:
    """The rows themselves, if all are probabilities of classes.

    Raises:
        tf.errors.InvalidArgumentError: when run, if they are not.
    """
    rows = ops.cast(labels, "float32")
    sums = ops.sum(rows, -1)
    check = tf.raw_ops.Assert(
        condition=ops.all(ops.abs(sums - 1) < 1e-2) & ops.all(rows >= 0),
        data=[f"A step must have {DISTRIBUTIONS}", labels],
    )
    with tf.control_dependencies([check]):
        return tf.identity(labels)


def wide(labels: Any) -> Any:
    """Labels as a tensor; integers and booleans can be compared with -1."""
    labels = ops.convert_to_tensor(labels)
    if keras.backend.is_float_dtype(labels.dtype):
        return labels
    large = labels.dtype in ("int64", "uint32", "uint64")
    return ops.cast(labels, "int64" if large else "int32")
