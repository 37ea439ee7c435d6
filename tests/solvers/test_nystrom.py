import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from keras_influence.solvers import DenseOperator, Nystrom
from keras_influence.solvers.nystrom import nystrom
from tests.cases.solvers import (
    damped,
    errors,
    few_examples,
    right_hand_side,
    rotated,
    seeds,
    slope,
    solve,
)


@few_examples
@hypothesis.given(seed=seeds, rank=st.integers(1, 6), spare=st.integers(0, 4))
def test_exact_for_low_rank(seed, rank, spare):
    spectrum = np.r_[np.linspace(1.0, 2.0, rank), np.zeros(20)]
    matrix = rotated(spectrum, seed)
    vector = right_hand_side(len(matrix), seed)
    solution = solve(Nystrom(rank + spare, 1e-2), matrix, vector)
    exact = np.linalg.solve(damped(matrix, 1e-2), vector)
    np.testing.assert_allclose(solution.vector, exact, atol=1e-8)
    assert solution.valid


def expected_error(eigenvalues, rank):
    """Frangella et al., theorem 2.2: a bound on the mean of `‖H - Ĥ‖`."""

    def bound(p):
        tail = eigenvalues[rank - p :]
        factor = 1 + 2 * (rank - p) / (p - 1)
        return factor * tail[0] + 2 * np.e**2 * rank / (p**2 - 1) * tail.sum()

    return min(bound(p) for p in range(2, rank - 1))


@pytest.mark.parametrize("decay", [0.5, 0.7])
def test_error_falls_with_the_first_eigenvalue_left_out(decay):
    eigenvalues = decay ** np.arange(60)
    matrix, vector = rotated(eigenvalues), right_hand_side(60)
    budgets = [4, 10, 16, 22, 28]
    solvers = [Nystrom(k, damping=1.0) for k in budgets]
    found = errors(solvers, matrix, vector, damping=1.0)
    distances = []
    for rank in budgets:
        basis, core = (x.numpy() for x in nystrom(DenseOperator(matrix), rank))
        rest = matrix - basis.T @ core @ basis
        distances.append(np.linalg.norm(rest, 2))
    bounds = [expected_error(eigenvalues, rank) for rank in budgets]
    # No matrix of this rank is nearer than the first eigenvalue left out.
    assert (eigenvalues[budgets] <= distances).all()
    assert (np.array(distances) <= 3 * np.array(bounds)).all()
    rates = slope(budgets, distances), slope(budgets, bounds)
    np.testing.assert_allclose(*rates, 0.2)  # one random sketch
    assert (found <= np.linalg.norm(vector) * np.array(distances)).all()


def test_is_the_nystrom_approximation():
    matrix = rotated(np.geomspace(1e-3, 1, 20))
    basis, core = (x.numpy() for x in nystrom(DenseOperator(matrix), 5))
    np.testing.assert_allclose(basis @ basis.T, np.eye(5), atol=1e-12)
    # It touches H on the sketch's range, and H minus it stays semi-definite.
    rest = matrix - basis.T @ core @ basis
    assert np.linalg.matrix_rank(rest, tol=1e-10) == 15
    assert np.linalg.eigvalsh(rest)[0] > -1e-12


def test_careful_in_float32():
    # Rank 8 of a rank-4 matrix: the sketch is singular in rounding.
    spectrum = np.r_[[100.0, 10.0, 1.0, 0.1], np.zeros(60)]
    for seed in range(10):
        matrix = rotated(spectrum, seed)
        vector = right_hand_side(64, seed)
        solution = solve(
            Nystrom(8, 1e-2),
            matrix.astype("float32"),
            vector.astype("float32"),
        )
        exact = np.linalg.solve(damped(matrix, 1e-2), vector)
        error = np.linalg.norm(solution.vector - exact)
        assert solution.valid
        assert error < 1e-2 * np.linalg.norm(exact)


def test_the_rest_is_orthogonal_in_float32():
    # Most of the right-hand side is along eigenvalues far above the damping.
    matrix = rotated(np.r_[[100.0, 10.0, 1.0], np.zeros(40)])
    vector = matrix @ right_hand_side(43) + 1e-3 * right_hand_side(43, 1)
    solution = solve(
        Nystrom(6, 1e-3), matrix.astype("float32"), vector.astype("float32")
    )
    assert solution.residual < 1e-3


def test_nothing_but_damping():
    solution = solve(Nystrom(2, 0.5), np.zeros((3, 3)), np.ones(3))
    np.testing.assert_allclose(solution.vector, 2.0)
    assert solution.valid
