"""A warning when consistency training collapses."""

import itertools

import keras
import numpy as np

BATCH = 256


class CollapseWarning(keras.callbacks.Callback):
    """Warns when a network gives all inputs the same class.

    A constant prediction is perfectly consistent between the views of an
    example. Where the labels do not hold against it, training with unlabelled
    data ends there, with a falling loss. All inputs of one class at the end of
    two epochs in a row, or of the last one, are taken for that.

    Args:
        x: inputs of several classes, an array or a nest of arrays.
        limit: float, the largest share of one class that is no collapse.
            Defaults to `0.95`.

    Attributes:
        shares: list of the largest share of one class after each epoch.
    """

    def __init__(self, x, limit: float = 0.95):
        super().__init__()
        self.x = x
        self.limit = limit
        self.shares = []

    def on_epoch_end(self, epoch, logs=None):
        """Counts the epochs that ended with a single class."""
        network = getattr(self.model, "network", self.model)
        self.shares.append(largest_share(predicted(network, self.x)))
        if self._collapsed_for() == 2:
            self._warn(f"at the end of epochs {epoch} and {epoch + 1}")

    def on_train_end(self, logs=None):
        """Warns of a collapse in the last epoch, which none follows."""
        if self._collapsed_for() == 1:
            self._warn("at the end of training")

    def _collapsed_for(self):
        """How many of the last epochs ended with a single class."""
        epochs = itertools.takewhile(
            lambda share: share > self.limit, reversed(self.shares)
        )
        return len(list(epochs))

    def _warn(self, when):
        print(
            f"\nWarning: {when} the network gives over {self.limit:.0%} of the "
            "validation inputs the same class: the consistency loss may have "
            "made the predictions collapse. Lower `weights.initial_weight` or "
            "`optimizer.learning_rate`, or lower or unset "
            "`unlabeled_loss.confidence`: a weak network is sure of one class "
            "first."
        )


def predicted(network: keras.Model, x) -> np.ndarray:
    """The classes that a network gives to inputs.

    Args:
        network: a `keras.Model` that maps inputs to logits.
        x: inputs, an array or a nest of arrays.
    """

    def classes(start):
        rows = keras.tree.map_structure(
            lambda leaf: leaf[start : start + BATCH], x
        )
        # Step by step: `predict` traces every network, and every size, anew.
        logits = network(rows, training=False)
        return keras.ops.convert_to_numpy(logits).argmax(-1)

    count = len(keras.tree.flatten(x)[0])
    return np.concatenate([*map(classes, range(0, count, BATCH))])


def largest_share(classes: np.ndarray) -> float:
    """The share of the most frequent class.

    Args:
        classes: int array of shape `(n,)`.

    Example:
    >>> largest_share(np.array([2, 0, 2, 2]))
    0.75
    """
    return float(np.bincount(classes).max() / len(classes))
