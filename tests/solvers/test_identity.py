import numpy as np
import pytest

from keras_influence import solvers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_solution_is_the_right_hand_side(dtype):
    vector = np.array([1.0, -2.0, 0.0], dtype)
    solution = solvers.Identity().solve(None, vector)
    np.testing.assert_array_equal(solution.vector, vector)
    assert solution.vector.dtype == solution.residual.dtype == dtype
    assert (solution.residual, solution.products) == (0, 0)
    assert solution.valid


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_numbers_that_are_not_finite(number):
    solution = solvers.Identity().solve(None, np.array([1.0, number]))
    assert solvers.Reason(int(solution.reason)) is solvers.Reason.NOT_FINITE


def test_configuration():
    assert solvers.Identity().get_config() == {}
    assert repr(solvers.Identity.from_config({})) == "Identity()"
