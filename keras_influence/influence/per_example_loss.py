import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.influence.label_checks import (
    assert_distributions,
    assert_shares,
    check_distributions,
    check_shares,
    wide,
)

BINARY = (
    keras.losses.BinaryCrossentropy,
    keras.losses.BinaryFocalCrossentropy,
)
# What Keras documents as losses of probabilities, without `from_logits`.
PROBABILITIES = tuple(
    getattr(keras.losses, name)
    for name in (
        *("KLDivergence", "Poisson", "Dice", "Tversky"),
        "CategoricalGeneralizedCrossEntropy",
        *("kl_divergence", "poisson", "dice", "tversky"),
        "categorical_generalized_cross_entropy",
    )
    if hasattr(keras.losses, name)
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
        losses = function(self._targets(wide(labels), logits), logits)
        return one_each("loss", self.loss, losses)

    def _targets(self, labels, logits):
        """Labels that a loss does not broadcast against the logits."""
        if self.takes_classes:
            if 1 < logits.shape[-1] == labels.shape[-1] and (
                len(labels.shape) == len(logits.shape)
            ):
                raise ValueError(
                    f"The loss {_name(self.loss)!r} takes one whole number a "
                    "row, the class: take `CategoricalCrossentropy`, or make "
                    "classes of one-hot rows by `np.argmax(y, -1)`. Received: "
                    f"labels of shape {tuple(labels.shape)}"
                )
            return labels
        if logits.shape[-1] == 1 and len(labels.shape) < len(logits.shape):
            labels = ops.expand_dims(labels, -1)
        shapes = tf.TensorShape(labels.shape), tf.TensorShape(logits.shape)
        alike = shapes[0][1:].is_compatible_with(shapes[1][1:])
        if not alike and _of_keras(self.loss):
            raise ValueError(
                f"The loss {_name(self.loss)!r} takes a number for each logit: "
                "one-hot rows, where labels are classes. Received: labels of "
                f"shape {tuple(labels.shape)} beside logits of shape "
                f"{tuple(logits.shape)}"
            )
        return ops.cast(labels, logits.dtype)  # as Keras does

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

    def counts(self, labels: tf.Tensor) -> tf.Tensor:
        """Which examples are not ignored, a boolean tensor of shape `(n,)`."""
        size = ops.shape(labels)[0]
        counted = ops.reshape(wide(labels) != self.ignored, (size, -1))
        return ops.any(counted, -1)

    def count(self, labels: tf.Tensor) -> Any:
        """How many examples Keras' mean is over: those not ignored.

        An example with several labels, some of them ignored, is a part of one.
        """
        size = ops.shape(labels)[0]
        if self.ignored is None:
            return size
        counted = ops.cast(wide(labels) != self.ignored, "float64")
        return ops.sum(ops.mean(ops.reshape(counted, (size, -1)), -1))

    def outside(self, labels: tf.Tensor | np.ndarray, classes: int) -> Any:
        """Which labels are none of the classes, a boolean tensor."""
        labels = wide(labels)
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
        if isinstance(self.loss, BINARY):
            check_shares(name, labels)
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
            return assert_distributions(labels)
        if isinstance(self.loss, BINARY):
            return assert_shares(labels)
        if not self.takes_classes:
            return labels
        labels = given = wide(labels)
        if self.ignored is not None:
            labels = ops.where(labels == self.ignored, 0, labels)
        low, high = ops.min(labels), ops.max(labels)
        inside = (low >= 0) & (high < classes)
        if keras.backend.is_float_dtype(labels.dtype):
            inside &= ops.all(labels == ops.round(labels))
            given = ops.cast(given, "int32")
        # Not `tf.debugging.Assert`, whose branch is as dear as a small layer.
        check = tf.raw_ops.Assert(
            condition=inside,
            data=[
                f"Labels must be from 0 to {classes - 1}, whole numbers. "
                "Received: from",
                *(low, "to", high),
            ],
        )
        with tf.control_dependencies([check]):
            return tf.identity(given)

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


def one_each(name: str, function: Any, losses: tf.Tensor) -> tf.Tensor:
    """Losses of shape `(n,)`, the means where an example has several.

    Args:
        name: string, the argument that gave them.
        function: what was given as that argument.
        losses: tensor with `n` rows.

    Raises:
        ValueError: if there is a single one for all examples.
    """
    if len(losses.shape) == 0:
        raise ValueError(
            f"Argument `{name}` must give a number for each example, since "
            "examples are weighted, as Keras' functions do. Received: "
            f"{name}={function!r}, which gives a single one"
        )
    if len(losses.shape) == 1:
        return losses
    return ops.mean(ops.reshape(losses, (ops.shape(losses)[0], -1)), -1)


def expects_probabilities(loss) -> bool:
    """Whether a Keras loss is one of probabilities instead of logits."""
    if loss in PROBABILITIES or any(
        kind in PROBABILITIES for kind in type(loss).__mro__
    ):
        return True
    if isinstance(loss, keras.losses.Loss):
        return loss.get_config().get("from_logits") is False
    return loss in (
        keras.losses.sparse_categorical_crossentropy,
        keras.losses.categorical_crossentropy,
        keras.losses.categorical_focal_crossentropy,
        keras.losses.binary_crossentropy,
        keras.losses.binary_focal_crossentropy,
    )


def _of_keras(loss):
    """Whether it is one of Keras' own, all of which broadcast."""
    own = loss if inspect.isfunction(loss) else type(loss)
    return own.__module__.startswith("keras.")


def _name(loss):
    return getattr(loss, "name", None) or loss.__name__
