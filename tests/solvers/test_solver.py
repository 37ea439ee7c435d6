import functools

import hypothesis
import hypothesis.strategies as st
import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_influence import solvers
from tests.cases.solvers import (
    COMPILED,
    MODES,
    damped,
    few_examples,
    right_hand_side,
    rotated,
    seeds,
    solve,
)

# Every solver with a budget that is ample for the condition number 20.
METHODS = {
    "exact": solvers.Exact,
    "matrix_free": functools.partial(solvers.Exact, max_dense=1),
    "cg": functools.partial(solvers.ConjugateGradient, tolerance=0.0),
    "neumann": functools.partial(solvers.Neumann, terms=400),
    "lissa": functools.partial(solvers.StochasticNeumann, depth=400),
    "arnoldi": functools.partial(solvers.Arnoldi, rank=50, iterations=50),
    "nystrom": functools.partial(solvers.Nystrom, rank=50),
}
DAMPED = {name: make(damping=0.1) for name, make in METHODS.items()}
RELATIVE = {
    name: make(damping=0.1, relative_to="largest_eigenvalue")
    for name, make in METHODS.items()
}
every = pytest.mark.parametrize("name", METHODS)


def accuracy(name, mode, dtype):
    if dtype == "float32" or name == "matrix_free":
        return 1e-4
    # XLA's eigendecomposition in float64 is good to about 1e-8.
    return 1e-6 if (name, mode) == ("arnoldi", "xla") else 1e-10


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", MODES)
@every
def test_agrees_with_numpy(name, mode, dtype):
    matrix = rotated(np.geomspace(0.05, 2.0, 4), dtype=dtype)
    vector = right_hand_side(4, dtype=dtype)
    solution = solve(DAMPED[name], matrix, vector, mode)
    exact = np.linalg.solve(damped(matrix, 0.1), vector)
    tolerance = accuracy(name, mode, dtype)
    np.testing.assert_allclose(solution.vector, exact, tolerance, tolerance)
    assert solution.vector.dtype == dtype
    assert solution.residual < tolerance
    assert solution.valid


@every
@few_examples
@hypothesis.given(
    spectrum=st.lists(st.floats(0.0, 1.9), min_size=4, max_size=4), seed=seeds
)
def test_agrees_with_numpy_on_random_matrices(name, spectrum, seed):
    matrix, vector = rotated(spectrum, seed), right_hand_side(4, seed)
    solution = solve(DAMPED[name], matrix, vector, "graph")
    exact = np.linalg.solve(damped(matrix, 0.1), vector)
    tolerance = 1e-4 * np.linalg.norm(exact)
    np.testing.assert_allclose(solution.vector, exact, atol=tolerance)
    rest = damped(matrix, 0.1) @ solution.vector - vector
    residual = np.linalg.norm(rest) / np.linalg.norm(vector)
    np.testing.assert_allclose(solution.residual, residual, 1e-6, 1e-13)
    assert solution.valid


def test_residual_of_a_rough_solution():
    matrix, vector = np.diag([1.0, 4.0]), np.array([3.0, 4.0])
    solution = solve(solvers.Neumann(1, step=0.25, damping=0), matrix, vector)
    # v = g / 4, so H v = (3/4, 4) and the rest is (9/4, 0) of length 5.
    np.testing.assert_allclose(solution.residual, 0.45)


@pytest.mark.parametrize("mode", COMPILED)
@pytest.mark.parametrize(
    ("matrix", "vector"),
    [
        (np.diag([1.0, -0.5, 1.0, 1.0]), np.ones(4)),
        (rotated([1.0, 0.5, 0.3, -1.0]), np.arange(4.0)),
        (-np.eye(4), np.ones(4)),
        (np.diag([1.0, 1.0, np.nan, 1.0]), np.ones(4)),
        (np.diag([1.0, 1.0, np.inf, 1.0]), np.ones(4)),
        (np.eye(4), np.array([1.0, np.nan, 0.0, 0.0])),
        (np.eye(4), np.array([0.0, 1.0, 0.0, -np.inf])),
        (np.eye(4) * 1e-20, np.full(4, 3e38)),
    ],
    ids=[
        "indefinite",
        "rotated",
        "negative",
        "nan_operator",
        "inf_operator",
        "nan_vector",
        "inf_vector",
        "overflow",
    ],
)
@every
def test_what_cannot_be_solved_is_not_valid(name, matrix, vector, mode):
    matrix, vector = matrix.astype("float32"), vector.astype("float32")
    assert not solve(DAMPED[name], matrix, vector, mode).valid


@pytest.mark.parametrize("mode", COMPILED)
@every
def test_zero_has_the_solution_zero(name, mode):
    matrix = rotated([0.5, 1.0, 2.0, 3.0], dtype="float32")
    vector = np.zeros(4, "float32")
    solution = solve(DAMPED[name], matrix, vector, mode)
    np.testing.assert_array_equal(solution.vector, 0.0)
    assert solution.residual == 0.0
    assert solution.valid


@every
def test_one_parameter(name):
    matrix, vector = np.array([[3.9]]), np.array([-8.0])
    solution = solve(DAMPED[name], matrix, vector, "graph")
    np.testing.assert_allclose(solution.vector, [-2.0], 1e-6)
    assert solution.valid


@pytest.mark.parametrize(
    ("curvature_scale", "gradient_scale"),
    [(1e-20, 1e-20), (1e-20, 1e10), (1.0, 1e-30), (1e20, 1.0), (1e20, 1e30)],
)
@every
def test_scale_does_not_matter(name, curvature_scale, gradient_scale):
    ratio = gradient_scale / curvature_scale
    matrix = rotated([0.4, 0.5, 0.7, 1.0])
    vector = right_hand_side(4)
    solution = solve(
        RELATIVE[name],
        (curvature_scale * matrix).astype("float32"),
        (gradient_scale * vector).astype("float32"),
        "graph",
    )
    exact = np.linalg.solve(damped(matrix, 0.1), vector)
    np.testing.assert_allclose(solution.vector / ratio, exact, 1e-3)
    assert solution.residual < 1e-3
    assert solution.valid


@every
@few_examples
@hypothesis.given(
    entries=st.lists(st.floats(width=32), min_size=14, max_size=14)
)
def test_a_valid_vector_is_finite(name, entries):
    entries = np.array(entries, "float32")
    matrix = np.zeros((4, 4), "float32")
    matrix[np.tril_indices(4)] = entries[:10]
    matrix += np.tril(matrix, -1).T
    solution = solve(DAMPED[name], matrix, entries[10:], "graph")
    finite = np.isfinite([*solution.vector, solution.residual]).all()
    assert finite or not solution.valid


@pytest.mark.parametrize("mode", COMPILED)
@pytest.mark.parametrize(
    ("relative_to", "unit"),
    [(None, 1.0), ("largest_eigenvalue", 8.0), ("mean_eigenvalue", 4.0)],
)
def test_damping(relative_to, unit, mode):
    matrix, vector = np.diag([1.0, 3.0, 8.0]), np.ones(3)
    solution = solve(
        solvers.Exact(0.1, relative_to=relative_to), matrix, vector, mode
    )
    expected = 1 / (np.diag(matrix) + 0.1 * unit)
    # XLA's eigendecomposition in float64 is good to about 1e-8.
    tolerance = 1e-7 if mode == "xla" else 1e-12
    np.testing.assert_allclose(solution.vector, expected, tolerance)


@pytest.mark.parametrize("spent", [(0.0, None), (0.01, "largest_eigenvalue")])
def test_one_estimate_serves_damping_and_step(spent):
    class Counting(solvers.Operator):
        products = 0

        def matvec(self, vector):
            self.products += 1
            return 2.0 * vector

    operator = Counting(3)
    solver = solvers.Neumann(terms=7, damping=spent[0], relative_to=spent[1])
    solver.solve(operator, tf.ones(3))
    assert operator.products == 8 + 7 + 1


@pytest.mark.parametrize("name", [*METHODS, "identity"])
def test_survives_serialisation(name):
    solver = {**RELATIVE, "identity": solvers.Identity()}[name]
    config = keras.saving.serialize_keras_object(solver)
    copy = keras.saving.deserialize_keras_object(config)
    assert type(copy) is type(solver)
    assert copy.get_config() == solver.get_config()
    assert vars(copy) == vars(solver)


@pytest.mark.parametrize("name", [*METHODS, "identity"])
def test_prints_the_call_that_makes_it(name):
    solver = {**RELATIVE, "identity": solvers.Identity()}[name]
    copy = eval(repr(solver), vars(solvers))
    assert vars(copy) == vars(solver)
    assert repr(solvers.Exact(damping=0.01)) == "Exact(damping=0.01)"


@every
def test_mixed_precision_changes_nothing(name):
    matrix = rotated([0.5, 1.0, 2.0, 3.0], dtype="float32")
    vector = right_hand_side(4, dtype="float32")
    expected = solve(DAMPED[name], matrix, vector, "graph")
    keras.config.set_dtype_policy("mixed_float16")
    try:
        solver = METHODS[name](damping=0.1)
        solution = solve(solver, matrix, vector, "graph")
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(solution.vector, expected.vector)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: solvers.Exact(damping=-1.0), "damping"),
        (lambda: solvers.Exact(damping=float("nan")), "damping"),
        (lambda: solvers.Exact(damping="1e-3"), "damping"),
        (lambda: solvers.Exact(damping=None), "damping"),
        (lambda: solvers.Exact(tolerance="1e-3"), "tolerance"),
        (lambda: solvers.Exact(relative_to="trace"), "relative_to"),
        (lambda: solvers.ConjugateGradient(tolerance="x"), "tolerance"),
        (lambda: solvers.Neumann(step="x"), "step"),
        (lambda: solvers.StochasticNeumann(scale="x"), "scale"),
        (lambda: solvers.Exact(max_dense=0), "max_dense"),
        (lambda: solvers.ConjugateGradient(iterations=0), "iterations"),
        (lambda: solvers.ConjugateGradient(tolerance=1.0), "tolerance"),
        (
            lambda: solvers.ConjugateGradient(preconditioner="jacobi"),
            "preconditioner",
        ),
        (lambda: solvers.Neumann(terms=0), "terms"),
        (lambda: solvers.Neumann(terms=2.0), "terms"),
        (lambda: solvers.Neumann(step=0.0), "step"),
        (lambda: solvers.StochasticNeumann(depth=0), "depth"),
        (lambda: solvers.StochasticNeumann(repeats=0), "repeats"),
        (lambda: solvers.StochasticNeumann(scale=-1.0), "scale"),
        (lambda: solvers.Arnoldi(rank=0), "rank"),
        (lambda: solvers.Arnoldi(rank=9, iterations=8), "rank"),
        (lambda: solvers.Nystrom(rank=0), "rank"),
        (lambda: solvers.Nystrom(damping=0.0), "damping"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=f"Argument `{message}`.*Received"):
        make()


def test_a_vector_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"operator\.size=2"):
        solve(solvers.Exact(), np.eye(2), np.ones(3))


def test_solve_damped_is_to_be_written():
    class Unfinished(solvers.Solver):
        pass

    with pytest.raises(NotImplementedError, match="Unfinished"):
        solve(Unfinished(), np.eye(2), np.ones(2))


@pytest.mark.parametrize("scale", [1.0, 1e30])
def test_identity(scale):
    vector = tf.constant([scale, -scale], "float32")
    solution = solvers.Identity().solve(None, vector)
    np.testing.assert_array_equal(solution.vector, vector)
    assert solution.valid
    assert not solvers.Identity().solve(None, [1.0, np.inf]).valid


def test_a_negative_mean_eigenvalue():
    operator = solvers.DenseOperator(np.diag([3.0, -1.0, -4.0]))
    solver = solvers.ConjugateGradient(
        damping=0.5, relative_to="mean_eigenvalue"
    )
    assert solver.absolute_damping(operator) > 0


def test_integers_of_numpy():
    solver = solvers.ConjugateGradient(iterations=np.int64(20))
    copy = solvers.ConjugateGradient.from_config(solver.get_config())
    assert copy.iterations == 20
