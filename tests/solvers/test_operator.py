import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf

from keras_influence.solvers import DenseOperator, Operator
from keras_influence.solvers.operator import lanczos, largest_eigenvalue, norm
from tests.cases.solvers import few_examples, rotated, seeds


class Product(Operator):
    """A matrix of which only the products are known."""

    def __init__(self, matrix):
        self.matrix = tf.constant(matrix)
        super().__init__(len(matrix), matrix.dtype)

    def matvec(self, vector):
        return tf.linalg.matvec(self.matrix, vector)


@few_examples
@hypothesis.given(size=st.integers(1, 7), seed=seeds)
def test_dense_from_products(size, seed):
    matrix = rotated(np.linspace(-1, 1, size), seed)
    operator = Product(matrix)
    np.testing.assert_allclose(operator.as_matrix(), matrix, atol=1e-15)
    np.testing.assert_allclose(
        operator.materialize().matrix, matrix, atol=1e-15
    )
    np.testing.assert_allclose(operator.trace(), np.trace(matrix), atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_trace_of_a_large_operator_is_estimated(seed):
    matrix = rotated(np.linspace(0.0, 1.0, 200), seed)
    off_diagonal = matrix - np.diag(np.diag(matrix))
    deviation = np.sqrt(2 / 32) * np.linalg.norm(off_diagonal)
    estimate = float(Product(matrix).trace())
    assert estimate != pytest.approx(np.trace(matrix), rel=1e-9)
    assert abs(estimate - np.trace(matrix)) < 4 * deviation
    assert estimate == float(Product(matrix).trace())


def test_trace_of_a_large_diagonal_is_exact():
    matrix = np.diag(np.arange(100.0))
    np.testing.assert_allclose(Product(matrix).trace(), 4950.0)


def test_trace_of_a_matrix_is_exact():
    matrix = rotated(np.linspace(0.0, 1.0, 100))
    np.testing.assert_allclose(DenseOperator(matrix).trace(), np.trace(matrix))


@few_examples
@hypothesis.given(
    spectrum=st.lists(st.floats(-2.0, 2.0), min_size=1, max_size=8), seed=seeds
)
def test_few_eigenvalues_are_found_exactly(spectrum, seed):
    expected = np.abs(spectrum).max()
    found = float(largest_eigenvalue(DenseOperator(rotated(spectrum, seed))))
    np.testing.assert_allclose(found, expected, 1e-6, 1e-12)


SPECTRA = {
    "flat": np.linspace(0.0, 1.0, 200),
    "decaying": np.geomspace(1e-6, 1.0, 200),
    "one_large": np.r_[1.0, np.full(199, 0.01)],
    "cluster": np.r_[np.linspace(0.9, 1.0, 9), np.zeros(191)],
    "negative": np.r_[-1.0, np.linspace(0.0, 0.7, 199)],
    "almost_equal": np.linspace(0.95, 1.0, 200),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SPECTRA)
def test_largest_eigenvalue_is_within_its_bounds(name, dtype):
    for seed in range(4):
        matrix = rotated(SPECTRA[name], seed, dtype)
        found = float(largest_eigenvalue(DenseOperator(matrix)))
        assert 0.8 <= found <= 1 + 1e-5


def test_more_products_are_closer():
    operator = DenseOperator(rotated(np.linspace(0.0, 1.0, 200)))
    found = [float(largest_eigenvalue(operator, k)) for k in (1, 4, 8, 16, 60)]
    assert (np.diff(found) > 0).all()
    assert found[0] < 0.7
    assert found[-1] > 0.999


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_largest_eigenvalue_at_any_scale(scale, sign):
    matrix = (sign * scale * rotated([1.0, 0.3])).astype("float32")
    value = float(largest_eigenvalue(DenseOperator(matrix)))
    np.testing.assert_allclose(value, scale, 1e-5)


def test_largest_eigenvalue_of_zero():
    assert float(largest_eigenvalue(DenseOperator(np.zeros((2, 2))))) == 0.0


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1.0, 1e30])
def test_norm_at_any_scale(scale):
    x = tf.constant([3.0 * scale, -4.0 * scale], "float32")
    np.testing.assert_allclose(float(norm(x)), 5.0 * scale, 1e-6)


def test_a_sample_of_what_has_no_examples_is_itself():
    operator = DenseOperator(np.eye(2))
    assert operator.sample(3) is operator
    assert operator.materialize() is operator


@pytest.mark.parametrize("shape", [(2,), (2, 3), (2, 2, 2)])
def test_a_matrix_is_square(shape):
    with pytest.raises(ValueError, match="Argument `matrix`"):
        DenseOperator(np.ones(shape))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32"])
def test_half_precision_is_refused(dtype):
    with pytest.raises(ValueError, match="Argument `dtype`"):
        Operator(2, dtype)


def test_matvec_is_to_be_written():
    with pytest.raises(NotImplementedError, match="Operator"):
        Operator(2).matvec(np.ones(2))


def test_lanczos_is_the_operator_in_its_basis():
    """`H Q = scale · (Q T + link · following eᵀ)`, both sides of `T` too."""
    root = np.random.default_rng(0).normal(size=(20, 20))
    matrix = root + root.T
    start = np.eye(20)[0]
    found = lanczos(DenseOperator(matrix), tf.constant(start), 5)
    Q = np.stack(found.basis, 1)
    expected = Q @ found.tridiagonal.numpy()
    expected[:, -1] += found.link * found.following
    np.testing.assert_allclose(
        matrix @ Q, found.scale * expected, rtol=1e-9, atol=1e-9
    )
