import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from keras_influence.solvers import (
    Arnoldi,
    ConjugateGradient,
    DenseOperator,
)
from keras_influence.solvers.arnoldi import krylov
from tests.cases.solvers import (
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


@pytest.mark.parametrize("iterations", [1, 4, 9])
def test_all_pairs_are_conjugate_gradient(iterations):
    matrix = rotated(np.geomspace(0.01, 1, 30))
    vector = right_hand_side(30)
    conjugate = ConjugateGradient(iterations, tolerance=0.0, damping=0.1)
    found = solve(Arnoldi(iterations, iterations, 0.1), matrix, vector)
    expected = solve(conjugate, matrix, vector)
    np.testing.assert_allclose(found.vector, expected.vector, 1e-8, 1e-10)


def test_converges_at_the_rate_of_conjugate_gradient():
    nodes = np.cos(np.pi * (np.arange(300) + 0.5) / 300)
    matrix, condition = rotated(50.5 + 49.5 * nodes), 100.0
    budgets = [5, 10, 15, 20, 25]
    solvers = [Arnoldi(k, k, damping=0.0) for k in budgets]
    found = errors(solvers, matrix, right_hand_side(300), order=matrix)
    rate = (np.sqrt(condition) - 1) / (np.sqrt(condition) + 1)
    np.testing.assert_allclose(slope(budgets, found), np.log(rate), 0.1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_inverts_the_leading_eigenpairs(dtype):
    eigenvalues = 0.5 ** np.arange(12)
    matrix = rotated(eigenvalues, dtype=dtype)
    vector = right_hand_side(12, dtype=dtype)
    values, vectors = np.linalg.eigh(matrix.astype("float64"))
    tolerance = 1e4 * np.finfo(dtype).eps
    for rank in (1, 4):
        solver = Arnoldi(rank, 12, damping=0.01)
        found = solve(solver, matrix, vector)
        top = vectors[:, -rank:]
        expected = top @ (top.T @ vector / (values[-rank:] + 0.01))
        np.testing.assert_allclose(found.vector, expected, atol=tolerance)
        rest = vector - top @ (top.T @ vector)
        ratio = np.linalg.norm(rest) / np.linalg.norm(vector)
        np.testing.assert_allclose(found.residual, ratio, tolerance)


def test_error_falls_with_rank_and_ends_at_zero():
    matrix = rotated(np.geomspace(0.1, 1, 12))
    solvers = [Arnoldi(k, 12, damping=0.0) for k in (1, 3, 6, 9, 12)]
    found = errors(solvers, matrix, right_hand_side(12))
    assert (np.diff(found) < 0).all()
    assert found[-1] < 1e-12


@few_examples
@hypothesis.given(spectrum=spectra, seed=seeds, spare=st.integers(0, 9))
def test_a_krylov_space_that_ends_early(spectrum, seed, spare):
    # Repeated eigenvalues: the space has fewer dimensions than the matrix.
    spectrum = spectrum * 3
    matrix = rotated(spectrum, seed)
    vector = right_hand_side(len(matrix), seed)
    solver = Arnoldi(50, 50 + spare, damping=0.1)
    solution = solve(solver, matrix, vector)
    exact = np.linalg.solve(damped(matrix, 0.1), vector)
    np.testing.assert_allclose(solution.vector, exact, 1e-8, 1e-8)
    assert solution.valid


def test_a_krylov_space_that_ends_exactly():
    # What is left after the third product is rounding within the space.
    operator = DenseOperator(np.diag([0.3, 0.7, 1.1, 2.0, 3.0, 4.0]))
    vector = np.array([0.1, 0.2, 0.3, 0.0, 0.0, 0.0])
    basis, _ = krylov(operator, vector, 6)
    expected = np.diag([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(basis @ basis.numpy().T, expected, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_basis_stays_orthonormal(dtype):
    # Plain Lanczos loses its orthogonality here after ten products.
    matrix = rotated(np.geomspace(1e-6, 1, 100), dtype=dtype)
    vector = right_hand_side(100, dtype=dtype)
    basis, projected = krylov(DenseOperator(matrix), vector, 60)
    basis, projected = basis.numpy(), projected.numpy()
    tolerance = 50 * np.finfo(dtype).eps
    alive = np.linalg.norm(basis, axis=1) > 0.5
    gram = basis[alive] @ basis[alive].T
    np.testing.assert_allclose(gram, np.eye(alive.sum()), atol=tolerance)
    expected = basis @ matrix @ basis.T
    np.testing.assert_allclose(projected, expected, atol=tolerance)


def test_a_negative_eigenvalue_beyond_the_rank_is_left_alone():
    matrix = np.diag([2.0, 1.0, -0.1])
    for rank, valid in ((2, True), (3, False)):
        solver = Arnoldi(rank, 3, damping=0.0)
        assert solve(solver, matrix, np.ones(3)).valid is valid
