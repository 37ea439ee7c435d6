import numpy as np
import pytest
import tensorflow as tf

from keras_influence.solvers import Operator, StochasticNeumann
from keras_influence.solvers.stochastic_neumann import largest_of_samples
from tests.cases.solvers import (
    MODES,
    errors,
    right_hand_side,
    rotated,
    slope,
    solve,
)


class SecondMoment(Operator):
    """`XᵀX / n`, sampled by rows with replacement."""

    def __init__(self, rows, batch_size, stream=0):
        super().__init__(rows.shape[1], rows.dtype)
        self.rows = tf.convert_to_tensor(rows)
        self.batch_size = batch_size
        self.stream = stream

    def matvec(self, vector):
        values = tf.linalg.matvec(self.rows, vector)
        product = tf.linalg.matvec(self.rows, values, transpose_a=True)
        return product / self.rows.shape[0]

    def sample(self, number):
        rows = tf.random.stateless_uniform(
            (self.batch_size,),
            (number, self.stream),
            maxval=self.rows.shape[0],
            dtype="int32",
        )
        return SecondMoment(tf.gather(self.rows, rows), self.batch_size)


@pytest.fixture
def rows():
    spectrum = np.linspace(0.5, 2.0, 5)
    rows = np.random.default_rng(0).normal(size=(64, 5)) @ rotated(spectrum)
    return rows / np.sqrt(np.linalg.eigvalsh(rows.T @ rows / 64)[-1])


def runs(solver, rows, count, mode="xla", batch_size=8):
    """Solutions of `count` independent runs, one a row."""

    def run(stream):
        operator = SecondMoment(rows, batch_size, stream)
        return solver.solve(operator, tf.ones(5, "float64")).vector

    if mode != "eager":
        run = tf.function(run, jit_compile=mode == "xla", autograph=False)
    return np.stack([run(tf.constant(i)).numpy() for i in range(count)])


@pytest.mark.parametrize("condition", [5.0, 20.0])
def test_without_noise_converges_at_the_series_rate(condition):
    matrix = rotated([2.0 / condition, *np.linspace(1.0, 2.0, 9)])
    vector = right_hand_side(10)
    budgets = [k * int(condition) for k in (2, 3, 4, 5)]
    solvers = [StochasticNeumann(k, scale=2.0, damping=0) for k in budgets]
    found = errors(solvers, matrix, vector)
    rate = (condition - 1) / condition
    np.testing.assert_allclose(slope(budgets, found), np.log(rate), 0.03)


def test_noise_falls_with_the_root_of_repeats(rows):
    repeats, deviations = [1, 4, 16, 64], []
    for number in repeats:
        solver = StochasticNeumann(20, number, scale=4.0, damping=0.2)
        deviations.append(runs(solver, rows, 40).std(0).mean())
    rate = np.polyfit(np.log(repeats), np.log(deviations), 1)[0]
    np.testing.assert_allclose(rate, -0.5, atol=0.1)


def test_mean_is_the_series_of_the_whole(rows):
    depth, scale = 10, 4.0
    contraction = np.eye(5) - rows.T @ rows / 64 / scale
    powers = [np.linalg.matrix_power(contraction, j) for j in range(depth + 1)]
    expected = sum(powers) @ np.ones(5) / scale
    solver = StochasticNeumann(depth, 50, scale=scale, damping=0.0)
    found = runs(solver, rows, 40)
    error = found.std(0) / np.sqrt(len(found))
    assert (np.abs(found.mean(0) - expected) < 4 * error).all()
    # Fine enough to tell a series that is one term too short.
    assert (np.abs(powers[-1] @ np.ones(5)) / scale > 8 * error).any()


@pytest.mark.parametrize("mode", MODES)
def test_every_product_has_a_batch_of_its_own(mode):
    class Recording(Operator):
        def matvec(self, vector):
            return self.factor * vector

        def sample(self, number):
            sampled = Recording(1, "float64")
            sampled.factor = 1e-3 * tf.cast(number + 1, "float64")
            return sampled

        factor = 1.0

    def run(vector):
        solver = StochasticNeumann(3, 2, scale=1.0, damping=0.0)
        return solver.solve(Recording(1, "float64"), vector).vector

    if mode != "eager":
        run = tf.function(run, jit_compile=mode == "xla", autograph=False)
    expected = []
    for numbers in ((1, 2, 3), (4, 5, 6)):
        v = 1.0
        for number in numbers:
            v = 1.0 + v - 1e-3 * number * v
        expected.append(v)
    found = run(tf.ones(1, "float64"))
    np.testing.assert_allclose(found, [np.mean(expected)], 1e-12)


def test_the_same_solve_twice_gives_the_same_bits(rows):
    solver = StochasticNeumann(20, damping=0.1)
    first, second = (runs(solver, rows, 2, "graph") for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (first[0] != first[1]).any()


@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_scale_covers_small_batches(rows, batch_size):
    operator = SecondMoment(rows, batch_size)
    samples = [operator.sample(i).as_matrix().numpy() for i in range(5)]
    largest = max(np.linalg.eigvalsh(sample)[-1] for sample in samples)
    np.testing.assert_allclose(largest_of_samples(operator), largest, 0.02)

    @tf.function(autograph=False)
    def solution(stream):
        operator = SecondMoment(rows, batch_size, stream)
        return StochasticNeumann(200, 2).solve(operator, np.ones(5))

    assert all(solution(tf.constant(stream)).valid for stream in range(5))


@pytest.mark.parametrize(("scale", "valid"), [(1.1, True), (0.9, False)])
def test_a_scale_too_small_is_detected(scale, valid):
    solver = StochasticNeumann(200, scale=scale, damping=0.0)
    matrix = rotated([2.0, 1.0, 0.5])
    assert solve(solver, matrix, right_hand_side(3)).valid is valid
