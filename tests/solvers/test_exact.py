import numpy as np
import pytest
import tensorflow as tf

from keras_influence.solvers import (
    DenseOperator,
    Exact,
    Operator,
    Reason,
    exact,
)
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


class Counting(DenseOperator):
    """Says which of its ways was taken."""

    def __init__(self, size, dtype="float64", examples=None):
        super().__init__(rotated(np.linspace(0.5, 1.0, size), dtype=dtype))
        self.examples = examples
        self.taken = set()

    def materialize(self):
        self.taken.add("matrix")
        return DenseOperator(self.matrix)

    def preconditioner(self, damping):
        self.taken.add("preconditioner")
        return lambda residual: residual / (1.0 + damping)


@pytest.mark.parametrize(
    ("size", "arguments", "taken"),
    [
        (256, {}, {"matrix"}),
        (257, {}, {"preconditioner"}),
        (257, {"max_dense": 257}, {"matrix"}),
        (9, {"max_dense": 8}, {"preconditioner"}),
        (257, {"relative_to": "largest_eigenvalue"}, set()),
        (
            257,
            {"relative_to": "largest_eigenvalue", "damping": 9e-4},
            {"preconditioner"},
        ),
        (257, {"relative_to": "mean_eigenvalue"}, {"preconditioner"}),
    ],
)
def test_the_way_is_chosen_by_what_it_costs(size, arguments, taken):
    operator = Counting(size)
    solution = Exact(**arguments).solve(operator, right_hand_side(size))
    assert operator.taken == taken
    assert solution.reason == Reason.OK
    assert solution.residual < 1e-9


@pytest.mark.parametrize(
    ("size", "examples", "dense"),
    [
        (256, 256, True),
        (256, 257, False),
        (128, 1024, True),
        (128, 1025, False),
        (16, 2**16, True),
        (257, 1, False),
    ],
)
def test_many_examples_are_not_written_out(size, examples, dense):
    operator = Counting(size, examples=examples)
    Exact().solve(operator, right_hand_side(size))
    assert ("matrix" in operator.taken) is dense
    operator = Counting(size, examples=examples)
    Exact(max_dense=size).solve(operator, right_hand_side(size))
    assert operator.taken == {"matrix"}


def test_above_a_million_parameters_nothing_is_preconditioned():
    class Double(Operator):
        def matvec(self, vector):
            return 2.0 * vector

        def preconditioner(self, damping):
            raise AssertionError

    solution = Exact().solve(Double(10**6 + 1), tf.ones(10**6 + 1))
    assert solution.reason == Reason.OK


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_matrix_free_as_exact_as_its_tolerance(dtype):
    matrix = rotated(np.geomspace(0.01, 1, 300), dtype=dtype)
    vector = right_hand_side(300, dtype=dtype)
    solution = solve(Exact(0.0), matrix, vector, "graph")
    tolerance = {"float32": 1e-5, "float64": 1e-10}[dtype]
    assert tolerance / 10 < solution.residual < 1.5 * tolerance
    assert solution.reason is Reason.OK


@pytest.mark.parametrize("max_dense", [1, 256])
def test_garbage_of_a_singular_matrix_is_not_valid(max_dense):
    solver = Exact(damping=0.0, max_dense=max_dense)
    for seed in range(20):
        matrix = rotated([1.0, 0.5, 0.0], seed, "float32")
        solution = solve(solver, matrix, right_hand_side(3, seed, "float32"))
        assert not solution.valid or solution.residual < 1


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("size", [30, 300])
def test_many_right_hand_sides_share_one_factorisation(size, compiled):
    operator = Counting(size)
    vectors = tf.constant(np.stack([right_hand_side(size), np.zeros(size)] * 3))
    solve_all = Exact(0.01).solve_all
    if compiled:
        solve_all = tf.function(solve_all, autograph=False)
    found = solve_all(operator, vectors)
    damped = operator.matrix + 0.01 * np.eye(size)
    expected = np.linalg.solve(damped, vectors.numpy().T).T
    np.testing.assert_allclose(found.vector, expected, atol=1e-12)
    assert operator.taken == {"matrix"}
    assert set(found.reason.numpy()) == {Reason.OK}
    assert found.residual.numpy().max() < 1e-12


def test_few_right_hand_sides_of_a_large_operator_are_solved_each():
    class Unwritten(Operator):
        def matvec(self, vector):
            return 0.5 * vector

        def as_matrix(self):
            raise AssertionError("It costs more.")

    vectors = tf.constant(np.stack([right_hand_side(300)] * 2))
    found = Exact(0.5).solve_all(Unwritten(300, "float64"), vectors)
    np.testing.assert_allclose(found.vector, vectors)


@pytest.mark.parametrize("compiled", [False, True])
def test_no_factorisation_for_many(compiled):
    operator = DenseOperator(np.diag([1.0, -1.0, 2.0]))
    solve_all = Exact(0.0).solve_all
    if compiled:
        solve_all = tf.function(solve_all, autograph=False)
    found = solve_all(operator, tf.constant(np.ones((2, 3))))
    assert set(found.reason.numpy()) == {Reason.NOT_POSITIVE_DEFINITE}


def test_a_looser_tolerance_takes_fewer_products():
    matrix, vector = rotated(np.geomspace(0.01, 1, 300)), right_hand_side(300)
    operator = DenseOperator(matrix)
    arguments = {"damping": 0.01, "relative_to": "largest_eigenvalue"}
    exact, loose = (
        Exact(**arguments, tolerance=t).solve(operator, vector)
        for t in (None, 1e-2)
    )
    assert exact.residual < 1e-9
    assert 1e-4 < loose.residual < 1.1e-2
    assert loose.products < exact.products


def test_the_damping_costs_no_products_of_its_own():
    matrix = rotated(np.geomspace(0.01, 1, 300))
    operator = DenseOperator(matrix)
    vector = right_hand_side(300)
    found = Exact(0.01, "largest_eigenvalue").solve(operator, vector)
    given = Exact(0.01).solve(operator, vector)
    assert found.products <= given.products + 1
    exact = np.linalg.solve(matrix + 0.01 * np.eye(300), vector)
    error = np.linalg.norm(found.vector - exact) / np.linalg.norm(exact)
    # The damping is 0.01 of the largest Ritz value.
    assert error < 1e-3


@pytest.mark.parametrize("tolerance", [0.0, 1.0, -1e-3])
def test_a_tolerance_outside_its_range(tolerance):
    with pytest.raises(ValueError, match="`tolerance`"):
        Exact(tolerance=tolerance)


def hard(dtype="float64"):
    """More than a thousand products do not solve it."""
    return rotated(np.geomspace(1e-9, 1, 400)).astype(dtype)


@pytest.mark.parametrize("compiled", [False, True])
def test_what_does_not_converge_is_factorised(compiled):
    matrix, vector = hard(), right_hand_side(400)

    class Products(Operator):
        def matvec(self, vector):
            return tf.linalg.matvec(tf.constant(matrix), vector)

    operator, solver = Products(400, "float64"), Exact(1e-9)
    run = tf.function(solver.solve) if compiled else solver.solve
    solution = run(operator, tf.constant(vector))
    exact = np.linalg.solve(matrix + 1e-9 * np.eye(400), vector)
    error = np.linalg.norm(solution.vector - exact) / np.linalg.norm(exact)
    assert error < 1e-5
    assert Reason(int(solution.reason)) is Reason.OK
    assert int(solution.products) > 1000


def test_what_is_too_large_to_factorise_is_not_said_to_be_indefinite(
    monkeypatch,
):
    monkeypatch.setattr(exact, "MAX_SHARED", 399)
    solution = Exact(1e-9).solve(Positive(hard()), right_hand_side(400))
    assert Reason(int(solution.reason)) is Reason.NOT_CONVERGED
    assert not bool(solution.valid)
    assert "`max_dense`" in Reason.NOT_CONVERGED.text


class Positive(DenseOperator):
    """That it is dense is not told."""

    def materialize(self):
        return self

    def as_matrix(self):
        raise AssertionError
