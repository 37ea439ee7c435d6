import numpy as np
import pytest
import tensorflow as tf

from keras_influence.solvers import DenseOperator, Exact
from tests.cases.solvers import errors, right_hand_side, rotated, solve


@pytest.mark.parametrize("condition", [1e1, 1e3, 1e5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_error_is_that_of_rounding(dtype, condition):
    matrix = rotated(np.geomspace(1 / condition, 1, 40))
    vector = right_hand_side(40)
    solution = solve(
        Exact(damping=0.0), matrix.astype(dtype), vector.astype(dtype)
    )
    exact = np.linalg.solve(matrix, vector)
    error = np.linalg.norm(solution.vector - exact) / np.linalg.norm(exact)
    assert error < 4 * condition * np.finfo(dtype).eps


def test_matrix_free_above_max_dense():
    matrix = rotated(np.geomspace(0.01, 1, 30))
    vector = right_hand_side(30)
    limits = [Exact(0.01, max_dense=30), Exact(0.01, max_dense=29)]
    cholesky, matrix_free = errors(limits, matrix, vector, 0.01)
    assert cholesky < 1e-12 < matrix_free < 1e-3


def test_matrix_free_uses_the_operators_preconditioner():
    class Preconditioned(DenseOperator):
        products = 0

        def matvec(self, vector):
            self.products += 1
            return super().matvec(vector)

        def preconditioner(self, damping):
            inverse = np.linalg.inv(self.matrix + damping * np.eye(self.size))
            return lambda residual: tf.linalg.matvec(inverse, residual)

    operator = Preconditioned(rotated(np.geomspace(1e-4, 1, 30)))
    solver = Exact(damping=1e-4, max_dense=1)
    assert solver.solve(operator, right_hand_side(30)).residual < 1e-9
    # One to solve and one to measure.
    assert operator.products == 2


@pytest.mark.parametrize("max_dense", [1, 2500])
def test_garbage_of_a_singular_matrix_is_not_valid(max_dense):
    solver = Exact(damping=0.0, max_dense=max_dense)
    for seed in range(20):
        matrix = rotated([1.0, 0.5, 0.0], seed, "float32")
        solution = solve(solver, matrix, right_hand_side(3, seed, "float32"))
        assert not solution.valid or solution.residual < 1
