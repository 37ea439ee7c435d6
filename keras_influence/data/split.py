from typing import NamedTuple

import numpy as np

from keras_influence.data.arrays import is_missing
from keras_influence.data.checks import check_integer

# What is left of a missing value where an array is made one of strings.
_GAPS = {"U": ["nan", "<NA>"], "S": [b"nan", b"<NA>"]}


class Split(NamedTuple):
    """Rows of a data set by role.

    Attributes:
        labeled: ascending `int64` array, the rows whose labels are used.
        validation: likewise, the rows that judge.
        unlabeled: likewise, the others.
    """

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
        y: array, list or series of integers or strings of shape `(n,)`, the
            classes. A negative integer, NaN or None means that the label is
            not known: such rows can only be unlabelled.
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
    check_integer("labeled", labeled, 1)
    check_integer("validation", validation, 0)
    check_integer("seed", seed, 0)
    if seed >= 2**32:
        raise ValueError(
            "`seed` must be below 2**32, as those of NumPy's `RandomState` "
            f"are. Received: seed={seed!r}"
        )
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
    train, judge = (np.sort(np.concatenate(part)) for part in chosen)

    taken = [judge] if include_labeled else [train, judge]
    rest = np.setdiff1d(np.arange(len(y)), np.concatenate(taken))
    if unlabeled is not None:
        check_integer("unlabeled", unlabeled, 1)
        if unlabeled > len(rest):
            raise ValueError(
                f"{len(rest)} rows remain for `unlabeled`. Received: "
                f"unlabeled={unlabeled}"
            )
        rest = np.sort(random.permutation(rest)[:unlabeled])
    return Split(labeled=train, validation=judge, unlabeled=rest)


def _known(y):
    """Rows that have a label, and their labels."""
    if isinstance(y, np.ma.MaskedArray):
        gap = np.array(None, dtype=object)
        y = np.where(np.ma.getmaskarray(y), gap, y.data)
    # As an array of strings, NaN beside strings would be a class "nan".
    y = np.asarray(y, dtype=object if isinstance(y, (list, tuple)) else None)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    y = y.astype(object) if y.dtype.kind == "T" else y
    if y.ndim != 1 or y.size == 0 or y.dtype.kind not in "biufSUO":
        advice = "`np.argmax(y, axis=-1)` makes one of one-hot labels. "
        raise ValueError(
            "`y` must be a non-empty array of integers or strings of shape "
            f"`(n,)`; {advice if y.ndim == 2 else ''}Received: an array of "
            f"shape {y.shape} and dtype {y.dtype}"
        )
    missing = np.zeros(len(y), bool)
    if y.dtype.kind == "f":
        missing = np.isnan(y)
    elif y.dtype.kind == "O":
        missing = np.array([is_missing(label) for label in y])
    rows = np.flatnonzero(~missing)
    labels = _classes(y[rows])
    if labels.dtype.kind == "i":
        rows, labels = rows[labels >= 0], labels[labels >= 0]
    if rows.size == 0:
        raise ValueError(
            "`y` has no row with a label: all are negative or missing, and "
            "only unlabelled rows may be."
        )
    return rows, labels


def _classes(labels):
    """Labels that are there, as integers or strings."""
    if labels.dtype.kind == "O":
        strings = [isinstance(label, (str, bytes)) for label in labels]
        if any(strings) and not all(strings):
            raise ValueError(
                "`y` must be integers or strings. Received: both in one array"
            )
        labels = np.array(labels.tolist())
        if labels.ndim != 1 or labels.dtype.kind not in "biufSU":
            raise ValueError(
                "`y` must be integers or strings. Received: "
                f"{labels[:1].tolist()}"
            )
    if labels.dtype.kind == "f":
        whole = np.isfinite(labels) & (labels == np.round(labels))
        if not whole.all():
            raise ValueError(
                "`y` must be classes: integers or strings. Received: "
                f"{np.unique(labels[~whole])[:5]}"
            )
        labels = labels.astype("int64")
    if np.isin(labels, _GAPS.get(labels.dtype.kind, ())).any():
        raise ValueError(
            "`y` has the string 'nan' as a label, which NumPy and pandas make "
            "of a missing value. Pass it as None, as in `np.array(y, object)`, "
            "or give the class another name."
        )
    return labels


def _groups(y, balanced):
    """Rows with a label: one group a class, or a single one of them all."""
    known, labels = _known(y)
    if not balanced:
        return {"The data set": known}
    classes, of_row = np.unique(labels, return_inverse=True)
    return {f"Class {c!s}": known[of_row == k] for k, c in enumerate(classes)}


def _shares(total, groups, random):
    """`total` as evenly as can be; who has one more is drawn."""
    place = random.permutation(groups)
    return total // groups + (place < total % groups)
