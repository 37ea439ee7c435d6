from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf
from keras import ops

PROBES = 32
LANCZOS_PRODUCTS = 8


class Operator:
    """A symmetric linear operator: all that a solver sees of the curvature.

    Subclass it and write `matvec`; write `as_matrix` and `trace` too where
    there is a cheaper way than applying `matvec` to many vectors, and `sample`
    where the operator is a sum over examples.

    Args:
        size: integer, the number of rows.
        dtype: the dtype of the vectors it takes, `"float32"` or `"float64"`:
            half precision cannot carry a solve. Defaults to `"float32"`.

    Example:
    >>> class Double(solvers.Operator):
    ...     def matvec(self, vector):
    ...         return 2.0 * vector
    >>> float(Double(size=3).trace())
    6.0
    """

    # Whether a product is so few operations that loops of known length over
    # products are written out: then a turn costs half.
    unrolls = False
    # How many rows of examples it is a sum over, where that is known.
    examples: int | None = None

    def __init__(self, size: int, dtype="float32"):
        self.size = size
        self.dtype = keras.backend.standardize_dtype(dtype)
        if self.dtype not in ("float32", "float64"):
            raise ValueError(
                "Argument `dtype` must be 'float32' or 'float64': have "
                "parameters of one of them, as with the dtype policy "
                f"'mixed_bfloat16'. Received: dtype={dtype!r}"
            )

    def matvec(self, vector):
        """The operator applied to a tensor of shape `(size,)`."""
        raise NotImplementedError(
            f"`{type(self).__name__}` must implement `matvec(vector)`."
        )

    def as_matrix(self):
        """The operator as a tensor of shape `(size, size)`."""
        return tf.map_fn(self.matvec, ops.eye(self.size, dtype=self.dtype))

    def materialize(self) -> "DenseOperator":
        """The same operator with its matrix written out."""
        return DenseOperator(self.as_matrix())

    def trace(self):
        """The sum of the eigenvalues; an estimate if `size` exceeds 32.

        The mean of `zᵀ H z` over 32 fixed vectors `z` of random signs, whose
        standard error is at most a quarter of the Frobenius norm of `H`.

        Reference: Hutchinson, "A stochastic estimator of the trace of the
        influence matrix for Laplacian smoothing splines", 1989.
        """
        if self.size <= PROBES:
            return ops.trace(self.as_matrix())

        def quadratic_form(number):
            probe = ops.sign(gaussian((self.size,), number, self.dtype))
            return ops.sum(probe * self.matvec(probe))

        return ops.mean(
            tf.map_fn(
                quadratic_form,
                tf.range(PROBES),
                fn_output_signature=self.dtype,
            )
        )

    def sample(self, number) -> "Operator":
        """An unbiased estimate of this operator, cheaper to apply.

        Where the operator is a mean over examples, that is the mean over a
        random mini-batch. The base class has no examples and returns itself.

        Args:
            number: integer or integer scalar tensor, which of the independent
                estimates: the same number gives the same estimate.

        Returns:
            An `Operator`.
        """
        return self

    @property
    def restriction(self) -> "Restriction | None":
        """This operator on a subspace outside which it is zero, or `None`.

        The base class knows of none.
        """
        return None

    def inverse(self, damping):
        """The inverse of the damped operator where its structure gives one.

        Args:
            damping: scalar tensor, what is added to every eigenvalue.

        Returns:
            A function from a vector to a vector, or `None` where the operator
            has no structure to use. The base class has none.
        """
        return None

    def preconditioner(self, damping):
        """A cheap approximate inverse of the damped operator, or `None`.

        Args:
            damping: scalar tensor, what is added to every eigenvalue.

        Returns:
            A function from a vector to a vector, symmetric and positive
            definite, or `None` where there is none.
        """
        return None


class Restriction(NamedTuple):
    """`H = E h Eᵀ` with orthonormal columns in `E`, fewer than `H` has.

    Args:
        operator: the `Operator` `h`.
        project: function from a vector to `Eᵀ` times it.
        expand: function from a vector of the size of `h` to `E` times it.
    """

    operator: Operator
    project: Callable
    expand: Callable


class DenseOperator(Operator):
    """A symmetric matrix as an `Operator`.

    Args:
        matrix: tensor of shape `(size, size)`.

    Example:
    >>> solvers.DenseOperator(np.diag([1.0, 2.0])).matvec(np.ones(2)).numpy()
    array([1., 2.])
    """

    unrolls = True

    def __init__(self, matrix):
        self.matrix = ops.convert_to_tensor(matrix)
        shape = self.matrix.shape
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ValueError(
                "Argument `matrix` must have the shape (size, size). "
                f"Received: matrix.shape={tuple(shape)}"
            )
        super().__init__(shape[0], self.matrix.dtype)

    def matvec(self, vector):
        """Matrix times vector."""
        return tf.linalg.matvec(self.matrix, vector)

    def as_matrix(self):
        """The matrix itself."""
        return self.matrix

    def materialize(self):
        """This operator."""
        return self

    def trace(self):
        """The sum of the diagonal."""
        return ops.trace(self.matrix)


def largest_eigenvalue(operator: Operator, products: int = LANCZOS_PRODUCTS):
    """Largest eigenvalue (in magnitude) of an operator by Lanczos' iteration.

    With the default number of products it is exact for up to 8 eigenvalues,
    else from 80 to 100 % of the true value: above 95 % in most cases, which
    is enough for a damping or a step size.

    Args:
        operator: an `Operator`.
        products: integer, matrix-vector products spent. Defaults to `8`.

    Returns:
        Scalar tensor, never above the true value by more than rounding.

    Example:
    >>> operator = DenseOperator(np.diag([1.0, 2.0]))
    >>> round(float(largest_eigenvalue(operator)), 6)
    2.0

    Reference: Kuczynski and Wozniakowski, "Estimating the largest eigenvalue
    by the power and Lanczos algorithms with a random start", 1992.
    """
    start = gaussian((operator.size,), 0, operator.dtype)
    start = start / norm(start)
    if operator.unrolls:
        found = lanczos(operator, start, products)
        tridiagonal, scale = found.tridiagonal, found.scale
    else:
        tridiagonal = _lanczos_loop(operator, start, products)
        scale = ops.max(ops.abs(tridiagonal))
        tridiagonal = ops.divide_no_nan(tridiagonal, scale)
    ritz, _ = eigh(tridiagonal)
    return scale * ops.max(ops.abs(ritz))


class Lanczos(NamedTuple):
    """Lanczos' iteration: `H Q = scale · (Q T + link · following eᵀ)`.

    Args:
        basis: list of tensors of shape `(size,)`, the columns of `Q`.
        tridiagonal: tensor, `T`.
        following: tensor of shape `(size,)`, what would be the next column.
        link: scalar tensor.
        scale: scalar tensor.
    """

    basis: list
    tridiagonal: tf.Tensor
    following: tf.Tensor
    link: tf.Tensor
    scale: tf.Tensor


def lanczos(operator: Operator, start, products: int) -> Lanczos:
    """Lanczos' iteration, written out.

    Args:
        operator: an `Operator`.
        start: tensor of shape `(size,)` and length 1, or zero.
        products: integer, the number of steps.

    Returns:
        A `Lanczos`, with zeros from where the space ends.
    """
    basis, diagonal, links = [start], [], []
    rest = operator.matvec(start)
    # At this scale the squares stay in range.
    scale = ops.max(ops.abs(rest))
    down = ops.divide_no_nan(1.0, scale)
    for step in range(products):
        q = basis[-1]
        if step:
            rest = operator.matvec(q)
        rest = down * rest
        if step:
            rest = rest - links[-1] * basis[-2]
        diagonal.append(ops.sum(q * rest))
        rest = rest - diagonal[-1] * q
        links.append(ops.sqrt(ops.sum(rest * rest)))
        basis.append(ops.divide_no_nan(rest, links[-1]))
    following = basis.pop()
    tridiagonal = _tridiagonal(ops.stack(diagonal), ops.stack(links))
    return Lanczos(basis, tridiagonal, following, links[-1], scale)


def _lanczos_loop(operator, start, products):
    zero = ops.zeros((), operator.dtype)

    def step(j, state):
        q, before, link, diagonal, links = state
        rest = operator.matvec(q) - link * before
        value = ops.sum(q * rest)
        rest = rest - value * q
        link = norm(rest)
        # Not `ops.slice_update`, which XLA would compile and run by itself.
        diagonal = tf.tensor_scatter_nd_update(diagonal, [[j]], value[None])
        links = tf.tensor_scatter_nd_update(links, [[j]], link[None])
        return ops.divide_no_nan(rest, link), q, link, diagonal, links

    values = ops.zeros((products,), operator.dtype)
    state = start, ops.zeros_like(start), zero, values, values
    *_, diagonal, links = ops.fori_loop(0, products, step, state)
    return _tridiagonal(diagonal, links)


def _tridiagonal(diagonal, links):
    # Above the diagonal the first entry is left out, below it the last.
    bands = ops.stack([ops.roll(links, 1), diagonal, links])
    return tf.linalg.diag(bands, k=(-1, 1))


def gaussian(shape, number, dtype):
    """Normal draws that `number` alone decides: no random state is touched."""
    return tf.random.stateless_normal(shape, (number, 0), dtype=dtype)


def norm(x):
    """Euclidean norm, also where the squares would leave float32's range."""
    scale = ops.max(ops.abs(x))
    return scale * ops.norm(ops.divide_no_nan(x, scale))


def eigh(matrices):
    """Eigenvalues and eigenvectors of symmetric `(..., size, size)`.

    NaN where a matrix is not finite, where TensorFlow's own may raise: a bad
    batch ends as a skipped update.
    """
    finite = ops.all(ops.isfinite(matrices))
    values, vectors = tf.linalg.eigh(ops.where(finite, matrices, 0.0))
    nan = float("nan")
    return ops.where(finite, values, nan), ops.where(finite, vectors, nan)
