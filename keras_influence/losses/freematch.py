import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.losses.checks import (
    check_momentum,
    check_not_negative,
    check_pair,
)
from keras_influence.losses.loss_state import LossState
from keras_influence.losses.pseudo_label import cross_entropy
from keras_influence.losses.unlabeled_loss import UnlabeledLoss


@keras.saving.register_keras_serializable(package="keras_influence")
class FreeMatch(UnlabeledLoss):
    """FixMatch with thresholds that adapt themselves, and fairness.

    With the predictions `q` for the weak and `Q` for the strong views of a
    batch, averages over steps with the momentum `m`, all from `1/C` on:

        τ    ← m τ + (1 - m) mean max q              the global threshold
        p(c) ← m p(c) + (1 - m) mean q(c)            the local ones
        h(c) ← m h(c) + (1 - m) mean 1(argmax q = c)
        T(c) = p(c) / max_c p(c) · τ
        l_u  = 1(max q_u ≥ T(argmax q_u)) · H(argmax q_u, Q_u)
        L_f  = Σ_c SumNorm(p / h)(c) · log SumNorm(p̄ / h̄)(c)

    `p̄` is the mean of `Q` over the unmasked examples and `h̄` the histogram of
    their classes. The fairness `L_f` is of a whole batch. An example's loss
    has its share of it, `w_f · ⟨∂L_f/∂p̄, Q_u⟩`: where all weights are 1, the
    gradient is that of the published loss, `mean l_u + w_f L_f`.

    Args:
        momentum: float in [0, 1), `m`. Defaults to `0.999`.
        fairness_weight: float, at least 0, `w_f`; published are 0.05, and 0.01
            for very few labels. Defaults to `0.05`.
        views: pair of strings, the names of the weakly and the strongly
            augmented view. Defaults to `("weak", "strong")`.

    Raises:
        ValueError: if an argument is outside its range.

    Example:

    >>> loss = FreeMatch(momentum=0.5)
    >>> loss.start(network=None, classes=2, num_examples=None)
    >>> weak = np.array([[0.0, 4.0], [0.0, 1.0]], "float32")
    >>> logits = {"weak": weak, "strong": np.zeros_like(weak)}
    >>> loss.observe(logits, np.array([0, 1]))
    >>> np.round(loss.thresholds, 3)
    array([0.322, 0.678], dtype=float32)

    Reference: Wang et al. (2023), "FreeMatch: Self-adaptive Thresholding for
    Semi-supervised Learning", equations 5 to 11.
    """

    def __init__(
        self, momentum=0.999, fairness_weight=0.05, views=("weak", "strong")
    ):
        check_momentum(momentum)
        check_not_negative(fairness_weight=fairness_weight)
        self.momentum = momentum
        self.fairness_weight = fairness_weight
        self.views = check_pair(views)
        self.state = LossState()

    def initial_state(self, network, classes, num_examples):
        """Thresholds and frequencies of chance."""
        chance = np.full(classes, 1 / classes, "float32")
        return {
            "threshold": chance[0],
            "probabilities": chance,
            "frequencies": chance,
            "fairness": 0 * chance,
        }

    def observe(self, logits, index):
        """Averages the batch in; then its thresholds are those of the step."""
        weak, strong = (
            ops.cast(ops.softmax(logits[view]), "float32")
            for view in self.views
        )
        self.state.assign(
            threshold=self._averaged("threshold", ops.max(weak, -1)),
            probabilities=self._averaged("probabilities", weak),
            frequencies=self._averaged("frequencies", _classes(weak)),
        )
        mask = ops.cast(self._is_sure(weak), "float32")
        self.state.assign(fairness=self._fairness(strong, mask))

    def _averaged(self, name, batch):
        m = self.momentum
        return m * self.state[name] + (1 - m) * ops.mean(batch, 0)

    def _fairness(self, strong, mask):
        """`∂L_f/∂p̄`, for losses of which the mean is over all examples."""
        total = ops.maximum(ops.sum(mask), 1.0)
        mean = ops.sum(mask[:, None] * strong, 0) / total
        share = ops.sum(mask[:, None] * _classes(strong), 0) / total
        wanted = self.state["probabilities"] * _inverse(
            self.state["frequencies"]
        )
        wanted /= ops.sum(wanted)
        scale = _inverse(share)
        norm = ops.maximum(ops.sum(mean * scale), 1e-12)
        found = mean * scale / norm
        ratio = wanted / (found + 1e-12)
        gradient = scale / norm * (ratio - ops.sum(ratio * found))
        return gradient * ops.cast(ops.size(mask), "float32") / total

    @property
    def thresholds(self) -> tf.Tensor:
        """`T`, of every class."""
        p = self.state["probabilities"]
        return p / ops.max(p) * self.state["threshold"]

    def _is_sure(self, weak):
        lowest = ops.take(self.thresholds, ops.argmax(weak, -1))
        return ops.max(weak, -1) >= ops.cast(lowest, weak.dtype)

    def call(self, logits, labels=None, step=None):
        """Cross-entropy of the strong view, and its share of fairness."""
        weak, strong = (logits[view] for view in self.views)
        losses = cross_entropy(ops.argmax(weak, -1), strong)
        if self.fairness_weight:
            fairness = ops.cast(self.state["fairness"], strong.dtype)
            shares = ops.sum(fairness * ops.softmax(strong), -1)
            losses += self.fairness_weight * shares
        sure = self._is_sure(ops.softmax(weak))
        return losses, ops.cast(sure, weak.dtype)

    def softmax_shares(self, views):
        """All of it from the strong view, where there is no fairness."""
        if self.fairness_weight:
            return None
        return tuple(float(view == self.views[1]) for view in views)

    def get_config(self):
        """The arguments of the constructor."""
        return {
            "momentum": self.momentum,
            "fairness_weight": self.fairness_weight,
            "views": self.views,
        }


def _classes(probabilities):
    """The predicted classes, one-hot."""
    classes = probabilities.shape[-1]
    return ops.one_hot(ops.argmax(probabilities, -1), classes, dtype="float32")


def _inverse(x):
    """`1 / x`, and 0 for a class that does not occur."""
    return ops.where(x > 0, 1 / ops.where(x > 0, x, 1.0), 0.0)
