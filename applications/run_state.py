"""What a run has done, in one file that is whole at any moment."""

import contextlib
import fcntl
import json
import os
import pathlib

from applications.checkpoint import Checkpoint, checkpoint_files, read_lists
from applications.recipe import paths

# All that a run may write into its folder, and into one for each seed.
RUN_FILES = ("config.json", "results.json")
SEED_FILES = (
    *("boundary.png", "ct_augment.json", "examples.md", "examples.png"),
    *("history.png", "report.html", "splits.csv", "tfidf.keras"),
    *("weights.csv", "weights.png"),
)
# Besides, of a run on a user's own data.
OWN_FILES = (
    *("classes.json", "model.keras", "predictions.csv", "skipped.csv"),
    "suspects.csv",
)

# What `run.json` holds.
KEYS = {
    *("recipe", "files", "replaced", "data", "rows", "training", "finished")
}


class RunState:
    """A run's folder: what it holds, what was done, and who is at work.

    A run that was stopped, wherever it was, goes on after the last epoch that
    it ended. `unfinished/run.json` holds the recipe, the results and the
    training under way, so that none outlives the others. It is replaced as a
    whole; files that it does not name are not read. When the run is done it
    becomes `run.json` and the folder `unfinished` goes.

    Args:
        directory: path, the folder of the run. It is created.
        recipe: dict, as `applications.recipe.resolve` gives it.
        overwrite: bool, whether to take the place of a run of another recipe
            or on other data, or of one that is done. Defaults to `False`.

    Raises:
        OSError: if the folder cannot be written to.
        ValueError: if another process is at work in the folder, or it holds
            what this run would overwrite.

    Example:
    >>> import tempfile
    >>> recipe = {"seeds": [0], "epochs": 5}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with RunState(folder, recipe) as progress:
    ...         progress.begin()
    ...         progress.finish({"variant": "supervised only", "seed": 0})
    ...     with RunState(folder, recipe) as progress:
    ...         progress.row("supervised only", 0)
    {'variant': 'supervised only', 'seed': 0}
    """

    def __init__(self, directory, recipe: dict, overwrite: bool = False):
        self.directory = pathlib.Path(directory)
        self.unfinished = self.directory / "unfinished"
        self.overwrite = overwrite
        self._is_new = not self.directory.exists()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lock = Lock(self.directory / "run.pid")
        try:
            recipe = json.loads(json.dumps(recipe))
            self._state = self._start(recipe, overwrite)
            if self.finished:
                self._sweep()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self) -> None:
        """Lets other processes into the folder; without a run it goes."""
        self._lock.release()
        if self._is_new:
            _remove_empty(self.directory)

    @property
    def finished(self) -> bool:
        """Whether the run is done."""
        return self._state["finished"]

    @property
    def rows(self) -> list[dict]:
        """The results of the trainings that ended."""
        return self._state["rows"]

    def row(
        self, variant: str, seed: int, fold: int | None = None
    ) -> dict | None:
        """The results of a training that ended, or `None`."""
        for row in self.rows:
            if _training(**row) == _training(variant, seed, fold):
                return row
        return None

    def begin(self) -> None:
        """Makes the folder this run's."""
        self.unfinished.mkdir(exist_ok=True)
        self._commit()
        if self._state["replaced"]:
            for name in self._state["replaced"]:
                self._remove(name)
            # Only once: this run may write files of the same names.
            self._commit(replaced=[])
        self._sweep()

    def check_data(self, seed: int, fingerprint: int) -> None:
        """Begins anew with data that have changed since the run began.

        Args:
            seed: int, the seed that draws from them.
            fingerprint: int, as `applications.task.fingerprint` gives it.

        Raises:
            ValueError: if they have, unless it is to overwrite.
        """
        before = self._state["data"]
        changes = {"data": {**before, str(seed): fingerprint}}
        if before.get(str(seed), fingerprint) != fingerprint:
            if not self.overwrite:
                raise ValueError(
                    f"The data of seed {seed} are not those that the run in "
                    f"{self.directory} began with. Give another folder to "
                    "train on the new ones, or `--overwrite`."
                )
            changes["rows"] = [row for row in self.rows if row["seed"] != seed]
            changes["training"] = None
        self._commit(**changes)

    def checkpoint(
        self, variant: str, seed: int, fold: int | None = None
    ) -> Checkpoint:
        """The callback that keeps the training that begins or goes on now."""
        training = _training(variant, seed, fold)
        before = self._state["training"]
        same = before and _training(**before) == training
        logs = before["logs"] if same else []

        def commit(logs):
            self._commit(training={**training, "logs": logs})
            self._sweep()

        return Checkpoint(self._path(training), list(logs), commit)

    def finish(self, row: dict) -> None:
        """Keeps the results of the training that ended now."""
        self._commit(rows=[*self.rows, row], training=None)
        self._sweep()

    def lists(self, row: dict) -> dict:
        """What callbacks had listed when a training ended.

        Args:
            row: dict, the results of the training.
        """
        return read_lists(self._last_files(row)[1])

    def end(self) -> None:
        """The run is done."""
        files = self._state["files"]
        # What it could have written, but did not, is not its own.
        files = [name for name in files if (self.directory / name).exists()]
        self._state = {**self._state, "files": files, "finished": True}
        self._write(self.directory / "run.json")
        (self.unfinished / "run.json").unlink()
        self._sweep()

    def _start(self, recipe, overwrite):
        """The state to go on from, or a new one."""
        before = _read(self.unfinished / "run.json")
        before = before or _read(self.directory / "run.json")
        if before and before["recipe"] == recipe:
            if not (before["finished"] and overwrite):
                return before
        elif before and not overwrite:
            raise ValueError(
                f"{self.directory} holds a run of another recipe: "
                f"{_difference(before['recipe'], recipe)}. Give the same "
                "settings, another folder, or `--overwrite`."
            )
        replaced = []
        if before:
            replaced = ["run.json", *before["files"], *before["replaced"]]
        files = _files(recipe)
        for name in files:
            if name not in replaced and (self.directory / name).exists():
                raise ValueError(
                    f"{self.directory / name} would be overwritten, and is "
                    "not known to be a run's. Move it, or give another folder."
                )
        return {
            **{"recipe": recipe, "files": files, "replaced": replaced},
            **{"data": {}, "rows": [], "training": None, "finished": False},
        }

    def _path(self, training):
        """How the names of a training's files begin."""
        parts = map(str, _training(**training).values())
        return self.unfinished / "-".join(parts).replace(" ", "_")

    def _last_files(self, row):
        epochs = self._state["recipe"]["epochs"]
        return checkpoint_files(self._path(row), epochs)

    def _commit(self, **changes):
        self._state = {**self._state, **changes}
        self._write(self.unfinished / "run.json")

    def _write(self, path):
        """Replaces a file; who stops in between leaves the old one."""
        new = self.unfinished / "run.new"
        with new.open("w", encoding="utf-8") as file:
            json.dump(self._state, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)

    def _remove(self, name):
        """Removes a file of the run before, and its folder when empty."""
        path = self.directory / name
        if path.resolve().is_relative_to(self.directory.resolve()):
            path.unlink(missing_ok=True)
            _remove_empty(path.parent)

    def _sweep(self):
        """Removes the files of trainings that are not needed any more."""
        needed = set()
        if not self.finished:
            needed |= {self._last_files(row)[1] for row in self.rows}
            if training := self._state["training"]:
                epochs = len(training["logs"])
                needed |= {*checkpoint_files(self._path(training), epochs)}
        for path in self.unfinished.glob("*"):
            if path.suffix in (".h5", ".npz", ".new") and path not in needed:
                path.unlink()
        if self.finished:
            _remove_empty(self.unfinished)


class Lock:
    """Keeps other processes out; one that died keeps nobody out.

    Args:
        path: path of a file, which will hold the id of the process.

    Raises:
        ValueError: if another process has the lock.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        self._file = self._locked()
        try:
            self._file.truncate(0)
            self._file.write(f"{os.getpid()}\n")
            self._file.flush()
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Lets others in."""
        try:
            self.path.unlink(missing_ok=True)
        finally:
            self._file.close()

    def _locked(self):
        while True:
            file = self.path.open("a+", encoding="utf-8")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The process before may have removed the file in between.
                if os.path.samestat(os.fstat(file.fileno()), self.path.stat()):
                    return file
            except FileNotFoundError:
                pass
            except BlockingIOError:
                with file:
                    file.seek(0)
                    other = file.read().strip()
                raise ValueError(
                    f"Process {other} is at work in {self.path.parent}. Wait "
                    "for it, stop it, or give another folder."
                ) from None
            file.close()


def seed_directory(recipe: dict, seed: int) -> pathlib.Path:
    """Where the files of a seed are, in the folder of the run.

    Args:
        recipe: dict, the run's.
        seed: int, one of the recipe's seeds.
    """
    several = len(recipe["seeds"]) > 1
    return pathlib.Path(f"seed_{seed}" if several else ".")


def _training(variant, seed, fold=None, **results):
    """What names a training: all of its row but the results."""
    named = {"variant": variant, "seed": seed}
    return named if fold is None else {**named, "fold": fold}


def _files(recipe):
    """The files that a run may write, as paths in its folder."""
    folders = [seed_directory(recipe, seed) for seed in recipe["seeds"]]
    names = SEED_FILES + (OWN_FILES if "folds" in recipe else ())
    of_seeds = [str(folder / f) for folder in folders for f in names]
    return [*RUN_FILES, *of_seeds]


def _read(path):
    """The state that a file holds, `None` if there is no file."""
    if not path.exists():
        return None
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        if state.keys() == KEYS:
            return state
    except (ValueError, AttributeError):
        pass
    raise ValueError(
        f"{path} is not the state of a run. Give another folder, or delete it."
    )


def _difference(before, now):
    """The first setting that differs, in words."""
    before, now = dict(paths(before)), dict(paths(now))
    for path in {**now, **before}:
        values = before.get(path), now.get(path)
        if values[0] != values[1] and not all(
            isinstance(v, dict) for v in values
        ):
            return f"`{path}` is {values[0]!r} there and {values[1]!r} here"
    return "settings are in another order"


def _remove_empty(directory):
    # It stays if files of somebody else are in it.
    with contextlib.suppress(OSError):
        directory.rmdir()
