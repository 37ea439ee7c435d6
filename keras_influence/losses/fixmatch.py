import keras

from keras_influence.losses.checks import check_confidence, check_pair
from keras_influence.losses.pseudo_label import cross_entropy, pseudo_labels
from keras_influence.losses.unlabeled_loss import UnlabeledLoss


@keras.saving.register_keras_serializable(package="keras_influence")
class FixMatch(UnlabeledLoss):
    """Cross-entropy of the strong view with the weak view's prediction.

    Examples whose highest probability in the weak view is below `confidence`
    are masked. No gradient flows through the weak view.

    Args:
        confidence: float in [0, 1], lowest probability of a pseudo-label.
            Defaults to `0.95`.
        views: pair of strings, the names of the weakly and the strongly
            augmented view. Defaults to `("weak", "strong")`.

    Raises:
        ValueError: if an argument is outside its range.

    Example:

    >>> loss = FixMatch(confidence=0.9)
    >>> weak = np.array([[0.0, 4.0], [0.0, 1.0]], "float32")
    >>> losses, mask = loss({"weak": weak, "strong": np.zeros_like(weak)})
    >>> np.round(losses, 3), np.array(mask)
    (array([0.693, 0.693], dtype=float32), array([1., 0.], dtype=float32))

    Reference: Sohn et al. (2020), "FixMatch: Simplifying Semi-Supervised
    Learning with Consistency and Confidence", equation 4.
    """

    def __init__(self, confidence=0.95, views=("weak", "strong")):
        check_confidence(confidence)
        self.confidence = confidence
        self.views = check_pair(views)

    def call(self, logits, labels=None, step=None):
        """Cross-entropy of the strong view with the weak view's labels."""
        weak, strong = (logits[view] for view in self.views)
        targets, mask = pseudo_labels(weak, self.confidence)
        return cross_entropy(targets, strong), mask

    def softmax_shares(self, views):
        """All of it from the strong view."""
        return tuple(float(view == self.views[1]) for view in views)

    def get_config(self):
        """The arguments of the constructor."""
        return {"confidence": self.confidence, "views": self.views}
