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
    table = np.zeros((len(names), len(names)), int)
    np.add.at(table, (given[known], predicted[known]), 1)
    wrong = table * ~np.eye(len(names), dtype=bool)
    most = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
    places = np.stack(np.unravel_index(most, wrong.shape), 1).tolist()
    pairs = [
        (names[i], names[j], int(wrong[i, j])) for i, j in places if wrong[i, j]
    ]
    rows = [
        (name, [(int(n), n / max(counts.sum(), 1)) for n in counts])
        for name, counts in zip(names, table, strict=True)
        if counts.sum() or len(names) <= CLASSES
    ]
    few = len(names) <= CLASSES
    return {"names": list(names), "rows": rows if few else [], "pairs": pairs}
