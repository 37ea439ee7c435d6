import json

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from applications.__main__ import app
from applications.presets import PRESETS
from applications.run_state import Checkpoint, RunState

X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = (X[:, 0] > 0).astype("int32")
RUN = [
    *["run", "digits", "--set", "epochs=3", "--set", "steps_per_epoch=2"],
    *["--set", "warmup_steps=1", "--set", "inner_steps=1"],
    *["--set", "units=4", "--set", "optimizer.use_ema=true"],
]


def compiled():
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    network.compile(
        keras.optimizers.Adam(0.1, use_ema=True, ema_momentum=0.5),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return network


class Stop(keras.callbacks.Callback):
    """Stands for a kill in the middle of the third epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations == 5:
            raise KeyboardInterrupt


def fit(network, checkpoint, *callbacks):
    network.fit(
        *(X, Y),
        **{"batch_size": 16, "shuffle": False, "verbose": 0},
        **{"epochs": 4, "initial_epoch": checkpoint.epochs},
        callbacks=[
            *[checkpoint, keras.callbacks.SwapEMAWeights()],
            *callbacks,
        ],
    )


def test_a_training_goes_on_after_its_last_epoch(tmp_path):
    whole = compiled()
    fit(whole, Checkpoint(tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        fit(compiled(), Checkpoint(tmp_path / "stopped"), Stop())
    checkpoint = Checkpoint(tmp_path / "stopped")
    assert checkpoint.epochs == 2
    resumed = compiled()
    fit(resumed, checkpoint)
    assert resumed.optimizer.iterations == 8
    logs = Checkpoint(tmp_path / "whole").logs
    assert len(checkpoint.logs) == len(logs) == 4
    for one, other in zip(checkpoint.logs, logs, strict=True):
        assert one["loss"] == other["loss"]
        assert one["seconds"] > 0
    for v, w in zip(whole.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(v, w)
    assert len(list((tmp_path / "stopped").glob("*.weights.h5"))) == 1


def test_a_stop_while_saving_loses_one_epoch(tmp_path, monkeypatch):
    network, checkpoint = compiled(), Checkpoint(tmp_path)

    def save(path):
        path.write_text("half a file")
        raise KeyboardInterrupt

    fit(network, checkpoint)
    monkeypatch.setattr(network, "save_weights", save)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.on_epoch_end(4, {"loss": 0.0})
    again = Checkpoint(tmp_path)
    assert again.epochs == 4
    fit(compiled(), again)


def test_trainings_that_ended(tmp_path):
    progress = RunState(tmp_path / "unfinished", {"epochs": 1})
    row = {"variant": "supervised only", "seed": 3, "test_accuracy": 0.5}
    checkpoint = progress.checkpoint()
    progress.finish(row)
    assert not checkpoint.directory.exists()
    again = RunState(tmp_path / "unfinished", {"epochs": 1})
    assert again.row("supervised only", 3) == row
    assert again.row("supervised only", 4) is None
    assert again.row("learned weights", 3) is None
    again.remove()
    assert not list(tmp_path.iterdir())


def test_another_recipe_does_not_go_on(tmp_path):
    RunState(tmp_path, {"epochs": 1})
    with pytest.raises(ValueError, match="of another recipe"):
        RunState(tmp_path, {"epochs": 2})
    RunState(tmp_path, {"epochs": 1})


def results(directory):
    rows = json.loads((directory / "results.json").read_text())
    assert not (directory / "unfinished").exists()
    assert all(row.pop("seconds") > 0 for row in rows)
    return rows, (directory / "weights.csv").read_text()


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


def test_an_unfinished_run_of_another_recipe(tmp_path):
    RunState(tmp_path / "unfinished", {})
    result = CliRunner().invoke(app, [*RUN, "--output", str(tmp_path)])
    assert result.exit_code == 2
    assert "of another recipe" in " ".join(
        result.output.replace("│", " ").split()
    )
