import keras
import numpy as np
from keras import ops

from keras_influence.losses.checks import (
    check_momentum,
    check_pair,
    check_positive,
)
from keras_influence.losses.loss_state import LossState
from keras_influence.losses.pseudo_label import cross_entropy
from keras_influence.losses.unlabeled_loss import UnlabeledLoss


@keras.saving.register_keras_serializable(package="keras_influence")
class SoftMatch(UnlabeledLoss):
    """FixMatch with a mask between 0 and 1, a Gaussian of the confidence.

    With the prediction `q` for the weak view, averages over steps with the
    momentum `m`, and `k` standard deviations:

        UA(q) = SumNorm(q / E[q])                  uniform alignment
        μ ← m μ + (1 - m) mean max UA(q)           from 1/C on
        v ← m v + (1 - m) variance of max UA(q)    from 1 on
        mask_u = exp(-k² (μ - max UA(q_u))² / 2v) below μ, and 1 above it
        l_u  = mask_u · H(argmax q_u, p(y | strong view))

    `E[q]` is averaged like `μ`, from the first batch on.

    Args:
        momentum: float in [0, 1), `m`. Defaults to `0.999`.
        deviations: positive float, `k`; 1 in the paper's formula, 2 in its
            authors' code. Defaults to `2.0`.
        alignment: boolean, whether predictions are aligned with equal shares
            of all classes before they are weighed. Defaults to `True`.
        views: pair of strings, the names of the weakly and the strongly
            augmented view. Defaults to `("weak", "strong")`.

    Raises:
        ValueError: if an argument is outside its range.

    Example:

    >>> loss = SoftMatch(momentum=0.5, alignment=False)
    >>> loss.start(network=None, classes=2, num_examples=None)
    >>> weak = np.array([[0.0, 4.0], [0.0, 0.1]], "float32")
    >>> logits = {"weak": weak, "strong": np.zeros_like(weak)}
    >>> loss.observe(logits, np.array([0, 1]))
    >>> losses, mask = loss(logits)
    >>> np.round(losses, 3), np.round(mask, 3)
    (array([0.693, 0.693], dtype=float32), array([1.   , 0.963], dtype=float32))

    Reference: Chen et al. (2023), "SoftMatch: Addressing the Quantity-Quality
    Trade-off in Semi-supervised Learning", equations 4 to 9.
    """

    def __init__(
        self,
        momentum=0.999,
        deviations=2.0,
        alignment=True,
        views=("weak", "strong"),
    ):
        check_momentum(momentum)
        check_positive(deviations=deviations)
        self.momentum = momentum
        self.deviations = deviations
        self.alignment = alignment
        self.views = check_pair(views)
        self.state = LossState()

    def initial_state(self, network, classes, num_examples):
        """The mean of chance, and a variance that masks little."""
        return {
            "mean": np.float32(1 / classes),
            "variance": np.float32(1),
            "probabilities": np.zeros(classes, "float32"),
        }

    def observe(self, logits, index):
        """Averages the batch in; its mask then comes from the new averages."""
        weak = ops.cast(ops.softmax(logits[self.views[0]]), "float32")
        before, batch = self.state["probabilities"], ops.mean(weak, 0)
        seen = ops.any(before > 0)
        self.state.assign(
            probabilities=ops.where(seen, self._averaged(before, batch), batch)
        )
        highest = self._highest(weak)
        # Of the sample, as `n - 1` says.
        size = ops.cast(ops.size(highest), "float32")
        variance = ops.var(highest) * size / ops.maximum(size - 1, 1.0)
        self.state.assign(
            mean=self._averaged(self.state["mean"], ops.mean(highest)),
            variance=self._averaged(self.state["variance"], variance),
        )

    def _averaged(self, before, now):
        return self.momentum * before + (1 - self.momentum) * now

    def _highest(self, probabilities):
        """The highest probabilities, of aligned predictions."""
        if self.alignment:
            expected = self.state["probabilities"]
            expected = ops.cast(expected, probabilities.dtype)
            probabilities = probabilities / (expected + 1e-6)
            total = ops.sum(probabilities, -1, keepdims=True)
            probabilities = probabilities / total
        return ops.max(probabilities, -1)

    def call(self, logits, labels=None, step=None):
        """Cross-entropy of the strong view with the weak view's labels."""
        weak, strong = (logits[view] for view in self.views)
        highest = self._highest(ops.stop_gradient(ops.softmax(weak)))
        mean = ops.cast(self.state["mean"], weak.dtype)
        variance = ops.cast(self.state["variance"], weak.dtype)
        below = self.deviations * ops.minimum(highest - mean, 0.0)
        mask = ops.exp(-(below**2) / (2 * ops.maximum(variance, 1e-12)))
        return cross_entropy(ops.argmax(weak, -1), strong), mask

    def softmax_shares(self, views):
        """All of it from the strong view."""
        return tuple(float(view == self.views[1]) for view in views)

    def get_config(self):
        """The arguments of the constructor."""
        return {
            "momentum": self.momentum,
            "deviations": self.deviations,
            "alignment": self.alignment,
            "views": self.views,
        }
