"""What weights can be learned from: the signals of an example."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
from keras import ops


class Examples(NamedTuple):
    """What a step knows about its unlabelled examples.

    Args:
        index: integer tensor of shape `(n,)`, their ids.
        losses: tensor of shape `(n,)`, their losses before mask and weights.
        logits: dictionary from the names of views to tensors of shape
            `(n, classes)`.
        prediction: tensor of shape `(n, classes)`, the logits of the view
            that gives pseudo-labels, or of the only one.
        mask: tensor of shape `(n,)`, 0 where an example does not count.
        features: tensor of shape `(n, features)`, what enters the last layer
            in that view; `None` where `"features"` is not among the signals.
        evidence: tensor of shape `(n,)`, the t statistics of their
            derivatives so far, positive where an example does harm; `None`
            where `"evidence"` is not among the signals.
        mean_loss: tensor of shape `(n,)`, the means of their losses over all
            steps that saw them, later ones counting more; `None` where
            `"mean_loss"` is not among the signals.
        label: tensor with `n` rows, the labels that came with them; `None`
            where the network gives its own.
    """

    index: tf.Tensor
    losses: tf.Tensor | None = None
    logits: dict[str, tf.Tensor] | None = None
    prediction: tf.Tensor | None = None
    mask: tf.Tensor | None = None
    features: tf.Tensor | None = None
    evidence: tf.Tensor | None = None
    mean_loss: tf.Tensor | None = None
    label: tf.Tensor | None = None


def confidence(examples: Examples) -> tf.Tensor:
    """The highest probability, shape `(n,)`."""
    # What the entropy takes too: a softmax more is a tenth of a small step.
    return ops.exp(ops.max(ops.log_softmax(examples.prediction), -1))


def entropy(examples: Examples) -> tf.Tensor:
    """The entropy of the prediction, shape `(n,)`."""
    logs = ops.log_softmax(examples.prediction)
    return -ops.sum(ops.exp(logs) * logs, -1)


SIGNALS: dict[str, Callable[[Examples], Any]] = {
    "loss": lambda examples: examples.losses,
    "confidence": confidence,
    "entropy": entropy,
    "features": lambda examples: examples.features,
    # t itself where it is small; beyond doubt, twice of it says little more.
    "evidence": lambda examples: ops.arcsinh(examples.evidence),
    "mean_loss": lambda examples: examples.mean_loss,
}


def observe(signals: Sequence[str | Callable], examples: Examples) -> tf.Tensor:
    """The signals of examples side by side, a float32 tensor `(n, width)`.

    No gradient of the training loss flows through them, and what is not
    finite in them is 0.

    Args:
        signals: list of names in `SIGNALS` and of functions from `Examples`
            to a tensor of shape `(n,)`.
        examples: the `Examples`.
    """
    columns = [_column(signal, examples) for signal in signals]
    observed = ops.stop_gradient(ops.concatenate(columns, -1))
    return ops.where(ops.isfinite(observed), observed, 0.0)


def _column(signal, examples):
    if isinstance(signal, str):
        values = SIGNALS[signal](examples)
    else:
        values = signal(examples)
        if tuple(values.shape[1:]) not in ((), (1,)) or not len(values.shape):
            raise ValueError(
                "A function in `signals` must return a tensor of shape (n,), "
                f"a number for each example. Received: {signal!r}, which "
                f"returned shape {tuple(values.shape)}"
            )
    values = ops.cast(values, "float32")
    return ops.expand_dims(values, -1) if len(values.shape) == 1 else values
