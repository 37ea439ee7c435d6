import keras
import tensorflow as tf
from keras import ops

from keras_influence.solvers.conjugate_gradient import conjugate_gradient
from keras_influence.solvers.reason import Reason, reason_if
from keras_influence.solvers.solver import (
    Solution,
    Solver,
    check_positive_integers,
)


@keras.saving.register_keras_serializable(package="keras_influence")
class Exact(Solver):
    """Solves to rounding: Cholesky for small operators, else matrix-free.

    Args:
        damping: float, what is added to every eigenvalue. Defaults to `1e-3`.
        relative_to: what `damping` is a fraction of:
            `"largest_eigenvalue"`, `"mean_eigenvalue"`, or `None` for an
            absolute value. Defaults to `None`.
        max_dense: integer, the largest size that is written out as a matrix
            and factorised, unless the operator is factorised already. Above
            it the operator's own inverse is used where it has one, as a sum
            of outer products has by Woodbury's identity; else conjugate
            gradient runs to `1e-6` of the right-hand side. Defaults to `2500`.

    Example:
    >>> operator = solvers.DenseOperator(np.diag([1.0, 4.0]))
    >>> solver = solvers.Exact(damping=0.0)
    >>> solver.solve(operator, np.ones(2)).vector.numpy()
    array([1.  , 0.25])

    Reference: Eq. 6 of "Not All Unlabeled Data are Equal".
    """

    def __init__(
        self,
        damping: float = 1e-3,
        relative_to: str | None = None,
        max_dense: int = 2500,
    ):
        super().__init__(damping, relative_to)
        check_positive_integers(max_dense=max_dense)
        self.max_dense = max_dense

    def solve(self, operator, vector) -> Solution:
        """Solves by Cholesky or, above `max_dense`, without the matrix."""
        if operator.size <= self.max_dense:
            operator = operator.materialize()
        solution = super().solve(operator, vector)
        # A matrix that is singular in rounding can still have a factor.
        garbage = solution.valid & (solution.residual >= 1)
        return solution._replace(
            reason=reason_if(
                garbage, Reason.NOT_POSITIVE_DEFINITE, solution.reason
            )
        )

    def solve_damped(self, operator, damping, vector) -> tuple:
        """Two triangular solves, or up to 1000 products."""
        inverse = operator.inverse(damping)
        if inverse is not None:
            return _checked(inverse(vector))
        if operator.size > self.max_dense:
            return conjugate_gradient(
                operator,
                damping,
                vector,
                iterations=1000,
                tolerance=1e-6,
                precondition=operator.preconditioner(damping),
            )
        identity = ops.eye(operator.size, dtype=operator.dtype)
        # Not `ops.cholesky`, which raises where this one gives NaN.
        factor = tf.linalg.cholesky(operator.as_matrix() + damping * identity)
        return _checked(tf.linalg.cholesky_solve(factor, vector[:, None])[:, 0])

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "max_dense": self.max_dense}


def _checked(solution):
    """NaN is how a factorisation says that there is none."""
    found = ops.all(ops.isfinite(solution))
    return solution, reason_if(~found, Reason.NOT_POSITIVE_DEFINITE)
