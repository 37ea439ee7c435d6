import resource
import signal

import keras
import numpy as np
import pytest

from applications.checkpoint import Checkpoint, checkpoint_files, read_lists

X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = (X[:, 0] > 0).astype("int32")


def compiled(units=2):
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units)])
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


class Steps(keras.callbacks.Callback):
    """Lists the steps, anew with each training."""

    def on_train_begin(self, logs=None):
        self.steps = []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(int(self.model.optimizer.iterations))


class Folder:
    """Makes the checkpoints of one training; keeps what was committed."""

    def __init__(self, path):
        self.path = path / "training"
        self.logs = []

    def checkpoint(self):
        return Checkpoint(self.path, list(self.logs), self.commit)

    def commit(self, logs):
        self.logs = list(logs)


def fit(network, checkpoint, *callbacks):
    network.fit(
        *(X, Y),
        **{"batch_size": 16, "shuffle": False, "verbose": 0},
        **{"epochs": 4, "initial_epoch": checkpoint.epochs},
        callbacks=[*callbacks, keras.callbacks.SwapEMAWeights(), checkpoint],
    )


def test_a_training_goes_on_after_its_last_epoch(tmp_path):
    whole, folder = compiled(), Folder(tmp_path / "whole")
    folder.path.parent.mkdir()
    fit(whole, folder.checkpoint())
    stopped = Folder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fit(compiled(), stopped.checkpoint(), Stop())
    checkpoint = stopped.checkpoint()
    assert checkpoint.epochs == 2
    resumed = compiled()
    fit(resumed, checkpoint)
    assert resumed.optimizer.iterations == 8
    assert len(checkpoint.logs) == len(folder.logs) == 4
    for one, other in zip(checkpoint.logs, folder.logs, strict=True):
        assert one["loss"] == other["loss"]
        assert one["seconds"] > 0
    for v, w in zip(whole.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(v, w)


def test_what_callbacks_have_listed_goes_on(tmp_path):
    folder, steps = Folder(tmp_path), Steps()
    checkpoint = folder.checkpoint()
    checkpoint.follow(steps, "steps")
    with pytest.raises(KeyboardInterrupt):
        fit(compiled(), checkpoint, steps, Stop())
    checkpoint, steps = folder.checkpoint(), Steps()
    checkpoint.follow(steps, "steps")
    fit(compiled(), checkpoint, steps)
    assert steps.steps == list(range(1, 9))
    lists = read_lists(checkpoint_files(folder.path, 4)[1])
    assert lists["Steps.steps"].tolist() == steps.steps


def test_a_stop_while_saving_loses_one_epoch(tmp_path, monkeypatch):
    folder, network = Folder(tmp_path), compiled()
    checkpoint = folder.checkpoint()
    fit(network, checkpoint)

    def save(path):
        path.write_text("half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(network, "save_weights", save)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.on_epoch_end(4, {"loss": 0.0})
    again = folder.checkpoint()
    assert again.epochs == 4
    fit(compiled(), again)


@pytest.mark.parametrize("damage", ["gone", "cut", "other"])
def test_files_that_were_damaged_since(tmp_path, damage):
    folder = Folder(tmp_path)
    fit(compiled(), folder.checkpoint())
    weights, _ = checkpoint_files(folder.path, 4)
    if damage == "gone":
        weights.unlink()
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:100])
    units = 3 if damage == "other" else 2
    with pytest.raises(ValueError, match=r"cannot go on from .* another fold"):
        fit(compiled(units), folder.checkpoint())


def test_a_full_disk_is_an_error_before_the_first_step(tmp_path):
    network, folder = compiled(200), Folder(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match="training-0"):
            fit(network, folder.checkpoint())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert network.optimizer.iterations == 0
    assert folder.logs == []
