"""The inverse-Hessian methods of table A1 side by side.

    python -m benchmarks.approximations --data-dir PATH [--json PATH]

A small convolutional network is trained on Fashion-MNIST and on CIFAR-10. For
each method and scope: time and peak memory of the scores of one batch, and how
far they are from the exact ones of that scope, by the dense Hessian in float64
with the same damping. On softmax regression, which trains to its optimum in no
time, also the rank correlation with retraining without each example.

Reference: section 4.3 of "Not All Unlabeled Data are Equal".
"""

import argparse
import time
from typing import NamedTuple

import keras
import numpy as np
import scipy.stats
import tensorflow as tf
import tensorflow_datasets as tfds
from keras import ops

import keras_influence as ki
from benchmarks import harness
from benchmarks.retraining import SoftmaxRegression
from benchmarks.tradeoff import plot_tradeoff
from keras_influence.influence.head import find_head
from keras_influence.influence.objective import Term
from keras_influence.influence.per_example_loss import PerExampleLoss
from keras_influence.influence.presets import PRESETS
from keras_influence.influence.scope import LastLayerScope, VariablesScope

DATASETS = ("fashion_mnist", "cifar10")
SCOPES = ("last_layer", "all")
CLASSES = 10
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
METHODS = {
    # In the comparison the paper's own method takes any scope.
    "exact": ki.Influence.preset("last_layer"),
    **{
        name: ki.Influence.preset(name)
        for name in PRESETS
        if name != "last_layer"
    },
    "arnoldi": ki.Influence("all", solver=ki.solvers.Arnoldi()),
    # It needs a positive semi-definite curvature.
    "nystrom": ki.Influence("all", "gauss_newton", ki.solvers.Nystrom()),
}
DECAY = 0.01


class Problem(NamedTuple):
    """A trained network and the examples that are scored.

    Args:
        weights: list of arrays, the network's.
        filters: tuple of integers, the network's.
        train: tuple `(x, y)` of arrays.
        validation: tuple `(x, y)` of arrays.
    """

    weights: list
    filters: tuple
    train: tuple
    validation: tuple

    def network(self, dtype="float32") -> keras.Model:
        """The network with these weights, its layers recording."""
        model = convolutional(self.train[0].shape[1:], self.filters, dtype)
        model.set_weights(self.weights)
        return ki.layers.recording_clone(model)


def convolutional(shape, filters, dtype="float32") -> keras.Model:
    """3 x 3 convolutions with strides, a hidden layer and a linear head."""
    layers = [
        keras.layers.Conv2D(n, 3, 2, activation="relu", dtype=dtype)
        for n in filters
    ]
    layers += [
        keras.layers.GlobalAveragePooling2D(dtype=dtype),
        keras.layers.Dense(2 * filters[-1], activation="relu", dtype=dtype),
        keras.layers.Dense(CLASSES, dtype=dtype),
    ]
    return keras.Sequential([keras.Input(shape, dtype=dtype), *layers])


def load(dataset, data_dir, count) -> tuple:
    """The first images of a data set, standardised, with their labels."""
    data = tfds.load(
        dataset,
        split=f"train[:{count}]",
        data_dir=data_dir,
        batch_size=-1,
        as_supervised=True,
    )
    x, y = tfds.as_numpy(data)
    x = x.astype("float32")
    return (x - x.mean()) / x.std(), y


def trained(x, y, scale) -> Problem:
    """Trains the network and takes a batch of training examples to score."""
    filters = tuple(max(2, int(n * scale)) for n in (8, 16))
    size = int(128 * scale)
    model = convolutional(x.shape[1:], filters)
    model.compile(keras.optimizers.Adam(3e-3), LOSS)
    model.fit(x[size:], y[size:], batch_size=128, epochs=5, verbose=0)
    return Problem(
        model.get_weights(),
        filters,
        (x[-size:], y[-size:]),
        (x[:size], y[:size]),
    )


def objective(model, scope, x, y):
    """The mean loss of a batch as an objective of a scope's parameters."""
    loss = PerExampleLoss(LOSS)
    weights = ops.ones(x.shape[:1], "float64") / x.shape[0]
    term = Term.of_labels(loss, y, weights)
    if scope == "last_layer":
        head = find_head(model, x)
        scope = LastLayerScope(head, lambda x: head.run(model, x))
    else:
        scope = VariablesScope(model, model.trainable_variables)
    return scope.objective(x, [term])


class Exact(NamedTuple):
    """The exact scores of a scope, in float64.

    Args:
        scores: array of shape `(n,)`.
        eigenvalues: array, of the Hessian, the smallest first.
        damping: float, 1 % of the largest eigenvalue, or more where some are
            negative: twice what makes the Hessian positive definite.
    """

    scores: np.ndarray
    eigenvalues: np.ndarray
    damping: float

    @classmethod
    def of(cls, problem, scope) -> "Exact":
        """By eigenvalues and eigenvectors of the dense Hessian."""
        model = problem.network("float64")

        @tf.function(autograph=False)
        def parts(x, y, x_val, y_val):
            inner = objective(model, scope, x, y)
            outer = objective(model, scope, x_val, y_val)
            hessian = inner.curvature("hessian").as_matrix()
            return hessian, outer.gradient()

        @tf.function(autograph=False)
        def derivatives(x, y, vector):
            inner = objective(model, scope, x, y)
            return inner.directional_derivatives(vector)[0]

        train, validation = (
            (tf.constant(x, "float64"), tf.constant(y))
            for x, y in (problem.train, problem.validation)
        )
        hessian, gradient = map(np.array, parts(*train, *validation))
        values, vectors = np.linalg.eigh(hessian)
        damping = max(0.01 * values[-1], -2 * values[0])
        solution = vectors @ ((vectors.T @ gradient) / (values + damping))
        scores = -derivatives(*train, tf.constant(solution)).numpy()
        return cls(scores, values, float(damping))


def damped(influence, scope, damping) -> ki.Influence | ki.Unrolled:
    """A method in another scope and with another, absolute damping."""
    if isinstance(influence, ki.Unrolled):  # the steps themselves damp
        return ki.Unrolled(influence.steps, influence.learning_rate, scope)
    solver = influence.solver
    config = solver.get_config()
    if "damping" in config:
        config.update(damping=damping, relative_to=None)
    return ki.Influence(scope, influence.curvature, type(solver)(**config))


def measured(problem, scope, exact, rounds, clock) -> list[dict]:
    """A row for every method: cost, and distance from the exact scores."""
    model = problem.network()
    tensors = [tf.constant(t) for t in (*problem.train, *problem.validation)]

    def update(influence):
        @tf.function(autograph=False)
        def scores(x, y, x_val, y_val):
            inner = objective(model, scope, x, y)
            outer = objective(model, scope, x_val, y_val)
            scores, solution = influence.scores(inner, outer)
            return scores[0], solution.valid

        return lambda: [t.numpy() for t in scores(*tensors)]

    @tf.function(autograph=False)
    def gradient(x, y):
        return objective(model, "all", x, y).gradient()

    updates = {
        name: update(damped(influence, scope, exact.damping))
        for name, influence in METHODS.items()
    }
    results, peaks = {}, {}
    for name, function in updates.items():
        peaks[name] = harness.peak_memory(
            lambda name=name, f=function: results.update({name: f()})
        )
    updates["one gradient"] = lambda: gradient(*tensors[:2])
    updates["one gradient"]()
    times = harness.interleave(
        updates, rounds, 0, lambda f: harness.seconds(f, clock)
    )
    relative = harness.ratios(times, "one gradient")
    return [
        {
            "method": name,
            "ms": 1e3 * float(np.median(times[name])),
            "x gradient": relative[name],
            "peak MB": peaks[name],
            **_distances(scores, exact.scores),
            "valid": str(valid),
        }
        for name, (scores, valid) in results.items()
    ]


def _distances(scores, exact):
    scores = scores.astype("float64")
    # The step of M-Adam does not depend on the scale: here the best one.
    best = scores @ exact / (scores @ scores) * scores
    length = np.linalg.norm(exact)
    return {
        "correlation": float(np.corrcoef(scores, exact)[0, 1]),
        "error": float(np.linalg.norm(scores - exact) / length),
        "scaled error": float(np.linalg.norm(best - exact) / length),
    }


def against_retraining(x, y, scale) -> list[dict]:
    """Rank correlations with leave-one-out retraining of a convex problem.

    Softmax regression on the first principal components of the images; the
    weight decay is what the methods know as damping.
    """
    # With fewer, leaving one out moves the optimum too far.
    size, components = max(128, int(256 * scale)), 20
    x = x[: 2 * size].reshape(2 * size, -1).astype("float64")
    _, _, axes = np.linalg.svd(x - x.mean(0), full_matrices=False)
    x = (x - x.mean(0)) @ axes[:components].T
    x /= x.std(0)
    train, validation = (x[:size], y[:size]), (x[size:], y[size : 2 * size])
    regression = SoftmaxRegression(train, validation, CLASSES, DECAY)
    truth = regression.leave_one_out()
    head = keras.layers.Dense(CLASSES, use_bias=False, dtype="float64")
    inputs = keras.Input(x.shape[1:], dtype="float64")
    model = keras.Sequential([inputs, head])
    model.set_weights([regression.parameters])
    rows = []
    for name, influence in METHODS.items():
        scores = ki.influence_scores(
            model,
            train,
            validation,
            loss=LOSS,
            influence=damped(influence, "last_layer", DECAY),
        )
        # Leaving out takes the weight down by 1.
        rank = scipy.stats.spearmanr(-scores, truth).statistic
        rows.append({"method": name, "rank correlation": float(rank)})
    return rows


def main():
    """Measures, prints the tables, writes the JSON and the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data-dir", help="folder of TensorFlow Datasets")
    parser.add_argument(
        "--datasets", nargs="+", choices=DATASETS, default=DATASETS
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--clock",
        choices=["perf_counter", "process_time"],
        default="perf_counter",
        help="the wall's, or the processor's where others use it too",
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="factor of all sizes"
    )
    parser.add_argument("--json")
    parser.add_argument("--picture", help="where to save the PNG")
    arguments = parser.parse_args()
    tf.get_logger().setLevel("ERROR")  # about one function a method
    keras.utils.set_random_seed(0)
    clock = getattr(time, arguments.clock)
    tables, panels = {}, {}

    def add(title, rows):
        tables[title] = rows
        harness.print_table(title, rows)

    for dataset in arguments.datasets:
        count = int(12_000 * arguments.scale)
        x, y = load(dataset, arguments.data_dir, count)
        problem = trained(x, y, arguments.scale)
        for scope in SCOPES:
            exact = Exact.of(problem, scope)
            rows = measured(problem, scope, exact, arguments.rounds, clock)
            values = exact.eigenvalues
            panels[f"{dataset}, {scope}"] = rows
            add(
                f"{dataset}, {scope}: {len(values)} parameters, eigenvalues "
                f"{values[0]:.2g} to {values[-1]:.2g}, damping "
                f"{exact.damping:.2g}",
                rows,
            )
        add(
            f"Rank correlation with retraining, {dataset}",
            against_retraining(x, y, arguments.scale),
        )
    settings = {k: v for k, v in vars(arguments).items() if k != "data_dir"}
    harness.write_json(settings.pop("json"), tables, **settings)
    if arguments.picture:
        plot_tradeoff(panels, arguments.picture)


if __name__ == "__main__":
    main()
