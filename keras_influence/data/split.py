from typing import NamedTuple

import numpy as np

from keras_influence.data.checks import check_integer


class Split(NamedTuple):
    """Rows of a data set by role, each an ascending `int64` array."""

    labeled: np.ndarray
    validation: np.ndarray
    unlabeled: np.ndarray


def split(
    y,
    labeled: int,
    validation: int = 0,
    unlabeled: int | None = None,
    seed: int = 0,
    balanced: bool = True,
    include_labeled: bool = False,
) -> Split:
    """Splits a data set into labelled, validation and unlabelled rows.

    Labelled and validation rows are disjoint, and so are validation and
    unlabelled ones. With the same seed the validation rows do not depend on
    `labeled`, and a smaller labelled set is part of a larger one, so that
    results at several sizes compare. The same seed gives the same rows with
    every version of NumPy.

    Args:
        y: array of integers or strings of shape `(n,)`, the classes. A
            negative integer means that the label is not known: such rows can
            only be unlabelled.
        labeled: int, number of labelled rows in all.
        validation: int, number of validation rows in all. Defaults to `0`.
        unlabeled: int, number of unlabelled rows, drawn whatever their class.
            Defaults to `None`: all that remain.
        seed: non-negative int below `2**32`. Defaults to `0`.
        balanced: whether the labelled rows, and the validation rows, are
            spread evenly over the classes: if their number does not divide,
            some classes have one row more. Otherwise rows are drawn whatever
            their class. Defaults to `True`.
        include_labeled: whether the labelled rows stay in the unlabelled part,
            as in UDA and FixMatch. Defaults to `False`.

    Returns:
        A `Split`, a named tuple of ascending index arrays `labeled`,
        `validation` and `unlabeled`.

    Raises:
        ValueError: if a class, or the whole, has too few rows.

    Example:
    >>> y = np.repeat(["cat", "dog"], 50)
    >>> rows = split(y, labeled=4, validation=10)
    >>> y[rows.labeled]
    array(['cat', 'cat', 'dog', 'dog'], dtype='<U3')
    >>> rows.validation.size, rows.unlabeled.size
    (10, 86)
    """
    y = _check_labels(y)
    check_integer("labeled", labeled, 1)
    check_integer("validation", validation, 0)
    check_integer("seed", seed, 0)
    # The stream of `RandomState` is frozen, that of `default_rng` is not.
    random = np.random.RandomState(seed)
    groups = _groups(y, balanced)
    labeled_counts = _shares(labeled, len(groups), random)
    validation_counts = _shares(validation, len(groups), random)
    chosen = [], []
    for (name, rows), first, last in zip(
        groups.items(), labeled_counts, validation_counts, strict=True
    ):
        if len(rows) < first + last:
            raise ValueError(
                f"{name} has {len(rows)} labelled rows, but {first} for "
                f"`labeled` and {last} for `validation` are needed. Received: "
                f"labeled={labeled}, validation={validation}"
            )
        rows = random.permutation(rows)
        chosen[0].append(rows[:first])
        chosen[1].append(rows[len(rows) - last :])
    labeled, validation = (np.sort(np.concatenate(part)) for part in chosen)

    taken = [validation] if include_labeled else [labeled, validation]
    rest = np.setdiff1d(np.arange(len(y)), np.concatenate(taken))
    if unlabeled is not None:
        check_integer("unlabeled", unlabeled, 1)
        if unlabeled > len(rest):
            raise ValueError(
                f"{len(rest)} rows remain for `unlabeled`. Received: "
                f"unlabeled={unlabeled}"
            )
        rest = np.sort(random.permutation(rest)[:unlabeled])
    return Split(labeled, validation, rest)


def _check_labels(y):
    y = np.asarray(y)
    y = np.asarray(y.tolist()) if y.dtype.kind == "O" else y
    if y.ndim != 1 or y.size == 0 or y.dtype.kind not in "biuSUT":
        raise ValueError(
            "`y` must be a non-empty array of integers or strings of shape "
            "`(n,)`; `np.argmax(y, axis=-1)` makes one of one-hot labels. "
            f"Received: an array of shape {y.shape} and dtype {y.dtype}"
        )
    return y


def _groups(y, balanced):
    """Rows with a label: one group a class, or a single one of them all."""
    known = np.arange(len(y))
    if y.dtype.kind == "i":
        known = known[y >= 0]
    if known.size == 0:
        raise ValueError(
            "`y` has no row with a label: all are negative, and only "
            "unlabelled rows may be."
        )
    if not balanced:
        return {"The data set": known}
    classes, of_row = np.unique(y[known], return_inverse=True)
    return {f"Class {c!s}": known[of_row == k] for k, c in enumerate(classes)}


def _shares(total, groups, random):
    """`total` as evenly as can be; who has one more is drawn."""
    place = random.permutation(groups)
    return total // groups + (place < total % groups)
