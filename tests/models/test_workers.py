"""Two workers on one machine learn as one process does."""

import json
import pathlib
import socket
import subprocess
import sys

import keras
import numpy as np

import keras_influence as ki
from tests.cases.models import compiled, draw, fit, quiet_network

WORKER = """
import json, os, sys
task, ports = int(sys.argv[1]), sys.argv[2:]
os.environ["TF_CONFIG"] = json.dumps({
    "cluster": {"worker": [f"localhost:{port}" for port in ports]},
    "task": {"type": "worker", "index": task}})
import numpy as np, tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy()
from tests.models.test_workers import learn
with strategy.scope():
    results = learn()
print(json.dumps(results))
"""


def learn():
    """What a training ends with, the same whoever takes part in it."""
    keras.utils.set_random_seed(0)
    model = compiled(
        quiet_network(),
        initial_weight=0.5,
        optimizer=keras.optimizers.SGD(0.1, momentum=0.9),
        weight_optimizer=ki.optimizers.MAdam(0.05),
        metrics=["accuracy"],
    )
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


def test_two_workers_learn_as_one_process():
    ports = free_ports(2)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(task), *ports],
            cwd=pathlib.Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for task in range(2)
    ]
    expected = learn()
    for worker in workers:
        out, errors = worker.communicate(timeout=240)
        assert worker.returncode == 0, errors[-2000:]
        found = json.loads(out.splitlines()[-1])
        for name, value in expected.items():
            np.testing.assert_allclose(
                found[name], value, atol=1e-5, err_msg=name
            )
    assert np.ptp(expected["weights"]) > 0.05
