"""What a run that was stopped goes on from."""

import json
import os
import pathlib
import shutil
import time

import keras


class RunState:
    """What a run has done so far, in a folder that is gone when it is done.

    Trainings that ended are not repeated. The one that was stopped goes on
    after the last epoch that it ended.

    Args:
        directory: path, the folder.
        recipe: dict, as `applications.recipe.resolve` gives it.

    Raises:
        ValueError: if the folder is that of another recipe.
    """

    def __init__(self, directory, recipe: dict):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        before = _read(self.directory / "recipe.json", recipe)
        if before != json.loads(json.dumps(recipe)):
            raise ValueError(
                f"{self.directory} holds a run that was stopped, of another "
                "recipe. Give the same settings to go on, another folder, or "
                "delete this one to start anew."
            )
        _write(self.directory / "recipe.json", recipe)
        self.rows = _read(self.directory / "rows.json", [])

    def row(self, variant: str, seed: int) -> dict | None:
        """The results of a training that ended, or `None`."""
        for row in self.rows:
            if (row["variant"], row["seed"]) == (variant, seed):
                return row
        return None

    def finish(self, row: dict) -> None:
        """Keeps the results of the training that ended now."""
        self.rows.append(row)
        _write(self.directory / "rows.json", self.rows)
        shutil.rmtree(self.directory / "training", ignore_errors=True)

    def checkpoint(self) -> "Checkpoint":
        """The callback that keeps the training that begins or goes on now."""
        return Checkpoint(self.directory / "training")

    def remove(self) -> None:
        """Removes the folder: the run is done."""
        shutil.rmtree(self.directory)


class Checkpoint(keras.callbacks.Callback):
    """Keeps a training on disk, epoch by epoch, and goes on from there.

    What the model saves is restored, its optimizers, example weights and
    their moments included. Data must start at step `epochs` times the steps
    of an epoch, and `fit` at `initial_epoch=epochs`.

    Args:
        directory: path, the folder of one training.

    Attributes:
        logs: list of the logs of each epoch that ended, with its `"seconds"`.
    """

    def __init__(self, directory):
        super().__init__()
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.logs = _read(self.directory / "logs.json", [])

    @property
    def epochs(self) -> int:
        """How many epochs have ended."""
        return len(self.logs)

    def on_train_begin(self, logs=None):
        """Restores the model."""
        if self.logs:
            if not self.model.optimizer.built:
                self.model.optimizer.build(self.model.trainable_variables)
            self.model.load_weights(self._weights())

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock."""
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Saves the model."""
        before = self._weights()
        logs = {name: float(value) for name, value in logs.items()}
        logs["seconds"] = time.perf_counter() - self._start
        self.logs.append(logs)
        self.model.save_weights(self._weights())
        # From here on the epoch counts.
        _write(self.directory / "logs.json", self.logs)
        before.unlink(missing_ok=True)

    def _weights(self):
        return self.directory / f"epoch_{self.epochs}.weights.h5"


def _read(path, default):
    return json.loads(path.read_text("utf-8")) if path.exists() else default


def _write(path, content):
    """Writes JSON; who stops in between leaves the old file."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    os.replace(new, path)
