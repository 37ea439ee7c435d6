import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from keras_influence.solvers import Neumann
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


@few_examples
@hypothesis.given(spectrum=spectra, seed=seeds, terms=st.integers(1, 6))
def test_is_the_partial_sum(spectrum, seed, terms):
    matrix = rotated(spectrum, seed)
    vector = right_hand_side(len(matrix), seed)
    step, damping = 0.3, 0.1
    contraction = np.eye(len(matrix)) - step * damped(matrix, damping)
    powers = [np.linalg.matrix_power(contraction, j) for j in range(terms)]
    solution = solve(Neumann(terms, step, damping), matrix, vector)
    expected = step * sum(powers) @ vector
    np.testing.assert_allclose(solution.vector, expected, 1e-9, 1e-12)


@pytest.mark.parametrize("condition", [5.0, 30.0])
@pytest.mark.parametrize("step", ["given", None])
def test_converges_at_its_rate(condition, step):
    matrix = rotated([2.0 / condition, *np.linspace(1.0, 2.0, 9)])
    vector = right_hand_side(10)
    budgets = [k * int(condition) for k in (2, 3, 4, 5)]
    step = step and 0.5
    solvers = [Neumann(k, step, damping=0.0) for k in budgets]
    found = errors(solvers, matrix, vector)
    rate = (condition - 1) / condition
    # Power iteration stays a little below the largest eigenvalue.
    np.testing.assert_allclose(slope(budgets, found), np.log(rate), 0.03)
    if step:
        exact = np.linalg.solve(matrix, vector)
        assert (
            found <= rate ** np.array(budgets) * np.linalg.norm(exact)
        ).all()


@pytest.mark.parametrize("relative_to", ["largest_eigenvalue", None])
def test_found_step_counts_the_damping(relative_to):
    # One term is step * g: the largest damped eigenvalue is 2 + 2.
    damping = 1.0 if relative_to else 2.0
    solver = Neumann(1, damping=damping, relative_to=relative_to)
    solution = solve(solver, np.diag([0.5, 2.0]), np.ones(2))
    np.testing.assert_allclose(solution.vector, 0.25, 1e-6)


@few_examples
@hypothesis.given(spectrum=spectra, seed=seeds, scale=st.floats(1e-6, 1e6))
def test_cannot_diverge_by_itself(spectrum, seed, scale):
    matrix = scale * rotated(spectrum, seed)
    vector = right_hand_side(len(matrix), seed)
    solution = solve(Neumann(damping=0.0), matrix, vector)
    assert solution.valid
    assert solution.residual <= 1 + 1e-9


@pytest.mark.parametrize(("step", "valid"), [(0.9, True), (1.1, False)])
def test_a_step_too_large_is_detected(step, valid):
    matrix = rotated([2.0, 1.0, 0.1])
    solver = Neumann(terms=30, step=step, damping=0.0)
    assert solve(solver, matrix, right_hand_side(3)).valid is valid


def test_a_divergence_that_has_only_begun_is_detected():
    # The divergent part is a hundredth of the gradient and grows by half.
    vector = np.array([1.0, 1e-2])
    solver = Neumann(terms=8, step=1.0, damping=0.0)
    solution = solve(solver, np.diag([1.0, 2.5]), vector)
    assert np.linalg.norm(solution.vector) < 2
    assert not solution.valid
