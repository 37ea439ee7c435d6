import keras
from keras import ops

from keras_influence.losses.checks import check_confidence
from keras_influence.losses.unlabeled_loss import UnlabeledLoss


@keras.saving.register_keras_serializable(package="keras_influence")
class PseudoLabel(UnlabeledLoss):
    """Cross-entropy with the class that the network itself predicts.

    Examples whose highest probability is below `confidence` are masked.

    Args:
        confidence: float in [0, 1], lowest probability of a pseudo-label.
            Defaults to `0.95`.
        view: string, name of the view. Defaults to `None`: the only one that
            there is.

    Raises:
        ValueError: if `confidence` is outside its range, or, when called,
            if `view` is `None` and there are several.

    Example:

    >>> loss = PseudoLabel(confidence=0.9)
    >>> logits = np.array([[0.0, 4.0], [0.0, 1.0]], "float32")
    >>> losses, mask = loss({"original": logits})
    >>> np.round(losses, 3), np.array(mask)
    (array([0.018, 0.313], dtype=float32), array([1., 0.], dtype=float32))

    Reference: Lee (2013), "Pseudo-Label: The Simple and Efficient
    Semi-Supervised Learning Method for Deep Neural Networks".
    """

    def __init__(self, confidence=0.95, view=None):
        check_confidence(confidence)
        self.confidence = confidence
        self.view = view

    @property
    def views(self) -> tuple | None:
        """The view, or `None` for the only one."""
        return None if self.view is None else (self.view,)

    def call(self, logits, labels=None, step=None):
        """Cross-entropy of the view with its own pseudo-labels."""
        if self.view is None and len(logits) != 1:
            raise ValueError(
                "`PseudoLabel` compares a single view with itself: choose one "
                f"with the argument `view`. Received: views {sorted(logits)}"
            )
        view = logits[self.view or next(iter(logits))]
        targets, mask = pseudo_labels(view, self.confidence)
        return cross_entropy(targets, view), mask

    def softmax_shares(self, views):
        """All of it from the view."""
        return tuple(float(view == (self.view or view)) for view in views)

    def get_config(self):
        """The arguments of the constructor."""
        return {"confidence": self.confidence, "view": self.view}


def pseudo_labels(logits, confidence):
    """Predicted classes, and the mask of those that are confident enough."""
    highest = ops.max(ops.softmax(logits), -1)
    return ops.argmax(logits, -1), ops.cast(highest >= confidence, logits.dtype)


def cross_entropy(labels, logits):
    """Cross-entropy of every example with an integer label."""
    return ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
