import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from applications.__main__ import app
from applications.checkpoint import Checkpoint
from applications.presets import PRESETS
from applications.run_state import Lock, RunState, seed_directory

RECIPE = {"epochs": 1, "seeds": [3], "optimizer": {"name": "SGD"}}
ROW = {"variant": "supervised only", "seed": 3, "test_accuracy": 0.5}
RUN = [
    *["run", "digits", "--set", "epochs=3", "--set", "steps_per_epoch=2"],
    *["--set", "warmup_steps=1", "--set", "inner_steps=1"],
    *["--set", "units=4", "--set", "optimizer.use_ema=true"],
]


def names(folder):
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file()
    )


def finish(folder, recipe=RECIPE, files=("weights.csv",), **kwargs):
    """A run that writes some files."""
    with RunState(folder, recipe, **kwargs) as progress:
        progress.begin()
        for name in files:
            path = folder / seed_directory(recipe, recipe["seeds"][0]) / name
            path.parent.mkdir(exist_ok=True)
            path.write_text("of the run")
        progress.finish(ROW)
        progress.end()


def test_trainings_that_ended(tmp_path):
    with RunState(tmp_path, RECIPE) as progress:
        progress.begin()
        progress.finish(ROW)
    with RunState(tmp_path, RECIPE) as again:
        assert again.row("supervised only", 3) == ROW
        assert again.row("supervised only", 4) is None
        assert again.row("learned weights", 3) is None
        assert not again.finished
        again.begin()
        assert again.rows == [ROW]
        again.end()
    assert names(tmp_path) == ["run.json"]
    with RunState(tmp_path, RECIPE) as again:
        assert again.finished
        assert again.rows == [ROW]


def test_a_training_is_never_anothers(tmp_path):
    with RunState(tmp_path, RECIPE) as progress:
        progress.begin()
        progress.checkpoint("constant weight", 3).commit([{"loss": 1.0}])
    with RunState(tmp_path, RECIPE) as progress:
        assert progress.checkpoint("constant weight", 3).epochs == 1
        for other in (("learned weights", 3), ("constant weight", 4)):
            assert progress.checkpoint(*other).epochs == 0
        progress.finish({**ROW, "variant": "constant weight"})
        # Not even its own, once it has ended.
        assert progress.checkpoint("constant weight", 3).epochs == 0


def test_folds_are_trainings_of_their_own(tmp_path):
    with RunState(tmp_path, RECIPE) as progress:
        progress.begin()
        progress.checkpoint("learned weights", 3, 1).commit([{"loss": 1.0}])
        assert progress.checkpoint("learned weights", 3, 1).epochs == 1
        for other in ((0,), ()):
            checkpoint = progress.checkpoint("learned weights", 3, *other)
            assert checkpoint.epochs == 0
        row = {"variant": "learned weights", "seed": 3, "fold": 1}
        progress.finish(row)
        assert progress.row("learned weights", 3, 1) == row
        assert progress.row("learned weights", 3, 0) is None
        assert progress.row("learned weights", 3) is None


def test_files_that_are_not_named_are_removed(tmp_path):
    with RunState(tmp_path, RECIPE) as progress:
        progress.begin()
        left = progress.unfinished / "learned_weights-3-7.weights.h5"
        left.write_text("left by a kill")
        (progress.unfinished / "mine.txt").write_text("mine")
        progress.finish(ROW)
        assert not left.exists()
        progress.end()
    assert names(tmp_path) == ["run.json", "unfinished/mine.txt"]


def test_data_that_have_changed_are_refused(tmp_path):
    with RunState(tmp_path, RECIPE) as progress:
        progress.begin()
        progress.check_data(3, 17)
        progress.check_data(4, 18)
    with RunState(tmp_path, RECIPE) as progress:
        progress.check_data(3, 17)
        with pytest.raises(ValueError, match="data of seed 4 are not those"):
            progress.check_data(4, 17)


def test_trainings_on_other_data_are_overwritten(tmp_path):
    other = {**ROW, "seed": 4}
    with RunState(tmp_path, RECIPE) as progress:
        progress.begin()
        for row in (ROW, other):
            progress.check_data(row["seed"], 17)
            progress.finish(row)
    with RunState(tmp_path, RECIPE, overwrite=True) as progress:
        progress.begin()
        progress.check_data(ROW["seed"], 18)
        assert progress.rows == [other]
    with RunState(tmp_path, RECIPE) as progress:
        progress.check_data(ROW["seed"], 18)
        progress.check_data(4, 17)
        assert progress.rows == [other]


@pytest.mark.parametrize("ended", [False, True])
def test_another_recipe_needs_overwrite(tmp_path, ended):
    other = {**RECIPE, "optimizer": {"name": "Adam"}}
    if ended:
        finish(tmp_path)
    else:
        with RunState(tmp_path, RECIPE) as progress:
            progress.begin()
            progress.finish(ROW)
    before = names(tmp_path)
    message = "`optimizer.name` is 'SGD' there and 'Adam' here.*`--overwrite`"
    with pytest.raises(ValueError, match=message):
        RunState(tmp_path, other)
    assert names(tmp_path) == before
    with RunState(tmp_path, other, overwrite=True) as progress:
        assert not progress.rows
        assert not progress.finished
        progress.begin()
    with pytest.raises(ValueError, match="of another recipe"):
        RunState(tmp_path, RECIPE)


def test_overwriting_removes_what_the_run_wrote_and_nothing_else(tmp_path):
    several = {**RECIPE, "seeds": [3, 4]}
    finish(tmp_path, several, ["weights.csv", "examples.png"])
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "seed_4").mkdir()
    (tmp_path / "seed_4" / "weights.csv").write_text("mine")
    finish(tmp_path, RECIPE, overwrite=True)
    assert names(tmp_path) == [
        *("notes.txt", "run.json", "seed_4/weights.csv", "weights.csv"),
    ]
    assert (tmp_path / "seed_4" / "weights.csv").read_text() == "mine"
    assert not (tmp_path / "seed_3").exists()


def test_the_same_recipe_is_trained_anew_only_with_overwrite(tmp_path):
    finish(tmp_path)
    with RunState(tmp_path, RECIPE, overwrite=True) as progress:
        assert not progress.finished
        assert progress.rows == []
        progress.begin()
        assert not (tmp_path / "weights.csv").exists()
        progress.finish(ROW)
    # One that was stopped goes on, overwriting or not.
    with RunState(tmp_path, RECIPE, overwrite=True) as progress:
        assert progress.rows == [ROW]


def test_files_of_the_user_are_not_overwritten(tmp_path):
    (tmp_path / "weights.csv").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r"weights\.csv would be overw"):
            RunState(tmp_path, RECIPE, overwrite)
    assert names(tmp_path) == ["weights.csv"]


def test_a_list_of_files_cannot_lead_out_of_the_folder(tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    folder = tmp_path / "run"
    finish(folder)
    state = json.loads((folder / "run.json").read_text())
    state["files"] += ["../outside.txt", str(outside)]
    (folder / "run.json").write_text(json.dumps(state))
    finish(folder, overwrite=True)
    assert outside.read_text() == "mine"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"recipe": 1}', "\udcff"]
)
def test_a_damaged_state_is_refused(tmp_path, text):
    finish(tmp_path)
    data = text.encode(errors="surrogateescape")
    (tmp_path / "run.json").write_bytes(data)
    with pytest.raises(ValueError, match=r"run\.json is not the state of a"):
        RunState(tmp_path, RECIPE, overwrite=True)
    assert (tmp_path / "run.json").read_bytes() == data


HOLD = """
import pathlib, sys, time
from applications.run_state import Lock
lock = Lock(pathlib.Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_a_process_at_work_is_named_and_a_dead_one_forgotten(tmp_path):
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run.pid")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ValueError, match=f"Process {other.pid} is at wor"):
            RunState(tmp_path, RECIPE)
        assert names(tmp_path) == ["run.pid"]
    finally:
        other.kill()
        other.communicate()
    with RunState(tmp_path, RECIPE):
        pid = int((tmp_path / "run.pid").read_text())
        assert pid == os.getpid()
    assert names(tmp_path) == []


def test_a_lock_whose_file_was_removed_in_between(tmp_path, monkeypatch):
    path, opened = tmp_path / "run.pid", []

    def samestat(one, other):
        opened.append(one)
        if len(opened) == 1:
            path.unlink()
        return len(opened) > 1

    monkeypatch.setattr(os.path, "samestat", samestat)
    lock = Lock(path)
    assert len(opened) == 2
    assert path.exists()
    lock.release()


def results(directory):
    rows = json.loads((directory / "results.json").read_text())
    assert not (directory / "unfinished").exists()
    assert all(row.pop("seconds") > 0 for row in rows)
    return rows, (directory / "weights.csv").read_text()


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path, monkeypatch):
    variants = ["supervised only", "learned weights"]
    changes = {"median_epochs": 2, "variants": variants}
    monkeypatch.setitem(PRESETS, "digits", PRESETS["digits"] | changes)
    run = CliRunner().invoke
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert run(app, [*RUN, "--output", str(whole)]).exit_code == 0
    ends = []
    end = Checkpoint.on_epoch_end

    def stop(self, epoch, logs=None):
        end(self, epoch, logs)
        ends.append(epoch)
        # Once in either training.
        if len(ends) in (2, 5):
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "on_epoch_end", stop)
    outputs = [run(app, [*RUN, "--output", str(stopped)]) for _ in range(3)]
    assert [output.exit_code == 0 for output in outputs] == [False, False, True]
    assert len(ends) == 6
    assert "Epoch 1/3" not in outputs[2].output
    assert results(stopped) == results(whole)
    for name in ("history.png", "weights.png", "examples.png", "config.json"):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes()
