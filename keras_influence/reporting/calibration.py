"""How far confidence and accuracy are apart."""

from typing import NamedTuple

import numpy as np


class Bin(NamedTuple):
    """Predictions of about one confidence."""

    confidence: float
    accuracy: float
    count: int


class Calibration(NamedTuple):
    """A reliability diagram's bins, and the distance from its diagonal."""

    bins: list[Bin]
    error: float


def calibration(probabilities, labels, bins: int = 10) -> Calibration:
    """Compares what a network is sure of with what is right.

    Args:
        probabilities: float array of shape `(n, classes)`.
        labels: int array of shape `(n,)`.
        bins: int, the number of intervals of confidence, of one width; empty
            ones are left out. Defaults to `10`.

    Returns:
        A `Calibration`; its error is the mean distance between confidence and
        accuracy over the examples, the expected calibration error.

    Example:
    >>> calibration([[0.9, 0.1], [0.9, 0.1]], [0, 1])
    Calibration(bins=[Bin(confidence=0.9, accuracy=0.5, count=2)], error=0.4)

    Reference: Guo et al., "On Calibration of Modern Neural Networks", 2017.
    """
    probabilities = np.asarray(probabilities)
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == np.asarray(labels)
    place = np.clip((confidence * bins).astype(int), 0, bins - 1)
    found = [
        Bin(
            float(confidence[place == k].mean()),
            float(right[place == k].mean()),
            int((place == k).sum()),
        )
        for k in np.unique(place)
    ]
    gaps = [abs(b.confidence - b.accuracy) * b.count for b in found]
    return Calibration(found, sum(gaps) / len(right))
