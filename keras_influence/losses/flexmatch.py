import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.losses.checks import check_confidence, check_pair
from keras_influence.losses.loss_state import LossState
from keras_influence.losses.pseudo_label import cross_entropy
from keras_influence.losses.unlabeled_loss import UnlabeledLoss


@keras.saving.register_keras_serializable(package="keras_influence")
class FlexMatch(UnlabeledLoss):
    """FixMatch with a threshold for every class, by how well it is learned.

    The learning status of a class counts the unlabelled examples that were
    surely of it when they were seen last:

        n(c) = Σ_u 1(max p(y | u) ≥ τ) · 1(argmax p(y | u) = c)
        β(c) = n(c) / max(max_c n(c), N - Σ_c n(c))
        T(c) = β(c) / (2 - β(c)) · τ
        l_u  = 1(max q_u ≥ T(argmax q_u)) · H(argmax q_u, p(y | strong view))

    where `q_u` is the prediction for the weak view. The thresholds of a step
    come from the steps before it. One number is kept for every example.

    Args:
        confidence: float in [0, 1], `τ`. Defaults to `0.95`.
        warmup: boolean, whether the examples that were never sure hold the
            thresholds down, as above; without it `β` is `n / max n`. Defaults
            to `True`.
        views: pair of strings, the names of the weakly and the strongly
            augmented view. Defaults to `("weak", "strong")`.

    Raises:
        ValueError: if an argument is outside its range, or the model has no
            `num_unlabeled`.

    Example:

    >>> loss = FlexMatch(confidence=0.9)
    >>> loss.start(network=None, classes=2, num_examples=3)
    >>> weak = np.array([[0.0, 4.0], [1.0, 0.0]], "float32")
    >>> logits = {"weak": weak, "strong": np.zeros_like(weak)}
    >>> loss.observe(logits, np.array([2, 0]))  # One of three is sure.
    >>> loss.observe(logits, np.array([2, 0]))
    >>> np.round(loss.thresholds, 3)
    array([0. , 0.3], dtype=float32)

    Reference: Zhang et al. (2021), "FlexMatch: Boosting Semi-Supervised
    Learning with Curriculum Pseudo Labeling", equations 5 to 11.
    """

    def __init__(self, confidence=0.95, warmup=True, views=("weak", "strong")):
        check_confidence(confidence)
        self.confidence = confidence
        self.warmup = warmup
        self.views = check_pair(views)
        self.state = LossState()

    def initial_state(self, network, classes, num_examples):
        """No example is sure, no class is learned."""
        if num_examples is None:
            raise ValueError(
                "`FlexMatch` keeps a label for every example: make the model "
                "with `num_unlabeled`. Received: num_unlabeled=None"
            )
        return {
            # Floats, which every device can scatter and XLA finds there.
            "labels": np.full(num_examples, -1, "float32"),
            "counts": np.array([num_examples, *[0] * classes], "int32"),
            "status": np.zeros(classes, "float32"),
        }

    def observe(self, logits, index):
        """The status by the sure examples so far; then counts the batch."""
        counts = self.state["counts"]
        sure_of = counts[1:]
        highest = ops.max(counts if self.warmup else sure_of)
        status = ops.cast(sure_of, "float32") / ops.cast(
            ops.maximum(highest, 1), "float32"
        )
        self.state.assign(status=status)
        ids = ops.sort(index)
        before = self._count(ids)
        weak = logits[self.views[0]]
        sure = ops.max(ops.softmax(weak), -1) >= self.confidence
        predicted = ops.cast(ops.argmax(weak, -1), "float32")
        labels = ops.where(sure, predicted, self.state.rows("labels", index))
        self.state.assign_rows("labels", index, labels)
        self.state.assign(counts=counts + self._count(ids) - before)

    def _count(self, ids):
        """How many of these examples are unsure, and surely of each class."""
        first = ops.concatenate([ids[:1] == ids[:1], ids[1:] != ids[:-1]])
        places = ops.cast(self.state.rows("labels", ids), "int32") + 1
        counts = tf.math.unsorted_segment_sum(
            ops.cast(first, "float32"), places, self.state["counts"].shape[0]
        )
        return ops.cast(counts, "int32")

    @property
    def thresholds(self) -> tf.Tensor:
        """`T`, of every class."""
        status = self.state["status"]
        return self.confidence * status / (2 - status)

    def call(self, logits, labels=None, step=None):
        """Cross-entropy of the strong view with the weak view's labels."""
        weak, strong = (logits[view] for view in self.views)
        targets = ops.argmax(weak, -1)
        lowest = ops.cast(ops.take(self.thresholds, targets), weak.dtype)
        sure = ops.max(ops.softmax(weak), -1) >= lowest
        return cross_entropy(targets, strong), ops.cast(sure, weak.dtype)

    def softmax_shares(self, views):
        """All of it from the strong view."""
        return tuple(float(view == self.views[1]) for view in views)

    def get_config(self):
        """The arguments of the constructor."""
        return {
            "confidence": self.confidence,
            "warmup": self.warmup,
            "views": self.views,
        }
