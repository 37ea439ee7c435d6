import numbers

import keras
from keras import ops

from keras_influence.losses.unlabeled_loss import (
    UnlabeledLoss,
    class_probabilities,
)


@keras.saving.register_keras_serializable(package="keras_influence")
class GivenLabels(UnlabeledLoss):
    """Cross-entropy with labels from a source that may be wrong.

    For examples that heuristics, a crowd or a language model have labelled:
    their weights learn whom to trust. The loss is the average over all views.
    Examples with the label -1 have none and are masked.

    Args:
        label_smoothing: float in [0, 1), the share of a label that is spread
            over all classes. Defaults to `0.0`.

    Raises:
        ValueError: if `label_smoothing` is outside its range.
        tf.errors.InvalidArgumentError: when called, if a label is outside the
            classes. Compiled by XLA, such an example is masked.

    Example:

    >>> loss = GivenLabels()
    >>> logits = np.array([[0.0, 4.0], [0.0, 1.0]], "float32")
    >>> losses, mask = loss({"original": logits}, labels=np.array([0, -1]))
    >>> np.round(losses, 3), np.array(mask)
    (array([4.018, 0.   ], dtype=float32), array([1., 0.], dtype=float32))
    """

    requires_labels = True
    # Little, until it is known whom to trust: `benchmarks/EFFECT.md`.
    initial_weight = 0.1

    def __init__(self, label_smoothing=0.0):
        real = isinstance(label_smoothing, numbers.Real)
        if not (real and 0 <= label_smoothing < 1):
            raise ValueError(
                "`label_smoothing` must be in the range [0, 1). "
                f"Received: label_smoothing={label_smoothing}"
            )
        self.label_smoothing = label_smoothing

    def call(self, logits, labels=None, step=None):
        """Cross-entropy of every view with the given labels."""
        views = list(logits.values())
        targets = class_probabilities(labels, views[0])
        mask = ops.cast(ops.any(targets > 0, -1), targets.dtype)
        smooth = self.label_smoothing
        if smooth:
            targets = (1 - smooth) * targets + smooth / targets.shape[-1]
        logs = sum(map(ops.log_softmax, views[1:]), ops.log_softmax(views[0]))
        return ops.sum(targets * -logs, -1) / len(views), mask

    def softmax_shares(self, views):
        """The same for all."""
        return (1 / len(views),) * len(views)

    def get_config(self):
        """The arguments of the constructor."""
        return {"label_smoothing": self.label_smoothing}
