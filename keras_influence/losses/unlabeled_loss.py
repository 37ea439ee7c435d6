from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_influence.representation import representation


@keras.saving.register_keras_serializable(package="keras_influence")
class UnlabeledLoss:
    """Base class of losses on unlabelled examples.

    Subclass it and write `call`. The objective takes the mean over all
    unlabelled examples, masked ones included, of `mask · λ · losses`.

    A loss that keeps something from step to step makes `self.state` a
    `LossState` and writes `initial_state` and `observe`. One that needs the
    network, to see other views or targets of its own, writes `prepare`. In
    every step of training, and nowhere else, an `InfluenceModel` calls
    `prepare`, the network, `observe` and the loss.

    Attributes:
        views: tuple of the names of the views that the loss compares, or
            `None` if it takes whatever views there are.
        requires_labels: bool, whether the examples must come with labels.
        initial_weight: float, where weights start that are given no start.
        state: a `LossState`, or `None` where nothing is kept.

    Raises:
        ValueError: when called, if a view or the labels are missing, or if a
            view has a single logit.

    Example:

    >>> class Entropy(UnlabeledLoss):
    ...     views = ("weak",)
    ...
    ...     def call(self, logits, labels=None, step=None):
    ...         probabilities = keras.ops.softmax(logits["weak"])
    ...         logs = keras.ops.log_softmax(logits["weak"])
    ...         losses = -keras.ops.sum(probabilities * logs, -1)
    ...         return losses, keras.ops.ones_like(losses)
    >>> losses, mask = Entropy()({"weak": np.zeros((2, 4), "float32")})
    >>> np.round(losses, 3)
    array([1.386, 1.386], dtype=float32)
    """

    views = None
    requires_labels = False
    initial_weight = 1.0
    state: Any = None

    def __call__(self, logits: dict, labels=None, step=None) -> tuple:
        """Checks the arguments, then runs `call` with the same ones."""
        name = type(self).__name__
        missing = [v for v in self.views or () if v not in logits]
        if missing or not logits:
            raise ValueError(
                f"`{name}` needs the views {self.views or '(any)'}, but "
                f"{missing or 'every one of them'} is missing. "
                f"Received: views {sorted(logits)}"
            )
        if self.requires_labels and labels is None:
            raise ValueError(
                f"`{name}` needs a label for every unlabelled example. Pass "
                "`unlabeled` data with labels. Received: labels=None"
            )
        logits = {v: ops.convert_to_tensor(x) for v, x in logits.items()}
        for view, x in logits.items():
            if len(x.shape) != 2 or x.shape[-1] < 2:
                raise ValueError(
                    f"`{name}` needs logits of shape (batch, classes) with two "
                    "classes or more; a network with a single logit can end "
                    "in `keras_influence.layers.BinaryLogits`. Received: "
                    f"logits of shape {tuple(x.shape)} for view {view!r}"
                )
        return _checked(name, self.call(logits, labels, step), logits)

    def call(self, logits: dict, labels=None, step=None) -> tuple:
        """Losses and mask of a batch of unlabelled examples.

        Args:
            logits: dictionary from the names of views to float tensors of
                shape `(batch, classes)`.
            labels: tensor with the examples' labels where they have some.
                Defaults to `None`.
            step: integer scalar tensor, the training step, for schedules.
                Defaults to `None`.

        Returns:
            Tuple `(losses, mask)` of float tensors of shape `(batch,)`: the
            losses before mask and weights, and the mask, from 0 to 1. The
            mask must not depend on the logits differentiably.
        """
        raise NotImplementedError(
            f"`{type(self).__name__}` must implement "
            "`call(logits, labels, step)`."
        )

    def start(
        self,
        network: keras.Model | None,
        classes: int,
        num_examples: int | None,
    ) -> None:
        """Makes the state, where there is some; an `InfluenceModel` does.

        Args:
            network: as of `initial_state`.
            classes: as of `initial_state`.
            num_examples: as of `initial_state`.
        """
        if self.state is not None:
            values = self.initial_state(network, classes, num_examples)
            self.state.start(network, values)

    def initial_state(
        self,
        network: keras.Model | None,
        classes: int,
        num_examples: int | None,
    ) -> dict:
        """What is kept from step to step, as it is before the first.

        Args:
            network: the built `keras.Model` that is trained.
            classes: integer, the number of its logits.
            num_examples: integer, the number of unlabelled examples, or
                `None` where nothing is kept of single ones.

        Returns:
            Dictionary from names to arrays or tensors.
        """
        return {}

    def prepare(
        self, network: keras.Model, views: dict, labels: Any, step: Any
    ) -> tuple[dict, Any]:
        """The views that the network is to see, and the labels of `call`.

        Args:
            network: the `keras.Model` that is trained.
            views: dictionary from names to inputs with a row an example.
            labels: tensor with the examples' labels, or `None`.
            step: integer scalar tensor, the training step.

        Returns:
            Tuple `(views, labels)`, by default as they are. No gradient flows
            through them.
        """
        return views, labels

    def observe(self, logits: dict, index: tf.Tensor) -> None:
        """Moves the state, before `call` uses it on the same logits.

        Args:
            logits: dictionary as of `call`, of the examples of all replicas.
            index: integer tensor with the ids of these examples.
        """

    def softmax_shares(self, views: tuple) -> tuple | None:
        """The share of every view, where the loss is a sum of cross-entropies.

        With softmax, and targets that no gradient flows through: the last
        layer's Hessian then costs less. Asked only where the class that
        writes `call` writes this too.

        Args:
            views: tuple of the names of the views.

        Returns:
            Tuple with a float for every view, or `None` for another loss.
        """
        return None

    def labeled_weights(self, labels, logits, step=None):
        """Factors of the labelled examples' losses; a plain mean by default.

        Examples that the loss of the labelled ignores (`ignore_class`) come
        with class 0: they count for nothing, and the other factors are scaled
        to the sum of all.

        Args:
            labels: tensor with the labels: integers of shape `(batch,)` or
                `(batch, 1)`, or probabilities of shape `(batch, classes)`.
            logits: float tensor of shape `(batch, classes)`.
            step: integer scalar tensor, the training step. Defaults to `None`.

        Returns:
            Float tensor of shape `(batch,)`. The labelled loss is the sum of
            the examples' losses times these factors.
        """
        ones = ops.ones_like(logits[:, 0])
        return ones / ops.sum(ones)

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        return {}

    @classmethod
    def from_config(cls, config):
        """A loss from what `get_config` returned."""
        return cls(**config)

    def __repr__(self):
        return representation(self)


def _checked(name, returned, logits):
    """Losses and mask of a row each, in the dtype of the logits."""
    like = next(iter(logits.values()))
    try:
        losses, mask = (ops.cast(part, like.dtype) for part in returned)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{name}.call` must return a tuple (losses, mask) of tensors. "
            f"Received: {returned!r}"
        ) from error
    for part in losses, mask:
        if len(part.shape) != 1:
            raise ValueError(
                f"`{name}.call` must return losses and a mask of shape "
                "(batch,), a number for each example. Received: shapes "
                f"{tuple(losses.shape)} and {tuple(mask.shape)}"
            )
    return losses, mask


def softmax_shares(loss: UnlabeledLoss, views: Iterable) -> tuple | bool:
    """`softmax_shares` of a loss, `False` where it says nothing of `call`."""
    own = {"call", "softmax_shares"} <= vars(type(loss)).keys()
    return (own and loss.softmax_shares(tuple(views))) or False


def class_probabilities(labels, like):
    """Labels of any form as probabilities of the shape and dtype of `like`.

    The integer -1, no label, becomes a row of zeros.
    """
    labels = ops.convert_to_tensor(labels)
    if len(labels.shape) == 2 and labels.shape[-1] == like.shape[-1]:
        return _probabilities(ops.cast(labels, like.dtype))
    if len(labels.shape) == 2 and labels.shape[-1] == 1:
        labels = ops.squeeze(labels, -1)
    if len(labels.shape) != 1:
        raise ValueError(
            "Labels must be integers of shape (batch,) or (batch, 1), or "
            f"probabilities of shape (batch, {like.shape[-1]}). "
            f"Received: labels of shape {tuple(labels.shape)}"
        )
    classes = ops.cast(labels, "int32")
    in_range = (classes >= -1) & (classes < like.shape[-1])
    in_range &= ops.cast(classes, labels.dtype) == labels
    message = (
        f"Labels must be classes from 0 to {like.shape[-1] - 1}, or -1 for "
        "no label. Received: from"
    )
    # Not `tf.debugging.Assert`, whose branch is as dear as a small layer.
    tf.raw_ops.Assert(
        condition=ops.all(in_range),
        data=[message, ops.min(labels), "to", ops.max(labels)],
    )
    classes = ops.where(in_range, classes, -1)
    return ops.one_hot(classes, like.shape[-1], dtype=like.dtype)


def _probabilities(labels):
    sums = ops.sum(labels, -1)
    # Half precision rounds; no label is a row of zeros.
    known = (ops.abs(sums - 1) < 0.01) | (sums == 0)
    check = tf.raw_ops.Assert(
        condition=ops.all(known) & ops.all(labels >= 0),
        data=[
            "Labels with a number for every class must be probabilities, "
            "which add up to 1, or zeros for no label; several classes or "
            "targets of an example are none. Received: ",
            labels,
        ],
    )
    with tf.control_dependencies([check]):
        return tf.identity(labels)
