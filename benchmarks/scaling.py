"""What an update of the weights costs, from the demo to thousands of classes.

    python -m benchmarks.scaling [--rounds 10] [--large] [--json PATH]

In processor time, as others may use the machine, and beside what issue 15
found at first:

- an update step beside a plain step of the same small network, interleaved in
  one process, and beside a step of stock Keras on as many rows;
- one solve for the last layer over classes, features and examples: half of
  the examples labelled, half under a loss that is only known by its
  derivatives. `--large` adds the sizes that take minutes;
- operations of the traced solve and the seconds of tracing it.

`--dense` prints, in place of these, where writing out and factorising the
matrix takes as long as the solve without it: the rule of
`keras_influence/solvers/exact.py`.
"""

import argparse
import statistics
import time

import keras
import numpy as np
import tensorflow as tf
from keras import ops

import keras_influence as ki
from benchmarks import harness
from keras_influence.influence.last_layer import (
    LastLayerCurvature,
    LastLayerObjective,
)
from keras_influence.influence.objective import Term

LABELED, UNLABELED, INPUTS = 16, 112, 64
# Width of the hidden layer and classes: the demo and what was a cliff.
NETWORKS = {
    "demo": (64, 10),
    "small head": (15, 10),
    "wide": (248, 10),
    "many classes": (64, 38),
}
# Classes, features and examples of one solve.
SMALL = [(10, 64, 128), (2, 64, 128), (4, 64, 128), (38, 64, 128)]
SOLVES = [*SMALL, (100, 20, 240), (10, 2048, 512), (100, 2048, 512)]
LARGE = [(1000, 2048, 512), (5000, 2048, 512)]
TRACES = [(10, 20, 240), (38, 20, 240), (100, 20, 240)]
# What the same took before: steps in plain ones, milliseconds of a solve by
# classes, operations and seconds of a trace by classes.
STEPS_BEFORE = {
    ("demo", "update"): 9.0,
    ("demo", "update, no curvature"): 1.3,
    ("demo", "update, outer product"): 8.7,
    ("wide", "update"): 127.0,
    ("many classes", "update"): 211.0,
}
SOLVES_BEFORE = {10: 2_100.0, 100: 2_800.0, 1000: 10_000.0, 5000: 237_000.0}
TRACES_BEFORE = {10: (1_971, None), 38: (None, 8.5), 100: (107_000, 31.0)}
# For the rule of `solvers.Exact`: classes, sizes and examples.
DENSE_CLASSES, DENSE_SIZES = (2, 10), (64, 128, 192, 256)
DENSE_EXAMPLES = (128, 1024, 8192)
DAMPING = {"damping": 0.01, "relative_to": "largest_eigenvalue"}
INFLUENCES = {
    "update": None,
    "update, to 1e-5": {},
    "update, no curvature": {"curvature": None},
    "update, outer product": {"curvature": "outer_product"},
    "update, CG 20": {
        "solver": ki.solvers.ConjugateGradient(20, 0.0, **DAMPING)
    },
}


def network(width, classes):
    return keras.Sequential(
        [
            keras.Input((INPUTS,)),
            keras.layers.Dense(width, "relu"),
            keras.layers.Dense(classes),
        ]
    )


def examples(rng, size, classes):
    x = rng.normal(size=(size, INPUTS)).astype("float32")
    return x, rng.integers(classes, size=size)


def compile_arguments(jit_compile):
    return {
        "optimizer": keras.optimizers.SGD(0.03, momentum=0.9),
        "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "jit_compile": jit_compile,
    }


def train_step(model, batch):
    """A function that takes one step, as `fit` does."""
    model.make_train_function()
    iterator = iter(tf.data.Dataset.from_tensors(batch).repeat())
    return lambda: model.train_function(iterator)


def steps(width, classes, jit_compile):
    """One function a method, each of which takes one step."""
    rng = np.random.default_rng(0)
    x, y = examples(rng, LABELED, classes)
    x_unlabeled, given = examples(rng, UNLABELED, classes)
    batch = {
        "labeled": (x, y),
        "unlabeled": {
            "views": {"weak": x_unlabeled},
            "index": np.arange(UNLABELED),
            "label": given,
        },
    }
    stock = network(width, classes)
    stock.compile(**compile_arguments(jit_compile))
    rows = np.concatenate([x, x_unlabeled]), np.concatenate([y, given])
    functions = {"stock Keras": train_step(stock, rows)}
    choices = {"plain": ({}, 10**9)}
    choices |= {name: (chosen, 1) for name, chosen in INFLUENCES.items()}
    for name, (chosen, inner_steps) in choices.items():
        model = ki.InfluenceModel(
            network(width, classes), num_unlabeled=UNLABELED
        )
        model.compile(
            unlabeled_loss=ki.losses.GivenLabels(),
            influence=None if chosen is None else ki.Influence(**chosen),
            validation_set=examples(rng, 100, classes),
            inner_steps=inner_steps,
            **compile_arguments(jit_compile),
        )
        functions[name] = train_step(model, batch)
    return functions


def step_rows(rounds):
    """The table of steps."""
    rows = []
    for name, (width, classes) in NETWORKS.items():
        for jit_compile in (False, True):
            functions = steps(width, classes, jit_compile)
            # The clock of a processor ticks coarsely: several steps at once.
            times = harness.interleave(
                {k: _repeated(f, 10) for k, f in functions.items()},
                rounds,
                measure=_processor_seconds,
            )
            relative = harness.ratios(times, "plain")
            rows += [
                {
                    "network": f"{name}{', XLA' if jit_compile else ''}",
                    "parameters": (width + 1) * classes,
                    "step": step,
                    "median ms": 100 * statistics.median(values),
                    "x plain": relative[step],
                    "before": None
                    if jit_compile
                    else STEPS_BEFORE.get((name, step)),
                }
                for step, values in times.items()
            ]
    return rows


def problem(classes, features, size):
    """A function that solves for tensors, and the tensors."""
    rng = np.random.default_rng(0)
    half = size // 2
    y = rng.integers(classes, size=half)
    given = rng.integers(classes, size=size - half)

    def loss(labels):
        def losses(z):
            return ops.sparse_categorical_crossentropy(
                labels, z[:, 0], from_logits=True
            )

        return losses

    hidden = rng.normal(size=(size, 32)) @ rng.normal(size=(32, features))
    hidden = np.maximum(hidden / 6 + 0.1 * rng.normal(size=hidden.shape), 0)
    kernel = 3 * rng.normal(size=(features, classes)) / features**0.5
    tensors = [hidden[:half, None], hidden[half:, None], kernel]
    tensors.append(rng.normal(size=((features + 1) * classes)))
    tensors = [tf.constant(t, "float32") for t in tensors]

    def solve(solver, labeled, unlabeled, kernel, vector):
        terms = [
            Term(loss(y), tf.fill([half], 1 / half), softmax=True),
            Term(loss(given), tf.fill([size - half], 0.1 / size)),
        ]
        parameters = [kernel, tf.zeros([classes])]
        objective = LastLayerObjective(parameters, [labeled, unlabeled], terms)
        solution = solver.solve(LastLayerCurvature(objective), vector)
        scores = objective.directional_derivatives(solution.vector)
        products = getattr(solution, "products", tf.constant(-1))
        return scores, solution.residual, products

    return solve, tensors


def solve_rows(sizes, rounds):
    """The table of solves; a dense one is the measure of the scores."""
    exact = ki.solvers.Exact(**DAMPING)
    rows = []
    for classes, features, size in sizes:
        solve, tensors = problem(classes, features, size)
        solvers = {
            "default": ki.preset("recommended")["influence"].solver,
            "to 1e-5": exact,
            "CG 20": ki.solvers.ConjugateGradient(20, 0.0, **DAMPING),
        }
        parameters = (features + 1) * classes
        if parameters <= 2500:
            solvers["dense"] = ki.solvers.Exact(**DAMPING, max_dense=2500)
        traced = {
            name: tf.function(_bound(solve, solver), autograph=False)
            for name, solver in solvers.items()
        }
        found = {name: f(*tensors) for name, f in traced.items()}
        times = harness.interleave(
            {name: _bound(f, *tensors) for name, f in traced.items()},
            rounds,
            warmup=1,
            measure=_processor_seconds,
        )
        reference = found.get("dense", found["to 1e-5"])[0]
        for name, (scores, residual, products) in found.items():
            rows.append(
                {
                    "classes": classes,
                    "features": features,
                    "examples": size,
                    "solver": name,
                    "median ms": 1000 * statistics.median(times[name]),
                    "before": SOLVES_BEFORE.get(classes)
                    if (features, name) == (2048, "default")
                    else None,
                    "products": int(products),
                    "residual": float(residual),
                    "scores off by": _distance(scores, reference),
                    "peak MB": harness.peak_memory(
                        _bound(traced[name], *tensors)
                    ),
                }
            )
    return rows


def trace_rows(sizes):
    """The table of graphs."""
    rows = []
    for classes, features, size in sizes:
        solve, tensors = problem(classes, features, size)
        for name, limit in (("default", {}), ("dense", {"max_dense": 2500})):
            solver = ki.solvers.Exact(**DAMPING, **limit)
            start = time.process_time()
            traced = tf.function(_bound(solve, solver), autograph=False)
            graph = traced.get_concrete_function(*tensors).graph.as_graph_def()
            before = (
                TRACES_BEFORE[classes] if name == "default" else (None,) * 2
            )
            rows.append(
                {
                    "classes": classes,
                    "features": features,
                    "solver": name,
                    "operations": len(graph.node)
                    + sum(len(f.node_def) for f in graph.library.function),
                    "before": before[0],
                    "tracing s": time.process_time() - start,
                    "s before": before[1],
                }
            )
    return rows


def dense_rows(rounds):
    """Where a factorisation takes as long as products do."""
    rows = []
    for classes in DENSE_CLASSES:
        for size in DENSE_SIZES:
            for examples in DENSE_EXAMPLES:
                features = max(size // classes - 1, 1)
                solve, tensors = problem(classes, features, examples)
                functions = {}
                for name, limit in (("dense", 10**6), ("matrix-free", 1)):
                    solver = ki.solvers.Exact(**DAMPING, max_dense=limit)
                    traced = tf.function(_bound(solve, solver), autograph=False)
                    functions[name] = _repeated(_bound(traced, *tensors), 5)
                times = harness.interleave(
                    functions, rounds, 1, _processor_seconds
                )
                rows.append(
                    {
                        "classes": classes,
                        "parameters": (features + 1) * classes,
                        "examples": examples,
                        **{
                            f"{name} ms": 200 * statistics.median(values)
                            for name, values in times.items()
                        },
                        "dense / matrix-free": harness.ratios(
                            times, "matrix-free"
                        )["dense"],
                    }
                )
    return rows


def _bound(function, *arguments):
    return lambda *rest: function(*arguments, *rest)


def _repeated(function, times):
    def run():
        for _ in range(times):
            function()

    return run


def _processor_seconds(function):
    return harness.seconds(function, time.process_time)


def _distance(scores, reference):
    ours, theirs = (np.concatenate(s) for s in (scores, reference))
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def measured(arguments) -> dict:
    """The tables that the arguments ask for."""
    if arguments.dense:
        return {"A dense solve": dense_rows(arguments.rounds)}
    tables = {
        "Graph of one solve": trace_rows(TRACES),
        "One solve for the last layer": solve_rows(SOLVES, arguments.rounds),
        "Step of a small network": step_rows(arguments.rounds),
    }
    if arguments.large:
        tables["One large solve"] = solve_rows(LARGE, 1)
    return tables


def main():
    """Measures, prints the tables and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--dense", action="store_true")
    parser.add_argument("--json", default=None)
    arguments = parser.parse_args()
    tables = measured(arguments)
    for title, rows in tables.items():
        harness.print_table(title, rows)
    harness.write_json(arguments.json, tables, rounds=arguments.rounds)


if __name__ == "__main__":
    main()
