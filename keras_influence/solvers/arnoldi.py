import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.solvers.operator import norm
from keras_influence.solvers.reason import Reason, reason_if
from keras_influence.solvers.solver import Solver, check_positive_integers


@keras.saving.register_keras_serializable(package="keras_influence")
class Arnoldi(Solver):
    """Inverts `H` on its leading Ritz vectors and is zero elsewhere.

    Arnoldi's iteration (Lanczos', as `H` is symmetric) builds an orthonormal
    basis `Q` of the Krylov space of `g`; the eigenpairs of the small `Q H Qᵀ`
    approximate those of `H`, and of these the `rank` largest in magnitude are
    inverted. With `rank=iterations` nothing is left out and the solution is
    that of as many iterations of conjugate gradient. Schioppa et al. start at
    a random vector to serve many gradients with one basis; a solver has one
    gradient and starts there, so that the basis holds all of it.

    It keeps `iterations` vectors of the size of `g`.

    Args:
        rank: integer, how many eigenpairs to invert. Defaults to `20`.
        iterations: integer, how many products to spend. Defaults to `50`.
        damping: float, what is added to every eigenvalue. Defaults to `1e-3`.
        relative_to: what `damping` is a fraction of:
            `"largest_eigenvalue"`, `"mean_eigenvalue"`, or `None` for an
            absolute value. Defaults to `None`.

    Example:
    >>> operator = solvers.DenseOperator(np.diag([1.0, 4.0]))
    >>> solver = solvers.Arnoldi(rank=1, iterations=2, damping=0.0)
    >>> solver.solve(operator, np.ones(2)).vector.numpy().round(6)
    array([0.  , 0.25])

    Reference: Schioppa et al., "Scaling Up Influence Functions", 2022.
    """

    def __init__(
        self,
        rank: int = 20,
        iterations: int = 50,
        damping: float = 1e-3,
        relative_to: str | None = None,
    ):
        super().__init__(damping, relative_to)
        check_positive_integers(rank=rank, iterations=iterations)
        if rank > iterations:
            raise ValueError(
                "Argument `rank` must not exceed `iterations`. "
                f"Received: rank={rank}, iterations={iterations}"
            )
        self.rank = rank
        self.iterations = iterations

    def solve_damped(self, operator, damping, vector) -> tuple:
        """Invalid where an eigenvalue to invert is negative."""
        size = min(self.iterations, operator.size)
        basis, projected = krylov(operator, vector, size)
        finite = ops.all(ops.isfinite(projected))
        # The eigendecomposition of NaN raises.
        values, vectors = ops.eigh(ops.where(finite, projected, 0.0))
        values = values + damping
        magnitude = ops.abs(values)
        leading = ops.top_k(magnitude, min(self.rank, size))[0]
        rounding = float(np.finfo(operator.dtype).eps) * leading[0]
        kept = magnitude >= ops.maximum(leading[-1], rounding)
        # `vector` is a multiple of the first vector of the basis.
        coordinates = ops.divide_no_nan(
            norm(vector) * vectors[0], ops.where(kept, values, 0.0)
        )
        solution = ops.matmul(ops.matmul(vectors, coordinates), basis)
        definite = finite & ops.all(~kept | (values > -rounding))
        reason = reason_if(~definite, Reason.NOT_POSITIVE_DEFINITE)
        return solution, reason, size

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "rank": self.rank,
            "iterations": self.iterations,
        }


def krylov(operator, vector, size):
    """An orthonormal basis of a Krylov space and the operator within it.

    Args:
        operator: a symmetric `Operator`.
        vector: tensor of shape `(operator.size,)`, where the space begins.
        size: integer, the dimension.

    Returns:
        The basis, one vector a row, and the operator in its coordinates: a
        symmetric matrix. Where the space ends early, the rest is zero.
    """
    rounding = 10 * float(np.finfo(operator.dtype).eps)

    def extend(j, state):
        basis, rows, q = state
        # Not `ops.slice_update`, which XLA would compile and run by itself.
        basis = tf.tensor_scatter_nd_update(basis, [[j]], q[None])
        product = operator.matvec(q)
        # Once is not enough: Lanczos' basis loses its orthogonality.
        first = ops.matmul(basis, product)
        rest = product - ops.matmul(first, basis)
        second = ops.matmul(basis, rest)
        rest = rest - ops.matmul(second, basis)
        row = (first + second)[None]
        rows = tf.tensor_scatter_nd_update(rows, [[j]], row)
        length = norm(rest)
        length = ops.where(length > rounding * norm(product), length, 0.0)
        return basis, rows, ops.divide_no_nan(rest, length)

    basis = ops.zeros((size, operator.size), operator.dtype)
    rows = ops.zeros((size, size), operator.dtype)
    start = ops.divide_no_nan(vector, norm(vector))
    basis, rows, _ = ops.fori_loop(0, size, extend, (basis, rows, start))
    # A row knows the vectors up to its own: this is the lower triangle.
    return basis, rows + ops.transpose(ops.tril(rows, -1))
