"""Given labels against predicted ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np

# More classes than this fit no screen; then only the pairs are listed.
CLASSES = 20
PAIRS = 12


def confusion(given, predicted, names: Sequence[str]) -> dict[str, Any] | None:
    """How often each given label was predicted as each class.

    Args:
        given: int array of shape `(n,)`, -1 for no label.
        predicted: int array of shape `(n,)`.
        names: the names of the classes.

    Returns:
        dict with `"pairs"`, the most frequent `(given, predicted, count)` that
        differ, and `"rows"`: a name and, for each class, count and share of
        the row; none for many classes. `None` without any label.

    Example:
    >>> confusion(np.array([0, 0, -1]), np.array([0, 1, 1]), "ab")["pairs"]
    [('a', 'b', 1)]
    """
    known = given >= 0
    if not known.any():
        return None
    given, predicted = given[known], predicted[known]
    pairs = [(names[i], names[j], n) for i, j, n in _pairs(given, predicted)]
    found = {"names": list(names), "rows": [], "pairs": pairs}
    if len(names) <= CLASSES:
        table = np.zeros((len(names), len(names)), int)
        np.add.at(table, (given, predicted), 1)
        found["rows"] = [
            (name, [(int(n), n / max(counts.sum(), 1)) for n in counts])
            for name, counts in zip(names, table, strict=True)
        ]
    return found


def _pairs(given, predicted):
    """The most frequent classes that differ, and how often they do."""
    wrong = np.stack([given, predicted], 1)[given != predicted]
    pairs, counts = np.unique(wrong, axis=0, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:PAIRS]
    return [(*pairs[k].tolist(), int(counts[k])) for k in most]
