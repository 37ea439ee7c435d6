import keras
from keras import ops

import keras_influence as ki


@keras.saving.register_keras_serializable(package="applications")
class GivenOr(ki.losses.UnlabeledLoss):
    """The loss with the given label, and another one where there is none.

    Args:
        other: a `keras_influence.losses.UnlabeledLoss` that needs no labels.

    Example:
    >>> loss = GivenOr(ki.losses.PseudoLabel(confidence=0.9))
    >>> logits = np.array([[0.0, 4.0], [0.0, 4.0], [0.0, 1.0]], "float32")
    >>> losses, mask = loss({"original": logits}, np.array([0, -1, -1]))
    >>> np.round(losses, 3), np.array(mask)
    (array([4.018, 0.018, 0.313], dtype=float32),
     array([1., 1., 0.], dtype=float32))
    """

    requires_labels = True
    initial_weight = ki.losses.GivenLabels.initial_weight

    def __init__(self, other):
        self.other = other
        self.views = other.views
        self.given = ki.losses.GivenLabels()

    def call(self, logits, labels=None, step=None):
        """Both losses, each where it applies."""
        losses, known = self.given.call(logits, labels, step)
        others, mask = self.other.call(logits, None, step)
        return (
            ops.where(known > 0, losses, others),
            ops.where(known > 0, known, mask),
        )

    def get_config(self):
        """The arguments of the constructor."""
        return {"other": keras.saving.serialize_keras_object(self.other)}

    @classmethod
    def from_config(cls, config):
        """A loss from what `get_config` returned."""
        return cls(keras.saving.deserialize_keras_object(config["other"]))
