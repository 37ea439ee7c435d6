import numpy as np
import pytest

from keras_influence import solvers


def solved(eigenvalues, learning_rate, steps):
    operator = solvers.DenseOperator(np.diag(eigenvalues))
    solver = solvers.Unrolled(steps, learning_rate)
    return solver.solve(operator, np.ones(len(eigenvalues)))


@pytest.mark.parametrize("steps", [1, 4, 16])
def test_is_the_truncated_series(steps):
    eigenvalues, rate = np.array([0.5, 2.0, 4.0]), 0.2
    solution = solved(eigenvalues, rate, steps)
    expected = (1 - (1 - rate * eigenvalues) ** steps) / eigenvalues
    np.testing.assert_allclose(solution.vector, expected, rtol=1e-12)
    assert bool(solution.valid)


@pytest.mark.parametrize(
    ("largest", "valid"), [(9.9, True), (40.0, False), (-40.0, False)]
)
def test_steps_that_diverge_are_seen(largest, valid):
    # 2 / learning_rate is 10.
    solution = solved(np.array([1.0, largest]), 0.2, steps=6)
    assert bool(solution.valid) == valid


def test_a_little_negative_curvature_is_no_divergence():
    assert bool(solved(np.array([-0.5, 2.0]), 0.2, steps=6).valid)
