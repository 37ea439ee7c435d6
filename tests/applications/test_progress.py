import re

import keras
import numpy as np
import pytest

from applications.progress import ShortProgress

LOGS = {
    "accuracy": 0.5,
    "hypergradient_norm": 1234.5,
    "labeled_loss": 2.3,
    "loss": 2.4,
    "updates_skipped": 0.0,
    "weight_mean": 0.1,
}


def test_what_is_shown():
    bar = ShortProgress()
    assert bar.short(LOGS) == {"loss": 2.4, "accuracy": 0.5, "weight": 0.1}
    assert bar.short({**LOGS, "updates_skipped": 2.0})["skipped"] == 2.0
    tested = ShortProgress(tested=True)
    logs = {**LOGS, "val_accuracy": 0.4, "val_loss": 3.0}
    assert tested.short(logs) == {"loss": 2.4, "weight": 0.1, "test": 0.4}
    assert bar.short({}) == {}


@pytest.mark.parametrize("skipped", [0.0, 512.0])
@pytest.mark.parametrize("tested", [False, True])
def test_its_lines_fit_100_columns(capsys, tested, skipped):
    bar = ShortProgress(tested)
    bar.set_params({"verbose": 1, "epochs": 2, "steps": 1024})
    bar.on_epoch_begin(0)
    logs = {**LOGS, "loss": 2412.4567, "updates_skipped": skipped}
    for step in range(0, 1024, 200):
        bar.on_train_batch_end(step, logs)
    bar.on_epoch_end(0, {**logs, "val_accuracy": 0.1234})
    output = re.sub(r"\x1b\[\d+m|\x08", "", capsys.readouterr().out)
    lines = [line.rstrip() for line in re.split(r"[\r\n]", output)]
    shown = "skipped: 512" if skipped else "weight: 0.1"
    assert any(shown in line for line in lines)
    assert max(map(len, lines)) < 100


def test_keras_adds_no_bar_of_its_own(capsys):
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    network.compile("sgd", "mse", metrics=["mae"])
    x = np.ones((4, 2))
    network.fit(x, x[:, :1], callbacks=[ShortProgress()])
    output = capsys.readouterr().out
    assert "loss: " in output
    assert "mae" not in output
