"""A user's data as the trainings take them."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np

from applications.own.records import Records, class_numbers


@dataclasses.dataclass
class OwnData:
    """A user's data.

    Args:
        records: `Records`, a row an example.
        x: the examples as the network takes them: an array or a sparse matrix.
        shown: the examples as people see them.
        complete: function from a trained network to a `keras.Model` that takes
            the data as they come, and loads without this library.
        views: dict of the views of unlabelled examples.
        consistency: str, the loss on examples without a label.
        skipped: list of pairs: what could not be read, and why.
        remarks: list of sentences, what else the user should know.
    """

    records: Records
    x: object
    shown: object
    complete: Callable[[keras.Model], keras.Model]
    views: dict = dataclasses.field(default_factory=lambda: {"original": None})
    consistency: str = "PseudoLabel"
    skipped: list = dataclasses.field(default_factory=list)
    remarks: list = dataclasses.field(default_factory=list)

    def __post_init__(self):
        self.labels, self.class_names = class_numbers(self.records)
        if self.trusted.all():
            raise ValueError(
                "Every label is trusted: there is nothing whose weight could "
                "be learned. Add examples without a label, or with labels "
                "that nobody has checked."
            )

    @property
    def ids(self) -> np.ndarray:
        """What the user calls the examples."""
        return self.records.ids

    @property
    def trusted(self) -> np.ndarray:
        """Boolean array: whose labels somebody has checked."""
        return self.records.trusted

    def folds(self, count: int, seed: int) -> np.ndarray:
        """A fold for each trusted example, spread evenly over the classes.

        Args:
            count: int, the number of folds.
            seed: int, seed of the draw.

        Returns:
            Int array of shape `(n,)`; -1 for examples that are not trusted.
        """
        rows = np.flatnonzero(self.trusted)
        if not 2 <= count <= len(rows):
            raise ValueError(
                f"`folds` must be from 2 to {len(rows)}, the number of trusted "
                f"labels. Received: folds={count}."
            )
        rows = np.random.RandomState(seed).permutation(rows)
        rows = rows[np.argsort(self.labels[rows], kind="stable")]
        folds = np.full(len(self.trusted), -1)
        folds[rows] = np.arange(len(rows)) % count
        return folds


def in_short(names: list[str], most: int = 12) -> str:
    """The first of many names, and how many there are besides.

    Args:
        names: list of strings.
        most: int, how many to name. Defaults to `12`.
    """
    more = len(names) - most
    return ", ".join([*names[:most], *([f"{more} more"] if more > 0 else [])])
