import hypothesis
import numpy as np
import pytest
import tensorflow as tf

from keras_influence.solvers import ConjugateGradient, DenseOperator
from keras_influence.solvers.conjugate_gradient import KRYLOV
from tests.cases.solvers import (
    MODES,
    damped,
    errors,
    few_examples,
    right_hand_side,
    rotated,
    seeds,
    slope,
    solve,
    spectra,
)


class Preconditioned(DenseOperator):
    """A matrix with the inverse of another one as its preconditioner."""

    def __init__(self, matrix, other):
        super().__init__(matrix)
        self.other = other

    def preconditioner(self, damping):
        inverse = tf.linalg.inv(self.other + damping * np.eye(self.size))
        return lambda residual: tf.linalg.matvec(inverse, residual)


def reference(matrix, vector, inverse, iterations):
    """Preconditioned conjugate gradient, transcribed from Saad's book."""
    x, r = np.zeros_like(vector), vector
    z = inverse @ r
    p = z
    for _ in range(iterations):
        alpha = (r @ z) / (p @ matrix @ p)
        x = x + alpha * p
        following = r - alpha * matrix @ p
        z_following = inverse @ following
        beta = (following @ z_following) / (r @ z)
        r, z = following, z_following
        p = z + beta * p
    return x


def budget(iterations, **arguments):
    arguments = {"tolerance": 0.0, "damping": 0.0, **arguments}
    return ConjugateGradient(iterations, **arguments)


@pytest.mark.parametrize("condition", [10.0, 100.0])
def test_converges_at_its_rate(condition):
    # Chebyshev nodes are the spectrum for which the bound is nearly tight.
    nodes = np.cos(np.pi * (np.arange(300) + 0.5) / 300)
    matrix = rotated((condition + 1) / 2 + (condition - 1) / 2 * nodes)
    vector = right_hand_side(300)
    budgets = [5, 10, 15, 20, 25]
    found = errors([budget(k) for k in budgets], matrix, vector, order=matrix)
    start = np.sqrt(vector @ np.linalg.solve(matrix, vector))
    rate = (np.sqrt(condition) - 1) / (np.sqrt(condition) + 1)
    assert (found <= 2 * rate ** np.array(budgets) * start).all()
    np.testing.assert_allclose(slope(budgets, found), np.log(rate), 0.1)


@few_examples
@hypothesis.given(spectrum=spectra, seed=seeds)
def test_ends_after_as_many_products_as_eigenvalues(spectrum, seed):
    matrix = rotated(spectrum, seed)
    vector = right_hand_side(len(matrix), seed)
    exact = np.linalg.solve(matrix, vector)
    solution = solve(budget(len(matrix)), matrix, vector)
    tolerance = 1e-9 * np.linalg.norm(exact)
    np.testing.assert_allclose(solution.vector, exact, atol=tolerance)


@pytest.mark.parametrize("tolerance", [1e-1, 1e-4, 1e-8])
def test_stops_at_the_tolerance(tolerance):
    matrix = rotated(np.geomspace(0.01, 1, 50))
    solver = ConjugateGradient(500, tolerance, damping=0.0)
    residual = solve(solver, matrix, right_hand_side(50)).residual
    assert tolerance / 100 < residual <= tolerance * (1 + 1e-6)


@pytest.mark.parametrize("iterations", [1, 3, 6])
@pytest.mark.parametrize("mode", MODES)
def test_preconditioned_steps(iterations, mode):
    matrix = rotated(np.geomspace(0.01, 10, 12), seed=1)
    other = matrix + rotated(np.linspace(0, 0.05, 12), seed=2)
    vector = right_hand_side(12)
    solver = budget(iterations, damping=0.1, preconditioner="kronecker")

    def run(vector):
        return solver.solve(Preconditioned(matrix, other), vector).vector

    if mode != "eager":
        run = tf.function(run, jit_compile=mode == "xla", autograph=False)
    inverse = np.linalg.inv(damped(other, 0.1))
    expected = reference(damped(matrix, 0.1), vector, inverse, iterations)
    np.testing.assert_allclose(run(tf.constant(vector)), expected, 1e-8)


@few_examples
@hypothesis.given(seed=seeds)
def test_a_good_preconditioner_saves_products(seed):
    matrix = rotated(np.geomspace(1e-3, 10, 30), seed)
    other = matrix + rotated(np.full(30, 1e-3), seed)
    vector = right_hand_side(30, seed)
    exact = np.linalg.solve(matrix, vector)
    distance = []
    for name in (None, "kronecker"):
        solver = budget(6, preconditioner=name)
        operator = Preconditioned(matrix, other)
        solution = solver.solve(operator, vector).vector.numpy()
        distance.append(np.linalg.norm(solution - exact))
    assert distance[1] < 1e-2 * distance[0]


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_preconditioned_at_any_scale(scale):
    matrix = rotated(np.geomspace(0.1, 1, 5))
    scaled = (scale * matrix).astype("float32")
    vector = right_hand_side(5, dtype="float32")
    operator = Preconditioned(scaled, np.diag(np.diag(scaled)))
    solution = budget(20, preconditioner="kronecker").solve(operator, vector)
    exact = np.linalg.solve(matrix, vector)
    np.testing.assert_allclose(scale * solution.vector, exact, 1e-3)
    assert solution.valid


def test_an_indefinite_preconditioner_is_not_valid():
    operator = Preconditioned(np.eye(2), np.diag([1.0, -1.0]))
    solver = budget(5, preconditioner="kronecker")
    assert not solver.solve(operator, np.array([1.0, 2.0])).valid


RELATIVE = {"damping": 0.01, "relative_to": "largest_eigenvalue"}


def galerkin(matrix, vector, damping, products):
    """The solution in a Krylov space, by an orthonormal basis of it."""
    basis = np.zeros((len(vector), 0))
    following = vector
    for _ in range(products):
        for _ in range(2):
            following = following - basis @ (basis.T @ following)
        column = following / np.linalg.norm(following)
        basis = np.c_[basis, column]
        following = matrix @ column
    within = basis.T @ matrix @ basis
    if damping is None:
        return np.linalg.eigvalsh(within)[-1]
    return basis @ np.linalg.solve(damped(within, damping), basis.T @ vector)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("iterations", [KRYLOV, 20])
@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_first_products_tell_the_damping(iterations, scale, mode):
    matrix, vector = rotated(np.geomspace(1e-3, 1, 80)), right_hand_side(80)
    solver = ConjugateGradient(iterations, 0.0, **RELATIVE)
    found = solve(solver, scale * matrix, vector, mode)
    largest = galerkin(matrix, vector, None, KRYLOV)
    expected = galerkin(matrix, vector, 0.01 * largest, iterations)
    # XLA's eigendecomposition in float64 is good to about 1e-8.
    tolerance = 1e-6 if mode == "xla" else 1e-8
    error = np.linalg.norm(scale * found.vector - expected)
    assert error < tolerance * np.linalg.norm(expected)
    assert largest > 0.999
    assert found.products == iterations + 1


@pytest.mark.parametrize("largest", [1.0, 1e3])
def test_a_basis_that_rounding_spoils_costs_few_products(largest):
    spectrum = np.r_[largest, np.geomspace(1e-3, 1, 199)]
    matrix = rotated(spectrum, dtype="float32")
    vector = right_hand_side(200, dtype="float32")
    arguments = {"tolerance": 1e-3, "damping": 0.01 * largest}
    plain = ConjugateGradient(**arguments)
    arguments |= RELATIVE
    ours = ConjugateGradient(**arguments)
    plain, ours = (solve(s, matrix, vector) for s in (plain, ours))
    assert ours.residual < 1.1e-3
    assert ours.products <= max(plain.products + 2, KRYLOV + 1)


def test_negative_curvature_among_the_first_products():
    solver = ConjugateGradient(50, **RELATIVE)
    matrix = rotated(np.r_[-0.5, np.linspace(0.1, 1, 30)])
    assert not solve(solver, matrix, right_hand_side(31)).valid


def test_a_missing_preconditioner_is_refused():
    solver = ConjugateGradient(preconditioner="kronecker")
    with pytest.raises(ValueError, match=r"last layer.*DenseOperator"):
        solve(solver, np.eye(2), np.ones(2))


def test_hidden_negative_curvature_is_found():
    # Nearly invisible in the right-hand side, and found on the way.
    vector = np.array([1.0, 1.0, 1e-6])
    solution = solve(budget(10), np.diag([1.0, 0.5, -0.1]), vector)
    assert not solution.valid


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_spare_iterations_do_no_harm(dtype):
    matrix = rotated(np.geomspace(0.01, 1, 8), dtype=dtype)
    vector = right_hand_side(8, dtype=dtype)
    solution = solve(budget(500), matrix, vector)
    assert solution.valid
    assert solution.residual < 1000 * np.finfo(dtype).eps


@few_examples
@hypothesis.given(seed=seeds)
def test_singular_in_rounding_is_not_valid(seed):
    matrix = rotated([1.0, 0.5, 0.0], seed, "float32")
    vector = right_hand_side(3, seed, "float32")
    solution = solve(budget(10), matrix, vector, "graph")
    # Either it says so, or it did not follow the null space.
    bound = 1e3 * np.linalg.norm(vector)
    assert not solution.valid or np.linalg.norm(solution.vector) < bound


@pytest.mark.parametrize("tolerance", [-1e-3, -1, 1, 1.5, float("nan")])
def test_a_tolerance_outside_its_range(tolerance):
    with pytest.raises(ValueError, match=r"`tolerance` must be a float in"):
        ConjugateGradient(tolerance=tolerance)
