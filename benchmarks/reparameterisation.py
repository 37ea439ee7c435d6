"""Does a softmax head need the reparameterisation of two classes for C?

    python -m benchmarks.reparameterisation [--json PATH]

Adding one vector to the kernel column of every class changes no probability,
so the Hessian of a softmax head is singular: as many eigenvalues are 0 as there
are features. Damping makes it regular. So does solving only among directions
whose columns sum to zero, of which there are C - 1 a feature, as `BinaryLogits`
does for C = 2. All gradients lie among these, hence with the same damping both
have the same solution, and only rounding can tell them apart.

For float32 and every damping: whether the Cholesky factor is valid, how far the
scores are from those by the pseudo-inverse in float64, how far from those with
the same damping in float64, the condition number, and the time of one solve.

Reference: appendix D of "Not All Unlabeled Data are Equal".
"""

import argparse
import time

import keras
import numpy as np
import scipy.linalg
import tensorflow as tf

import keras_influence as ki
from benchmarks import harness, workloads
from benchmarks.approximations import objective
from keras_influence.solvers import DenseOperator

DAMPINGS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 0.0)


def zero_sum_basis(features: int, classes: int) -> np.ndarray:
    """Orthonormal directions of the kernel whose columns sum to zero.

    Args:
        features: integer.
        classes: integer.

    Returns:
        Array of shape `(features * classes, features * (classes - 1))`.
    """
    return np.kron(np.eye(features), scipy.linalg.helmert(classes).T)


def derivatives(problem: workloads.Problem, dtype: str) -> tuple:
    """Hessian, validation gradient and every example's gradient of a head.

    Args:
        problem: `workloads.Problem` of a linear head.
        dtype: string, what they are computed in.
    """
    (kernel,) = problem.parameters
    inputs = keras.Input(kernel.shape[:1], dtype=dtype)
    layer = keras.layers.Dense(kernel.shape[1], use_bias=False, dtype=dtype)
    model = ki.layers.recording_clone(keras.Sequential([inputs, layer]))
    model.set_weights([kernel])

    def part(x, y):
        return objective(model, "last_layer", tf.constant(x, dtype), y)

    inner = part(problem.x, problem.y)
    hessian = inner.curvature("hessian").as_matrix()
    outer = part(*problem.validation).gradient()
    features, deltas = inner.features[0], inner.output_gradients()[0]
    gradients = tf.einsum("nvf,nvc->nfc", features, deltas)
    gradients = tf.reshape(gradients, (len(problem.x), -1))
    return hessian.numpy(), outer.numpy(), gradients.numpy()


def true_scores(problem: workloads.Problem) -> tuple:
    """Scores by damping in float64, and the Hessian's eigenvalues.

    Returns:
        A dict from every damping to the scores, where 0 stands for the
        pseudo-inverse, and the eigenvalues, the smallest first.
    """
    hessian, outer, gradients = derivatives(problem, "float64")
    values, vectors = np.linalg.eigh(hessian)
    kept = values > 1e-10 * values[-1]
    values, vectors = values[kept], vectors[:, kept]
    scores = {
        damping: -gradients
        @ (vectors @ ((vectors.T @ outer) / (values + damping)))
        for damping in DAMPINGS
    }
    return scores, values


def rows(problem: workloads.Problem, rounds: int, clock) -> list[dict]:
    """Both solves at every damping.

    Args:
        problem: `workloads.Problem` of a linear head.
        rounds: integer, counted solves.
        clock: function that returns seconds.
    """
    truth, values = true_scores(problem)
    hessian, outer, gradients = derivatives(problem, "float32")
    basis = zero_sum_basis(*problem.parameters[0].shape).astype("float32")
    spaces = {"full": np.eye(len(hessian), dtype="float32"), "zero sum": basis}
    parts = {
        name: (DenseOperator(q.T @ hessian @ q), q.T @ outer)
        for name, q in spaces.items()
    }
    result = []
    for damping in DAMPINGS:
        solver = ki.solvers.Exact(damping)
        solve = {
            name: tf.function(lambda p=part, s=solver: s.solve(*p))
            for name, part in parts.items()
        }
        times = harness.interleave(
            solve, rounds, 1, lambda f: harness.seconds(f, clock)
        )
        for name, q in spaces.items():
            solution = solve[name]()
            valid = bool(solution.valid)
            scores = -gradients @ (q @ solution.vector.numpy())
            lowest = values[0] if name == "zero sum" else 0.0
            condition = (values[-1] + damping) / (lowest + damping or np.nan)
            result.append(
                {
                    "solve": name,
                    "damping": damping,
                    "valid": str(valid),
                    **_distances(valid, scores, truth[damping], truth[0.0]),
                    "condition": float(condition),
                    "ms": 1e3 * float(np.median(times[name])),
                }
            )
    return result


def _distances(valid, scores, damped, undamped):
    names = "rounding", "from pseudo-inverse", "correlation"
    if not valid:  # the vector is zero
        return dict.fromkeys(names)
    scores = scores.astype("float64")
    correlation = float(np.corrcoef(scores, undamped)[0, 1])
    errors = _error(scores, damped), _error(scores, undamped)
    return dict(zip(names, (*errors, correlation), strict=True))


def _error(scores, truth):
    return float(np.linalg.norm(scores - truth) / np.linalg.norm(truth))


def main():
    """Measures, prints the tables, writes the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="factor of the examples"
    )
    parser.add_argument("--json")
    arguments = parser.parse_args()
    tf.get_logger().setLevel("ERROR")  # about one function a damping
    tables = {}
    for correlated in (False, True):
        problem = workloads.head("W1", correlated, arguments.scale)
        kind = "ReLU features" if correlated else "Gaussian features"
        title = f"128 features, 10 classes, {kind}"
        tables[title] = rows(problem, arguments.rounds, time.process_time)
        harness.print_table(title, tables[title])
    settings = vars(arguments)
    harness.write_json(settings.pop("json"), tables, **settings)


if __name__ == "__main__":
    main()
