"""A run that is stopped anywhere ends as one that was not."""

import gc
import itertools
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import keras
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from applications.__main__ import app
from applications.presets import PRESETS
from applications.run_state import OWN_FILES, RUN_FILES, SEED_FILES
from tests.cases.faults import Faults, Kills, audited, files, full_disk
from tests.cases.runs import RUNS, options, write_tables

FAULTS = Faults()


@pytest.fixture
def run(monkeypatch, tmp_path, tfds_dir):
    """A function that runs a tiny experiment, its operations looked at."""
    monkeypatch.setattr(keras.Model, "save_weights", audited())
    variants = {"variants": ["constant weight", "learned weights"]}
    for name in RUNS:
        monkeypatch.setitem(PRESETS, name, variants | PRESETS[name])
    tf.config.run_functions_eagerly(True)
    data = tmp_path / "data"
    data.mkdir()
    write_tables(data)

    def run(folder, name="linear", look=lambda number, event: None):
        arguments = ["run", name, "--output", str(folder)]
        arguments += options(name, data, tfds_dir)
        if next(runs) % 8 == 0:
            gc.collect()  # Each run leaves cycles of tens of megabytes.
        with FAULTS.before(folder, look):
            return CliRunner().invoke(app, arguments)

    runs = itertools.count()
    yield run
    tf.config.run_functions_eagerly(False)


def contents(folder):
    """The files of a finished run, but for times."""
    held = {k: v for k, v in files(folder).items() if v is not None}
    for name in held:
        if name.endswith(".keras"):
            # A file is dated, and layers are numbered through the process.
            saved = keras.saving.load_model(folder / name)
            held[name] = [value.tobytes() for value in saved.get_weights()]
    assert json.loads(held.pop("run.json"))["finished"]
    rows = json.loads(held.pop("results.json"))
    assert all(row.pop("seconds") > 0 for row in rows)
    assert {pathlib.Path(name).name for name in held} <= {
        *RUN_FILES,
        *SEED_FILES,
        *OWN_FILES,
    }
    return rows, held


def check(run, folder, name, kills, full_disks):
    """Kills and full disks at a share of the operations, evenly spread."""
    whole, copies = folder / "whole", folder / "killed"
    copies.mkdir()
    assert run(whole, name, Kills(whole, copies)).exit_code == 0
    operations, expected = FAULTS.count, contents(whole)
    killed = sorted(copies.iterdir())
    assert len(killed) > 40
    draw = random.Random(0)
    for copy in draw.sample(killed, round(kills * len(killed))):
        result = run(copy, name)
        assert result.exit_code == 0, (copy, result.output)
        assert contents(copy) == expected, copy
    numbers = range(1, operations + 1)
    for number in draw.sample(numbers, round(full_disks * operations)):
        full = folder / f"full{number}"
        result = run(full, name, full_disk(number))
        if result.exit_code:
            assert result.exit_code == 2, (number, result.output)
            assert "No space left" in result.output.replace("│", " ")
        result = run(full, name)
        assert result.exit_code == 0, (number, result.output)
        assert contents(full) == expected, number


@pytest.mark.filterwarnings("ignore:Even though")
def test_a_few_faults(run, tmp_path):
    check(run, tmp_path, "digits", 0.015, 0.015)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Even though")
@pytest.mark.parametrize(
    ("name", "kills"),
    [
        *[("linear", 1), ("digits", 0.5), ("digits_fixmatch", 0.5)],
        *[("fashion_mnist", 0.3), ("uda_cifar10_250", 0.3)],
        *[("uda_text", 0.1), ("own_table", 1)],
    ],
)
def test_a_fault_at_every_operation(run, tmp_path, name, kills, pytestconfig):
    every = pytestconfig.getoption("every_fault")
    shares = (1, 1) if every else (kills, 0.2 * kills)
    check(run, tmp_path, name, *shares)


@pytest.mark.slow
def test_real_kills_at_random_moments(tmp_path):
    base = [sys.executable, "-m", "applications", "run", "linear"]
    values = [*options("linear", tmp_path, ""), "--set", "epochs=4"]
    command = [*base, *values, "--output"]
    root = pathlib.Path(__file__).parents[2]
    quiet = {"cwd": root, "capture_output": True, "text": True}
    subprocess.run([*command, str(tmp_path / "whole")], check=True, **quiet)
    expected = contents(tmp_path / "whole")
    draw, kills, folders = random.Random(0), 0, 0
    while kills < 50:
        folder = tmp_path / str(folders)
        process = subprocess.Popen(
            [*command, str(folder)],
            cwd=root,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not (folder / "run.pid").exists() and process.poll() is None:
            time.sleep(0.05)
        try:
            code = process.wait(draw.uniform(1, 15))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        assert code == 0
        assert contents(folder) == expected
        folders += 1
    result = subprocess.run([*command, str(tmp_path / str(folders))], **quiet)
    assert result.returncode == 0, result.stderr
    assert contents(tmp_path / str(folders)) == expected
