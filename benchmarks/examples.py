"""What many examples cost: `fit`, a step and `save` beside the tables.

    python -m benchmarks.examples [--examples 100000000] [--json PATH]

A tiny network, so that nothing but what is kept of every example counts: free
weights with `Evidence` (four numbers an example), the default weight network
(five), and one that keeps nothing. Memory is that of the process, beyond what
stood before: with the data made, with the model built, at its most in 20 steps
of `fit`, in `save` and in `save_weights`.
"""

import argparse
import os
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf

import keras_influence as ki
from benchmarks import harness
from benchmarks.memory import peak_growth

STEPS = 20
WEIGHTINGS = {
    "free weights": lambda n: {"num_unlabeled": n, "weight_network": None},
    "weight network": lambda n: {"num_unlabeled": n},
    "weight network, no tables": lambda n: {
        "weight_network": ki.WeightNetwork(("loss", "confidence", "entropy"))
    },
}


def trained(size, weighting):
    """A row of the table."""
    x = np.zeros((size, 1), "int8")
    given = np.arange(size, dtype="int32") % 2
    few = np.random.default_rng(0).normal(size=(256, 1)).astype("float32")
    labels = (few[:, 0] > 0).astype("int32")
    made = {}

    def build():
        made["data"] = ki.data.semi_supervised(
            (few, labels), (x, given), batch_size=16, unlabeled_ratio=7
        )
        network = keras.Sequential(
            [keras.Input((1,)), keras.layers.Dense(2, name="head")]
        )
        model = ki.InfluenceModel(network, **WEIGHTINGS[weighting](size))
        model.compile(
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            unlabeled_loss=ki.losses.GivenLabels(),
            validation_set=(few, labels),
        )
        made["model"] = model

    def fit(steps):
        made["model"].fit(made["data"], steps_per_epoch=steps, verbose=0)

    def save():
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.keras")
            made["model"].save(path)
            made["file"] = os.path.getsize(path) / 2**20

    def save_weights():
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.weights.h5")
            made["model"].save_weights(path)

    row = {"weights": weighting, "examples": f"{size:.0e}"}
    row["build +MB"] = peak_growth(build)
    row["fit +MB"] = peak_growth(lambda: fit(STEPS))
    start = time.process_time()
    fit(5 * STEPS)
    seconds = (time.process_time() - start) / (5 * STEPS)
    row["ms a step"] = 1000 * seconds
    start = time.process_time()
    row["save +MB"] = peak_growth(save)
    row["save s"] = time.process_time() - start
    row["file MB"] = made["file"]
    row["save_weights +MB"] = peak_growth(save_weights)
    return row


def main():
    """Measures, prints the table and writes the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--examples", type=int, default=10**8)
    parser.add_argument("--json", default=None)
    arguments = parser.parse_args()
    tf.get_logger().setLevel("ERROR")
    rows = [
        trained(size, weighting)
        for weighting in WEIGHTINGS
        for size in (arguments.examples // 1000, arguments.examples)
    ]
    harness.report("Many examples", rows, arguments.json)


if __name__ == "__main__":
    main()
