"""What a run keeps in memory, and what it leaves alone there."""

import gc
import weakref

import pytest
from typer.testing import CliRunner

from applications import experiment
from applications.__main__ import app
from applications.presets import PRESETS

QUICK = {"epochs": 1, "steps_per_epoch": 2, "variants": ["supervised only"]}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setitem(PRESETS, "linear", PRESETS["linear"] | QUICK)


def run(folder, *settings):
    settings = [part for setting in settings for part in ("--set", setting)]
    arguments = ["run", "linear", "--output", str(folder), *settings]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output


def test_the_data_of_one_seed_at_a_time(tmp_path, monkeypatch):
    tasks, alive = [], []
    load = experiment.build

    def spy(kind, component, **offered):
        if kind == "dataset":
            gc.collect()
            alive.append(sum(task() is not None for task in tasks))
        built = load(kind, component, **offered)
        if kind == "dataset":
            tasks.append(weakref.ref(built))
        return built

    monkeypatch.setattr(experiment, "build", spy)
    run(tmp_path, "seeds=1,2,3")
    assert alive == [0, 0, 0]


def test_imports_are_not_collected_while_it_trains(tmp_path, monkeypatch):
    frozen, before = [], gc.get_freeze_count()
    train = experiment.Experiment.run

    def spy(self, *arguments):
        frozen.append(gc.get_freeze_count())
        return train(self, *arguments)

    monkeypatch.setattr(experiment.Experiment, "run", spy)
    run(tmp_path)
    assert frozen[0] > before + 100_000
    assert gc.get_freeze_count() == 0
