"""Influence scores beside pyDVL, kronfluence and Opacus.

    python -m benchmarks.peers --peers-python PATH [--json PATH]

The peers run in an environment of their own, from the packages of
`benchmarks/peers-requirements.txt`; without `--peers-python` only this library
is measured. Rounds alternate between all methods, with as many threads for
each.

W1: scores of 4,096 examples in a head of 128 features and 10 classes by 1,024
    validation examples, damping 1e-3; Gaussian and ReLU features.
W2: the same with 512 features and 100 classes.
W3: scores of 64 images in a small convolutional network along a direction,
    beside one gradient of the same library.
"""

import argparse
import contextlib
import os
import time

import keras
import numpy as np
import tensorflow as tf
from keras import ops

import keras_influence as ki
from benchmarks import harness, workloads
from benchmarks.methods import Method, PeerMethod, Peers
from keras_influence.influence import derivatives
from keras_influence.influence.forward_pass import (
    ForwardPass,
    NetworkState,
    StatelessNetwork,
)
from keras_influence.influence.last_layer import LastLayerObjective
from keras_influence.influence.network_objective import NetworkObjective
from keras_influence.influence.objective import Term
from keras_influence.influence.per_example_loss import PerExampleLoss

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
SOLVERS = {
    "exact": ki.solvers.Exact(workloads.DAMPING),
    "CG": ki.solvers.ConjugateGradient(
        1000, workloads.TOLERANCE, workloads.DAMPING
    ),
    "CG + Kronecker": ki.solvers.ConjugateGradient(
        1000,
        workloads.TOLERANCE,
        workloads.DAMPING,
        preconditioner="kronecker",
    ),
}
# Examples in a pass of `influence_scores`.
BATCH = 256
# A peer is as accurate with an error of up to so many times another's.
AS_ACCURATE = 3


def compare(methods: dict, truth, rounds: int) -> tuple:
    """Times, peaks and errors of methods, rounds interleaved.

    Args:
        methods: dictionary from names to `Method`s and `PeerMethod`s.
        truth: array, the true scores.
        rounds: integer, counted calls of each method.

    Returns:
        Dictionary from names to seconds of every round, and the rows.
    """
    times = harness.interleave(
        methods, rounds, warmup=1, measure=lambda method: method.seconds()
    )
    rows = [
        {
            "method": name,
            "ms": 1e3 * float(np.median(times[name])),
            "peak MB": method.peak(),
            "error": _error(method.scores(), truth),
        }
        for name, method in methods.items()
    ]
    return times, rows


def _error(scores, truth):
    if scores is None:
        return None
    return float(np.linalg.norm(scores - truth) / np.linalg.norm(truth))


def last_layer(problem, whole_call: bool) -> dict:
    """Functions that score a linear head, by the name of the method.

    Args:
        problem: a `Problem`.
        whole_call: boolean, whether to add `influence_scores` from the arrays,
            forward passes included, and these by themselves.
    """
    [kernel], x, y, validation = problem
    tensors = [tf.constant(t) for t in (kernel, x, y, *validation)]
    loss = PerExampleLoss(LOSS)

    def objective(kernel, x, y):
        weights = ops.ones(y.shape) / y.shape[0]
        term = Term(lambda z: loss(y, z[:, 0]), weights, softmax=True)
        return LastLayerObjective([kernel], [x[:, None]], [term])

    def compiled(solver):
        influence = ki.Influence(solver=solver)

        @tf.function(autograph=False)
        def scores(kernel, x, y, x_val, y_val):
            inner = objective(kernel, x, y)
            outer = objective(kernel, x_val, y_val)
            return influence.scores(inner, outer)[0][0]

        return lambda: scores(*tensors).numpy()

    methods = {name: compiled(solver) for name, solver in SOLVERS.items()}
    if whole_call:
        head = keras.layers.Dense(kernel.shape[1], use_bias=False)
        model = keras.Sequential([keras.Input(kernel.shape[:1]), head])
        model.set_weights([kernel])
        methods["forward passes"] = lambda: _forward_passes(
            model, [x, validation[0]]
        )
        for name, solver in SOLVERS.items():
            methods[f"influence_scores, {name}"] = lambda solver=solver: (
                len(y)
                * ki.influence_scores(
                    model,
                    (x, y),
                    validation,
                    loss=LOSS,
                    influence=ki.Influence(solver=solver),
                )
            )
    return methods


def _forward_passes(model, inputs):
    """Runs a model on arrays as `influence_scores` does; scores nothing."""
    for x in inputs:
        for start in range(0, len(x), BATCH):
            model.predict_on_batch(x[start : start + BATCH])


def network(problem, direction) -> dict:
    """Functions that score a batch along a direction, and one gradient."""
    stock = _convolutional()
    stock.set_weights(problem.parameters)
    recording = ki.layers.recording_clone(stock)
    x, y = tf.constant(problem.x), tf.constant(problem.y)
    vector = tf.concat([tf.reshape(v, [-1]) for v in direction], 0)
    loss = PerExampleLoss(LOSS)
    term = Term.of_labels(loss, y, ops.ones(y.shape) / y.shape[0])

    def objective(model, forward_pass=None):
        variables = model.trainable_variables
        return NetworkObjective(
            StatelessNetwork(model, variables, training=False),
            x,
            [term],
            lambda rows: [rows[:, None]],
            forward_pass=forward_pass,
        )

    def gradient(model):
        with (
            tf.GradientTape(persistent=True) as tape,
            ki.layers.Recording() as records,
        ):
            losses = loss(y, model(x, training=False))
            mean = ops.mean(losses)
        gradients = tape.gradient(mean, model.trainable_variables)
        before = NetworkState.of(model)
        return gradients, ForwardPass(records, tape, [losses], before)

    def one_gradient():
        return gradient(stock)[0]

    def after_a_gradient():
        gradients, forward_pass = gradient(recording)
        scored = objective(recording, forward_pass)
        # The graph leaves out what is not returned.
        return scored.directional_derivatives(vector)[0], gradients

    def double_reverse():
        scored = objective(stock)
        tangents = scored.unflatten(vector)
        # What forward mode falls back to has no name of its own.
        return derivatives._double_reverse(
            scored.losses, scored.parameters, tangents
        )

    def recorded():
        return objective(recording).directional_derivatives(vector)

    def forward_mode():
        return objective(stock).directional_derivatives(vector)

    def scores(function):
        function = tf.function(function)
        return lambda: -function()[0].numpy()

    plain = tf.function(one_gradient)
    return {
        "one gradient": lambda: plain() and None,
        "one gradient + recorded": scores(after_a_gradient),
        "recorded, from scratch": scores(recorded),
        "forward mode": scores(forward_mode),
        "double reverse": scores(double_reverse),
    }


def _convolutional():
    layers = [keras.Input((32, 32, workloads.CHANNELS[0]))]
    for place, filters in enumerate(workloads.CHANNELS[1:]):
        strides = 2 if place else 1
        layers.append(
            keras.layers.Conv2D(filters, 3, strides, activation="relu")
        )
    pool = keras.layers.GlobalAveragePooling2D()
    head = keras.layers.Dense(workloads.CLASSES)
    return keras.Sequential([*layers, pool, head])


class Comparison:
    """The tables of the workloads.

    Args:
        arguments: the parsed command line.
        peers: `Peers`, or `None` to measure this library alone.
    """

    def __init__(self, arguments, peers):
        self.rounds = arguments.rounds
        self.scale = arguments.scale
        self.clock = getattr(time, arguments.clock)
        self.peers = peers

    def tables(self):
        """The titles and the rows of all tables, one after the other."""
        for name in workloads.HEADS:
            for correlated in (False, True):
                yield self.head(name, correlated)
        yield self.network()

    def head(self, name, correlated):
        """W1 or W2 on one kind of features."""
        problem = workloads.head(name, correlated, self.scale)
        kind = "ReLU" if correlated else "Gaussian"
        ours = last_layer(problem, whole_call=name == "W1")
        methods = self._methods(f"{name} {kind}", ours)
        truth = workloads.head_scores(problem)
        times, rows = compare(methods, truth, self.rounds)
        theirs = [r for r in rows if r["method"] not in ours]
        for row in rows if theirs else []:
            if row["error"] is None:
                continue
            limit = AS_ACCURATE * row["error"]
            row["x fastest peer"] = self._gain(times, row, theirs, 1e-3)
            row["x at this error"] = self._gain(times, row, theirs, limit)
        return f"{name}, {kind} features", rows

    def network(self):
        """W3, relative to one gradient of the same library."""
        problem, direction = workloads.network()
        methods = self._methods("W3", network(problem, direction))
        truth = workloads.network_scores(problem, direction)
        times, rows = compare(methods, truth, self.rounds)
        for row in rows:
            name = row["method"]
            theirs = isinstance(methods[name], PeerMethod)
            baseline = "torch, one gradient" if theirs else "one gradient"
            relative = harness.ratios(times, baseline)
            row["x one gradient"] = relative[name]
        return "W3, a small convolutional network", rows

    def _gain(self, times, row, theirs, limit):
        """How much faster a method is than the fastest peer, or `None`.

        Counted are peers with an error of no more than `limit`.
        """
        names = [r["method"] for r in theirs if r["error"] <= limit]
        if not names:
            return None
        best = min(names, key=lambda name: np.median(times[name]))
        return 1 / harness.ratios(times, best)[row["method"]]

    def _methods(self, workload, ours):
        theirs = self.peers.ask(workload=workload) if self.peers else []
        return {
            **{name: Method(f, self.clock) for name, f in ours.items()},
            **{name: PeerMethod(self.peers, workload, name) for name in theirs},
        }


def main():
    """Measures, prints the tables and writes the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--peers-python", help="interpreter of the peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--clock",
        choices=["perf_counter", "process_time"],
        default="perf_counter",
        help="the wall's, or the processor's where others use it too",
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="factor of W1's and W2's size"
    )
    parser.add_argument("--json")
    arguments = parser.parse_args()
    tf.get_logger().setLevel("ERROR")  # about one function a method
    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(arguments.threads)
    peers, tables = None, {}
    if arguments.peers_python:
        settings = arguments.scale, arguments.threads, arguments.clock
        peers = Peers(arguments.peers_python, map(str, settings))
    with peers or contextlib.nullcontext():
        for title, rows in Comparison(arguments, peers).tables():
            harness.print_table(title, rows)
            tables[title] = rows
    settings = vars(arguments)
    del settings["peers_python"]
    harness.write_json(settings.pop("json"), tables, **settings)


if __name__ == "__main__":
    main()
