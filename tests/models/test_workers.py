"""Two workers on one machine learn as one process does."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_influence as ki
from tests.cases.models import compiled, data, draw, fit, quiet_network

WORKER = """
import json, os, sys
task, what, *ports = int(sys.argv[1]), sys.argv[2], *sys.argv[3:]
os.environ["TF_CONFIG"] = json.dumps({
    "cluster": {"worker": [f"localhost:{port}" for port in ports]},
    "task": {"type": "worker", "index": task}})
import numpy as np, tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy()
from tests.models import test_workers as work
with strategy.scope():
    results = eval(what, vars(work) | {"task": task})
print(json.dumps(results))
"""


def made():
    """A model, the same whoever takes part in its training."""
    keras.utils.set_random_seed(0)
    return compiled(
        quiet_network(),
        initial_weight=0.5,
        optimizer=keras.optimizers.SGD(0.1, momentum=0.9),
        weight_optimizer=ki.optimizers.MAdam(0.05),
        # Enough for features to be used again.
        validation_set=draw(40, 2),
        metrics=["accuracy"],
    )


def learn():
    """What a training ends with."""
    model = made()
    logs = fit(model, 10)
    val = model.evaluate(*draw(8, 5), batch_size=4, verbose=0)
    return {
        "weights": model.example_weights.tolist(),
        "head": model.network.get_weights()[-2].tolist(),
        "norm": float(np.ravel(logs["hypergradient_norm"])[0]),
        "loss": float(np.ravel(logs["loss"])[0]),
        "evaluated": float(np.ravel(val)[0]),
    }


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("localhost", 0))
    ports = [str(s.getsockname()[1]) for s in sockets]
    for s in sockets:
        s.close()
    return ports


def learn_in(folder, dies_at=None):
    """Three epochs, from a backup on, or to a batch that kills the process."""

    class Die(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_train_batch_end(self, batch, logs=None):
            if (self.epoch, batch) == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)

    model = made()
    backup = keras.callbacks.BackupAndRestore(folder)
    saved = pathlib.Path(folder, "training_metadata.json")
    done = json.loads(saved.read_text())["epoch"] if saved.exists() else 0
    model.fit(
        data(start_step=4 * done),
        epochs=3,
        steps_per_epoch=4,
        verbose=0,
        callbacks=[backup, Die()],
    )
    return done, model.example_weights.tolist()


def cluster(what):
    """Two workers that evaluate an expression: their output and errors."""
    ports = free_ports(2)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(task), what, *ports],
            cwd=pathlib.Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for task in range(2)
    ]
    return workers, [worker.communicate(timeout=300) for worker in workers]


def test_two_workers_learn_as_one_process():
    expected = learn()
    for worker, (out, errors) in zip(*cluster("learn()"), strict=True):
        assert worker.returncode == 0, errors[-2000:]
        found = json.loads(out.splitlines()[-1])
        for name, value in expected.items():
            np.testing.assert_allclose(
                found[name], value, atol=1e-5, err_msg=name
            )
    assert np.ptp(expected["weights"]) > 0.05


@pytest.mark.slow
def test_a_worker_that_is_killed(tmp_path):
    _, expected = learn_in(str(tmp_path / "alone"))
    fit_in = f"learn_in('{tmp_path}/' + str(task)"
    workers, outputs = cluster(f"{fit_in}, (1, 2) if task else None)")
    assert workers[1].returncode == -signal.SIGKILL
    # The other one ends too, and says who is missing.
    assert workers[0].returncode > 0
    assert "A worker of the cluster has ended" in outputs[0][1]
    assert "task:1" in outputs[0][1]
    for worker, (out, errors) in zip(*cluster(f"{fit_in})"), strict=True):
        assert worker.returncode == 0, errors[-2000:]
        done, found = json.loads(out.splitlines()[-1])
        assert done == 1
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(expected) > 0.05
