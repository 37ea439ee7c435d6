"""The data that the trainings of one run share."""

import csv
import dataclasses
import pathlib
import zlib

import keras
import numpy as np

from keras_influence.callbacks.plain_text import spreadsheet_cell


@dataclasses.dataclass
class Task:
    """The data that the trainings of one run share.

    Args:
        labeled: tuple `(x, y)` of arrays, the trusted labels.
        validation: tuple `(x, y)`, what example weights are learned from.
        test: tuple `(x, y)`.
        unlabeled: array of inputs, or a nest of such.
        truth: int array of shape `(num_unlabeled,)`, their classes, which no
            training sees; -1 for inputs of a foreign class.
        given: int array of shape `(num_unlabeled,)`, untrusted labels.
            Defaults to `None`.
        harmful: boolean array of shape `(num_unlabeled,)`, the examples that
            should lose weight. Defaults to `None`: those with a wrong
            pseudo-label when training ends.
        splits: dict from `"labeled"`, `"validation"` and `"unlabeled"` to
            sequences of strings, the ids that their rows have in the data set.
            Defaults to `None`.
        names: list of strings, what the data set calls the classes. Defaults
            to `None`: numbers.
    """

    labeled: tuple
    validation: tuple
    test: tuple
    unlabeled: np.ndarray
    truth: np.ndarray
    given: np.ndarray | None = None
    harmful: np.ndarray | None = None
    splits: dict | None = None
    names: list | None = None

    # What `truth` does not name.
    missing = "foreign"

    @property
    def judged(self) -> np.ndarray:
        """Boolean array: of which unlabelled examples the harm is known."""
        return np.ones(len(self.truth), bool)

    @property
    def class_names(self) -> list | None:
        """The names of the classes that the network has logits for."""
        return self.names and self.names[: self.labeled[1].max() + 1]

    def name(self, label: int):
        """What people read for a label; -1 is that of no known class."""
        if label < 0:
            return self.missing
        return label if self.names is None else self.names[label]

    @property
    def shown(self):
        """The unlabelled examples as people see them."""
        return self.unlabeled

    @property
    def source(self):
        """The unlabelled examples as the views take them."""
        return self.unlabeled


def fingerprint(task: Task) -> int:
    """A number that changes when the data of a task do.

    Args:
        task: a `Task`.
    """
    parts = task.labeled, task.validation, task.source, task.truth, task.given
    number = 0
    for array in keras.tree.flatten(parts):
        if array is not None:
            number = zlib.crc32(np.ascontiguousarray(array), number)
    return number


def write_splits(task: Task, directory) -> None:
    """Writes `splits.csv`: which example is which row of which set.

    `index` counts within the set, so that `weights.csv` joins to the rows of
    the set `"unlabeled"`.

    Args:
        task: a `Task` with `splits`.
        directory: path of a folder.
    """
    path = pathlib.Path(directory) / "splits.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["set", "index", "id"])
        for name, ids in task.splits.items():
            cells = map(spreadsheet_cell, ids)
            writer.writerows([name, i, x] for i, x in enumerate(cells))
