import numpy as np
import pytest
import tensorflow as tf

from keras_influence import solvers
from keras_influence.solvers import Reason
from tests.cases.solvers import MODES, right_hand_side, rotated, solve

NAN = np.diag([1.0, np.nan])
GOOD = np.diag([1.0, 2.0])
INDEFINITE = np.diag([1.0, -2.0])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("solver", "matrix", "reason"),
    [
        (solvers.Exact(), GOOD, Reason.OK),
        (solvers.Exact(), INDEFINITE, Reason.NOT_POSITIVE_DEFINITE),
        (solvers.Exact(), NAN, Reason.NOT_FINITE),
        (solvers.Exact(max_dense=1), GOOD, Reason.OK),
        (solvers.Exact(max_dense=1), INDEFINITE, Reason.NOT_POSITIVE_DEFINITE),
        (solvers.Exact(max_dense=1), NAN, Reason.NOT_FINITE),
        (solvers.ConjugateGradient(), GOOD, Reason.OK),
        (solvers.ConjugateGradient(1), GOOD, Reason.TOLERANCE_NOT_REACHED),
        (
            solvers.ConjugateGradient(),
            INDEFINITE,
            Reason.NOT_POSITIVE_DEFINITE,
        ),
        (solvers.ConjugateGradient(), NAN, Reason.NOT_FINITE),
        (solvers.Neumann(), GOOD, Reason.OK),
        (solvers.Neumann(step=1.1), GOOD, Reason.DIVERGED),
        (solvers.Neumann(), INDEFINITE, Reason.DIVERGED),
        (solvers.Neumann(), NAN, Reason.NOT_FINITE),
        (solvers.StochasticNeumann(), GOOD, Reason.OK),
        (solvers.StochasticNeumann(scale=0.5), GOOD, Reason.DIVERGED),
        (solvers.StochasticNeumann(), NAN, Reason.NOT_FINITE),
        (solvers.Arnoldi(), GOOD, Reason.OK),
        (solvers.Arnoldi(), INDEFINITE, Reason.NOT_POSITIVE_DEFINITE),
        (solvers.Arnoldi(), NAN, Reason.NOT_FINITE),
        (solvers.Nystrom(), GOOD, Reason.OK),
        (solvers.Nystrom(), INDEFINITE, Reason.NOT_POSITIVE_DEFINITE),
        (solvers.Nystrom(), NAN, Reason.NOT_FINITE),
        (solvers.Unrolled(), GOOD, Reason.OK),
        (solvers.Unrolled(learning_rate=2.0), GOOD, Reason.DIVERGED),
        (solvers.Unrolled(), NAN, Reason.NOT_FINITE),
        (solvers.Identity(), NAN, Reason.OK),
    ],
    ids=lambda x: getattr(x, "name", type(x).__name__),
)
def test_says_why_it_ended(solver, matrix, reason, mode):
    solution = solve(solver, matrix, np.array([1.0, -3.0]), mode)
    assert solution.reason is reason
    assert solution.valid is (reason <= Reason.TOLERANCE_NOT_REACHED)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    "solver",
    [solvers.Exact(), solvers.ConjugateGradient(), solvers.Identity()],
    ids=lambda s: type(s).__name__,
)
def test_a_gradient_that_is_not_finite(solver, value):
    solution = solve(solver, GOOD, np.array([1.0, value]), "graph")
    assert solution.reason is Reason.NOT_FINITE


def test_garbage_of_a_singular_matrix_is_not_positive_definite():
    reasons = set()
    for seed in range(20):
        matrix = rotated([1.0, 0.5, 0.0], seed, "float32")
        vector = right_hand_side(3, seed, "float32")
        reasons.add(solve(solvers.Exact(0.0), matrix, vector).reason)
    assert Reason.NOT_POSITIVE_DEFINITE in reasons
    assert Reason.NOT_FINITE not in reasons


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (True, Reason.OK),
        (False, Reason.FAILED),
        (lambda: tf.constant(True), Reason.OK),
        (lambda: tf.constant(False), Reason.FAILED),
        (Reason.DIVERGED, Reason.DIVERGED),
        (lambda: tf.constant(1, "int64"), Reason.TOLERANCE_NOT_REACHED),
    ],
)
@pytest.mark.parametrize("products", [(), (7,)])
def test_a_solver_of_ones_own(outcome, reason, products, mode):
    class Halving(solvers.Solver):
        def solve_damped(self, operator, damping, vector):
            how = outcome() if callable(outcome) else outcome
            return vector / 2, how, *products

    solution = solve(Halving(), GOOD, np.array([1.0, -3.0]), mode)
    np.testing.assert_allclose(solution.vector, [0.5, -1.5])
    assert solution.reason is reason
    assert solution.valid is (reason <= Reason.TOLERANCE_NOT_REACHED)
    assert solution.products == sum(products) + 1


def test_a_vector_that_is_not_finite_is_no_solution():
    class Overflowing(solvers.Solver):
        def solve_damped(self, operator, damping, vector):
            return vector / 0.0, True

    solution = solve(Overflowing(), GOOD, np.ones(2))
    assert solution.reason is Reason.NOT_FINITE
    np.testing.assert_array_equal(solution.vector, 0.0)
    assert solution.residual == 1.0


class Counting(solvers.DenseOperator):
    """Counts the products that run."""

    def __init__(self, matrix):
        super().__init__(matrix)
        self.products = 0

    def matvec(self, vector):
        self.products += 1
        return super().matvec(vector)


@pytest.mark.parametrize(
    "damping",
    [
        {"damping": 0.0},
        {"damping": 0.1, "relative_to": "largest_eigenvalue"},
        {"damping": 0.1, "relative_to": "mean_eigenvalue"},
        {"damping": 0.0, "relative_to": "largest_eigenvalue"},
    ],
    ids=lambda d: str(list(d.values())),
)
@pytest.mark.parametrize(
    "make",
    [
        solvers.Exact,
        lambda **d: solvers.Exact(max_dense=1, **d),
        lambda **d: solvers.ConjugateGradient(3, **d),
        lambda **d: solvers.ConjugateGradient(50, **d),
        lambda **d: solvers.Neumann(4, **d),
        lambda **d: solvers.Neumann(4, step=0.1, **d),
        lambda **d: solvers.StochasticNeumann(5, 2, **d),
        lambda **d: solvers.StochasticNeumann(5, 2, scale=10.0, **d),
        lambda **d: solvers.Arnoldi(3, 4, **d),
        lambda **d: solvers.Arnoldi(3, 99, **d),
        lambda **d: solvers.Unrolled(3),
    ],
)
def test_products_are_counted(make, damping):
    operator = Counting(rotated(np.linspace(0.5, 1.0, 6)))
    solution = make(**damping).solve(operator, right_hand_side(6))
    assert int(solution.products) == operator.products
    assert operator.products > 0


def test_every_reason_has_a_text():
    texts = {reason.text for reason in Reason}
    assert len(texts) == len(Reason)
    assert Reason(2) is Reason.NOT_FINITE
