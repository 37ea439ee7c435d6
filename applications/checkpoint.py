"""What keeps one training on disk, epoch by epoch."""

import os
import pathlib
import time
from collections.abc import Callable

import keras
import numpy as np


class Checkpoint(keras.callbacks.Callback):
    """Keeps a training on disk, epoch by epoch, and goes on from there.

    What the model saves is restored, its optimizers, example weights and
    their moments included, and what other callbacks have listed. It must be
    the last callback. Data must start at step `epochs` times the steps of an
    epoch, and `fit` at `initial_epoch=epochs`.

    Args:
        path: path, how the names of its files begin.
        logs: list of the logs of each epoch that ended before.
        commit: function of the logs of all epochs that ended, called when the
            files of the last one are complete: only then the epoch counts.

    Attributes:
        logs: list of the logs of each epoch that ended, with its `"seconds"`.
    """

    # `BackupAndRestore` rewrites weights and epoch in place, one after the
    # other: a kill in between trains an epoch twice. It keeps no logs.

    def __init__(
        self, path: pathlib.Path, logs: list, commit: Callable[[list], None]
    ):
        super().__init__()
        self.path = pathlib.Path(path)
        self.logs = logs
        self.commit = commit
        self._followed = {}
        self._size = None

    @property
    def epochs(self) -> int:
        """How many epochs have ended."""
        return len(self.logs)

    def follow(self, callback: keras.callbacks.Callback, *names: str) -> None:
        """Keeps attributes of a callback too, lists of arrays or numbers.

        Args:
            callback: a callback of the training.
            *names: the attributes.
        """
        for name in names:
            key = f"{type(callback).__name__}.{name}"
            self._followed[key] = callback, name

    def on_train_begin(self, logs=None):
        """Restores the model, or tries whether it can be kept."""
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        if not self.logs:
            # A full disk is an error now, not after an epoch.
            self._save()
            return
        weights, lists = checkpoint_files(self.path, self.epochs)
        try:
            self.model.load_weights(weights)
            for key, values in read_lists(lists).items():
                setattr(*self._followed[key], list(values))
        except (OSError, KeyError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"The training cannot go on from {weights}: {reason} Start "
                "anew in another folder, or delete this one."
            ) from error

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock."""
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Saves the model."""
        logs = {name: float(value) for name, value in logs.items()}
        logs["seconds"] = time.perf_counter() - self._start
        self.logs.append(logs)
        self._save()

    def _save(self):
        weights, lists = checkpoint_files(self.path, self.epochs)
        self._reserve(weights)
        self.model.save_weights(weights)
        self._size = weights.stat().st_size
        values = {
            key: np.array(getattr(callback, name))
            for key, (callback, name) in self._followed.items()
        }
        np.savez(lists, **values)
        self.commit(self.logs)

    def _reserve(self, path):
        """Fails where the disk is full; HDF5 would crash the process."""
        variables = [*self.model.variables, *self.model.optimizer.variables]
        size = self._size or sum(v.value.numpy().nbytes for v in variables)
        with path.open("wb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, size + 2**16)
            except AttributeError:  # Not every system has it.
                pass
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(path)) from error


def checkpoint_files(path: pathlib.Path, epochs: int) -> tuple:
    """The files of a training after so many epochs: weights and lists.

    Args:
        path: path, how the names of the files begin.
        epochs: int, how many epochs have ended.
    """
    stem = f"{path.name}-{epochs}"
    return path.with_name(f"{stem}.weights.h5"), path.with_name(f"{stem}.npz")


def read_lists(path: pathlib.Path) -> dict[str, np.ndarray]:
    """What a `Checkpoint` keeps of other callbacks.

    Args:
        path: path of the file.

    Returns:
        dict from `"Callback.attribute"` to the list as one array.
    """
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
