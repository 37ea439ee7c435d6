from collections.abc import Callable
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


class PerExampleLoss:
    """A Keras loss as a function to one loss an example, in float32 or more.

    Args:
        loss: a `keras.losses.Loss`, a function `(y_true, y_pred)`, or a name.
            Losses of probabilities must be made with `from_logits=True`.

    Raises:
        ValueError: if the loss expects probabilities, or is not a mean.

    Example:
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> PerExampleLoss(loss)(np.array([0]), np.array([[0.0, 0.0]])).shape
    TensorShape([1])
    """

    def __init__(self, loss: keras.losses.Loss | Callable | str | None):
        nested = isinstance(loss, (list, tuple)) or (
            isinstance(loss, dict) and "class_name" not in loss
        )
        self.loss: Any = None if nested else keras.losses.get(loss)
        if self.loss is None:
            raise ValueError(
                "Argument `loss` must be a single Keras loss of logits. "
                f"Received: loss={loss!r}"
            )
        if expects_probabilities(self.loss):
            raise ValueError(
                "Argument `loss` must be a loss of logits: weights are learned "
                "through the network's logits. Received: "
                f"loss={loss!r}, which expects probabilities. Take one made "
                "with `from_logits=True`, and let the network's last layer "
                "have no softmax or sigmoid."
            )

        reduction = getattr(self.loss, "reduction", "sum_over_batch_size")
        if reduction not in ("sum_over_batch_size", "mean", "none", None):
            raise ValueError(
                "Argument `loss` must reduce by the mean, as "
                "`reduction='sum_over_batch_size'` does: examples' weights "
                "are compared with that of the labelled loss. Received: "
                f"reduction={reduction!r}"
            )

    def __call__(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Losses of shape `(n,)` from labels and logits `(n, units)`."""
        function = getattr(self.loss, "call", self.loss)
        labels = _wide(labels)
        if len(labels.shape) < len(logits.shape) and not self.takes_classes:
            labels = ops.expand_dims(labels, -1)
        losses = function(labels, logits)
        if len(losses.shape) == 0:
            raise ValueError(
                "Argument `loss` must give a number for each example, since "
                "examples are weighted, as Keras' functions do. Received: "
                f"loss={self.loss!r}, which gives a single one"
            )
        if len(losses.shape) == 1:
            return losses
        return ops.mean(ops.reshape(losses, (ops.shape(losses)[0], -1)), -1)

    @property
    def takes_classes(self) -> bool:
        """Whether labels are integers that count the logits."""
        return isinstance(self.loss, keras.losses.SparseCategoricalCrossentropy)

    @property
    def ignored(self) -> int | None:
        """The label of examples that count for nothing, or `None`."""
        if not self.takes_classes:
            return None
        return self.loss.get_config()["ignore_class"]

    def count(self, labels: tf.Tensor) -> Any:
        """How many examples Keras' mean is over: those not ignored."""
        size = ops.shape(labels)[0]
        if self.ignored is None:
            return size
        counted = ops.reshape(_wide(labels) != self.ignored, (size, -1))
        return ops.sum(ops.cast(ops.any(counted, -1), "int32"))

    def outside(self, labels: tf.Tensor | np.ndarray, classes: int) -> Any:
        """Which labels are none of the classes, a boolean tensor."""
        labels = _wide(labels)
        outside = (labels < 0) | (labels >= classes)
        if keras.backend.is_float_dtype(labels.dtype):
            outside |= labels != ops.round(labels)
        if self.ignored is None:
            return outside
        return outside & (labels != self.ignored)

    def check_labels(self, name: str, labels: np.ndarray, classes: int) -> None:
        """Raises a `ValueError` if labels are none such as the loss takes.

        Args:
            name: string, the argument that the labels are of.
            labels: array with a row for each example.
            classes: integer, the number of logits.
        """
        if isinstance(self.loss, keras.losses.CategoricalCrossentropy):
            check_distributions(name, labels)
        if not self.takes_classes:
            return
        with tf.init_scope():  # The model may be built in a graph.
            outside = ops.convert_to_numpy(self.outside(labels, classes))
        wrong = labels[outside]
        if len(wrong):
            raise ValueError(
                f"Argument `{name}` must have labels from 0 to {classes - 1}, "
                "whole numbers, one for each logit. Received: "
                f"{np.unique(wrong)[:10]}"
            )

    def assert_in_range(self, labels: tf.Tensor, classes: int) -> tf.Tensor:
        """The labels, classes as integers, if all are such as the loss takes.

        Raises:
            tf.errors.InvalidArgumentError: if one is not. Compiled by XLA, it
                is not noticed.
        """
        if isinstance(self.loss, keras.losses.CategoricalCrossentropy):
            return _assert_distributions(labels)
        if not self.takes_classes:
            return labels
        # Not `tf.debugging.Assert`, whose branch is as dear as a small layer.
        check = tf.raw_ops.Assert(
            condition=ops.logical_not(ops.any(self.outside(labels, classes))),
            data=[f"Labels must be from 0 to {classes - 1}. Received:", labels],
        )
        labels = _wide(labels)
        if keras.backend.is_float_dtype(labels.dtype):
            labels = ops.cast(labels, "int32")
        with tf.control_dependencies([check]):
            return tf.identity(labels)

    @property
    def softmax(self) -> bool:
        """Whether this is the softmax cross-entropy against fixed targets."""
        if type(self.loss) not in (
            keras.losses.SparseCategoricalCrossentropy,
            keras.losses.CategoricalCrossentropy,
        ):
            return False
        config = self.loss.get_config()
        # The loss of an ignored class has no curvature.
        return (
            config.get("axis", -1) == -1 and config.get("ignore_class") is None
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


def _assert_distributions(labels):
    """The rows themselves, if all are probabilities of classes."""
    rows = ops.cast(labels, "float32")
    sums = ops.sum(rows, -1)
    check = tf.raw_ops.Assert(
        condition=ops.all(ops.abs(sums - 1) < 1e-2) & ops.all(rows >= 0),
        data=[f"A step must have {DISTRIBUTIONS}", labels],
    )
    with tf.control_dependencies([check]):
        return tf.identity(labels)


def _wide(labels: Any) -> Any:
    """Labels as a tensor; integers and booleans can be compared with -1."""
    labels = ops.convert_to_tensor(labels)
    if keras.backend.is_float_dtype(labels.dtype):
        return labels
    large = labels.dtype in ("int64", "uint32", "uint64")
    return ops.cast(labels, "int64" if large else "int32")


def expects_probabilities(loss) -> bool:
    """Whether a Keras loss is one of probabilities instead of logits."""
    if isinstance(loss, keras.losses.Loss):
        if isinstance(loss, (keras.losses.KLDivergence, keras.losses.Poisson)):
            return True
        return loss.get_config().get("from_logits") is False
    return loss in (
        keras.losses.sparse_categorical_crossentropy,
        keras.losses.categorical_crossentropy,
        keras.losses.categorical_focal_crossentropy,
        keras.losses.binary_crossentropy,
        keras.losses.binary_focal_crossentropy,
        keras.losses.kl_divergence,
        keras.losses.poisson,
    )
