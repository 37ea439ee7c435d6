import math

import keras
import numpy as np
from keras import ops

from keras_influence.losses.checks import (
    check_confidence,
    check_not_negative,
    check_pair,
)
from keras_influence.losses.unlabeled_loss import (
    UnlabeledLoss,
    class_probabilities,
)

_SCHEDULES = {
    "linear": lambda ratio: ratio,
    "exp": lambda ratio: ops.exp(5 * (ratio - 1)),
    "log": lambda ratio: 1 - ops.exp(-5 * ratio),
}


@keras.saving.register_keras_serializable(package="keras_influence")
class UDA(UnlabeledLoss):
    """Divergence of the augmented view from the sharpened original view.

    The loss of an example is `KL(softmax(original / T) ‖ softmax(augmented))`.
    No gradient flows through the original view. Masked are the examples whose
    highest probability in the original view, not sharpened, is not above
    `confidence`.

    With an `entropy_weight` the entropy of the original view is added for
    every example, confident or not. Then the losses hold the sum of both
    parts, the divergence already masked, and the mask is 1 throughout: the
    weight λ of an example multiplies both parts.

    With `annealing` a labelled example counts only while its right class has
    a probability of at most `schedule(step / annealing_steps) · (1 - 1/C) +
    1/C`, where C is the number of classes.

    Args:
        temperature: positive float T, below 1 to sharpen. Defaults to `None`:
            the original view as it is.
        confidence: float in [0, 1], the probability to exceed. Defaults to
            `None`: no example is masked.
        entropy_weight: float, at least 0. Defaults to `0.0`.
        annealing: `"linear"`, `"exp"`, `"log"` or `None`, the schedule of
            training-signal annealing. Defaults to `None`.
        annealing_steps: positive integer, the training steps after which the
            schedule ends. Defaults to `None`; required with `annealing`.
        views: pair of strings, the names of the original and the augmented
            view. Defaults to `("weak", "strong")`.

    Raises:
        ValueError: if an argument is outside its range.

    Example:

    >>> loss = UDA(temperature=0.4, confidence=0.8)
    >>> weak = np.array([[0.0, 2.0], [0.0, 1.0]], "float32")
    >>> losses, mask = loss({"weak": weak, "strong": np.zeros_like(weak)})
    >>> np.round(losses, 3), np.array(mask)
    (array([0.653, 0.425], dtype=float32), array([1., 0.], dtype=float32))

    Reference: Xie et al. (2020), "Unsupervised Data Augmentation for
    Consistency Training", equation 1 and section 3.
    """

    def __init__(
        self,
        temperature=None,
        confidence=None,
        entropy_weight=0.0,
        annealing=None,
        annealing_steps=None,
        views=("weak", "strong"),
    ):
        if temperature is not None and not 0 < temperature < math.inf:
            raise ValueError(
                "`temperature` must be positive and finite, or None. "
                f"Received: temperature={temperature}"
            )
        if confidence is not None:
            check_confidence(confidence)
        check_not_negative(entropy_weight=entropy_weight)
        if annealing is not None and annealing not in _SCHEDULES:
            raise ValueError(
                f"`annealing` must be one of {list(_SCHEDULES)} or None. "
                f"Received: annealing={annealing!r}"
            )
        steps_are_integer = isinstance(annealing_steps, (int, np.integer))
        if annealing is not None and not (
            steps_are_integer and annealing_steps > 0
        ):
            raise ValueError(
                "`annealing_steps` must be a positive integer where "
                f"`annealing` is set. Received: annealing={annealing!r}, "
                f"annealing_steps={annealing_steps}"
            )
        self.temperature = temperature
        self.confidence = confidence
        self.entropy_weight = entropy_weight
        self.annealing = annealing
        self.annealing_steps = annealing_steps
        self.views = check_pair(views)

    def call(self, logits, labels=None, step=None):
        """Masked divergence, plus the entropy of the original view."""
        original, augmented = (logits[view] for view in self.views)
        target = ops.stop_gradient(original / (self.temperature or 1.0))
        losses = divergence(target, augmented)
        mask = self._confident(original)
        if not self.entropy_weight:
            return losses, mask
        losses = mask * losses + self.entropy_weight * entropy(original)
        return losses, ops.ones_like(mask)

    def _confident(self, logits):
        highest = ops.max(ops.softmax(logits), -1)
        if self.confidence is None:
            return ops.ones_like(highest)
        return ops.cast(highest > self.confidence, logits.dtype)

    def softmax_shares(self, views):
        """All of it from the augmented view, if there is no entropy."""
        if self.entropy_weight:
            return None
        return tuple(float(view == self.views[1]) for view in views)

    def labeled_weights(self, labels, logits, step=None):
        """A plain mean, or that over the examples annealing still keeps."""
        if self.annealing is None:
            return super().labeled_weights(labels, logits, step)
        if step is None:
            raise ValueError(
                "`UDA` with `annealing` needs the training step. "
                "Received: step=None"
            )
        right = class_probabilities(labels, logits) * ops.softmax(logits)
        ratio = ops.cast(step, logits.dtype) / self.annealing_steps
        progress = _SCHEDULES[self.annealing](ops.minimum(ratio, 1.0))
        chance = 1 / logits.shape[-1]
        threshold = progress * (1 - chance) + chance
        kept = ops.cast(ops.sum(right, -1) <= threshold, logits.dtype)
        return kept / ops.maximum(ops.sum(kept), 1.0)

    def get_config(self):
        """The arguments of the constructor."""
        return {
            "temperature": self.temperature,
            "confidence": self.confidence,
            "entropy_weight": self.entropy_weight,
            "annealing": self.annealing,
            "annealing_steps": self.annealing_steps,
            "views": self.views,
        }


def divergence(target, logits):
    """`KL(softmax(target) ‖ softmax(logits))` of every example."""
    logs = ops.log_softmax(target)
    return ops.sum(ops.exp(logs) * (logs - ops.log_softmax(logits)), -1)


def entropy(logits):
    """The entropy of the prediction of every example."""
    logs = ops.log_softmax(logits)
    return -ops.sum(ops.exp(logs) * logs, -1)
