import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.solvers.operator import gaussian, norm
from keras_influence.solvers.reason import Reason, reason_if
from keras_influence.solvers.solver import Solver, check_positive_integers


@keras.saving.register_keras_serializable(package="keras_influence")
class Nystrom(Solver):
    """Inverts a randomised low-rank approximation of `H` plus the damping.

        H ≈ Q C Qᵀ,   v = Q (C + damping·I)⁻¹ Qᵀ g + (g - Q Qᵀ g) / damping

    from `rank` products with fixed random vectors. It is good where few
    eigenvalues of `H` are above the damping: every other one is taken for
    zero, and the error falls with the largest of them. `H` must be positive
    semi-definite, as Gauss-Newton and outer products are; the reason says
    where it is seen not to be.

    It keeps a few times `rank` vectors of the size of `g`.

    Args:
        rank: integer, the rank of the approximation. Defaults to `20`.
        damping: float > 0, what is added to every eigenvalue. Defaults to
            `1e-3`.
        relative_to: what `damping` is a fraction of:
            `"largest_eigenvalue"`, `"mean_eigenvalue"`, or `None` for an
            absolute value. Defaults to `None`.

    Example:
    >>> operator = solvers.DenseOperator(np.diag([3.0, 0.0, 0.0]))
    >>> solver = solvers.Nystrom(rank=1, damping=1.0)
    >>> solver.solve(operator, np.ones(3)).vector.numpy()
    array([0.25, 1.  , 1.  ])

    Reference: Frangella et al., "Randomized Nyström Preconditioning", 2023,
    algorithm 2.1; Hataya and Yamada, "Nyström Method for Accurate and Scalable
    Implicit Differentiation", 2023.
    """

    def __init__(
        self,
        rank: int = 20,
        damping: float = 1e-3,
        relative_to: str | None = None,
    ):
        super().__init__(damping, relative_to)
        check_positive_integers(rank=rank)
        if not damping:
            raise ValueError(
                "Argument `damping` must be a float > 0: a matrix of low rank "
                f"has no inverse without it. Received: damping={damping}"
            )
        self.rank = rank

    def solve_damped(self, operator, damping, vector) -> tuple:
        """`rank` products, then a factorisation of `rank` vectors."""
        rank = min(self.rank, operator.size)
        basis, core = nystrom(operator, rank)
        inside = ops.matmul(basis, vector)
        outside = vector - ops.matmul(inside, basis)
        # Twice, as rounding would be blown up by 1 / damping.
        outside -= ops.matmul(ops.matmul(basis, outside), basis)
        core = core + damping * ops.eye(core.shape[0], dtype=operator.dtype)
        factor = tf.linalg.cholesky(core)
        inside = tf.linalg.cholesky_solve(factor, inside[:, None])[:, 0]
        found = ops.all(ops.isfinite(inside))
        reason = reason_if(~found, Reason.NOT_POSITIVE_DEFINITE)
        solution = ops.matmul(inside, basis) + outside / damping
        return solution, reason, rank

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "rank": self.rank}


def nystrom(operator, rank):
    """The Nyström approximation of a positive semi-definite operator.

    Args:
        operator: a symmetric `Operator`.
        rank: integer, at most `operator.size`.

    Returns:
        An orthonormal basis, one vector a row, and the operator within it, a
        `(rank, rank)` matrix: NaN where the operator is not positive
        semi-definite.
    """
    size, dtype, limits = (
        operator.size,
        operator.dtype,
        np.finfo(operator.dtype),
    )
    test = ops.transpose(ops.qr(gaussian((size, rank), 0, dtype))[0])
    sketch = tf.map_fn(operator.matvec, test)
    # With a small shift there is a Cholesky factor in spite of rounding.
    shift = float(limits.eps) * size**0.5 * norm(sketch)
    shift = ops.maximum(shift, float(limits.tiny / limits.eps))
    sketch = sketch + shift * test
    # Not `ops.cholesky`, which raises where this one gives NaN.
    factor = tf.linalg.cholesky(ops.matmul(test, ops.transpose(sketch)))
    root = ops.solve_triangular(factor, sketch, lower=True)
    basis, triangle = ops.qr(ops.transpose(root))
    core = ops.matmul(triangle, ops.transpose(triangle))
    return ops.transpose(basis), core - shift * ops.eye(rank, dtype=dtype)
