"""What the tests of the solvers share."""

import functools

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf

from keras_influence.solvers import DenseOperator, Reason

MODES = ("eager", "graph", "xla")
COMPILED = ("graph", pytest.param("xla", marks=pytest.mark.slow))

few_examples = hypothesis.settings(
    max_examples=10, deadline=None, derandomize=True
)
seeds = st.integers(0, 2**31)
# Condition numbers up to 100: every budget below reaches rounding.
spectra = st.lists(st.floats(0.02, 2.0), min_size=1, max_size=6)


def rotated(eigenvalues, seed=0, dtype="float64"):
    """A random symmetric matrix with the given eigenvalues."""
    n = len(eigenvalues)
    gaussian = np.random.default_rng(seed).normal(size=(n, n))
    q, _ = np.linalg.qr(gaussian)
    return ((q * np.asarray(eigenvalues)) @ q.T).astype(dtype)


def right_hand_side(size, seed=0, dtype="float64"):
    return np.random.default_rng(seed + 1).normal(size=size).astype(dtype)


@functools.cache
def runner(solver, mode):
    """`solver.solve` as a function of a matrix and a vector, traced once."""

    def run(matrix, vector):
        return solver.solve(DenseOperator(matrix), vector)

    if mode == "eager":
        return run
    return tf.function(run, jit_compile=mode == "xla", autograph=False)


def solve(solver, matrix, vector, mode="eager"):
    """`solver.solve` on a matrix, as numpy arrays."""
    solution = runner(solver, mode)(tf.constant(matrix), tf.constant(vector))
    return solution._replace(
        vector=solution.vector.numpy(),
        residual=float(solution.residual),
        reason=Reason(int(solution.reason)),
        products=int(solution.products),
    )


def damped(matrix, damping):
    return matrix + damping * np.eye(len(matrix))


def errors(solvers, matrix, vector, damping=0.0, order=None):
    """Distance of each solver's solution to numpy's.

    `order` is a matrix `A`: the distance is then `√(eᵀ A e)`.
    """
    exact = np.linalg.solve(damped(matrix, damping), vector)
    order = np.eye(len(matrix)) if order is None else order
    found = [solve(s, matrix, vector, "graph").vector for s in solvers]
    differences = [vector - exact for vector in found]
    return np.array([np.sqrt(e @ order @ e) for e in differences])


def slope(budgets, errors):
    """The mean factor by which the error falls per unit of budget, as a log."""
    return np.polyfit(budgets, np.log(errors), 1)[0]
