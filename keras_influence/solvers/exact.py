import keras
import tensorflow as tf
from keras import ops

from keras_influence.solvers.conjugate_gradient import conjugate_gradient
from keras_influence.solvers.solver import Solution, Solver


@keras.saving.register_keras_serializable(package="keras_influence")
class Exact(Solver):
    """Solves to rounding: Cholesky for small operators, else matrix-free.

    Args:
        damping: float, what is added to every eigenvalue. Defaults to `1e-3`.
        relative_to: what `damping` is a fraction of:
            `"largest_eigenvalue"`, `"mean_eigenvalue"`, or `None` for an
            absolute value. Defaults to `None`.
        max_dense: integer, the largest size that is written out as a matrix
            and factorised; above it conjugate gradient runs to `1e-6` of the
            right-hand side. Defaults to `2500`.

    Example:
    >>> operator = DenseOperator(np.diag([1.0, 4.0]))
    >>> Exact(damping=0.0).solve(operator, np.ones(2)).vector.numpy()
    array([1.  , 0.25])

    Reference: Eq. 6 of "Not All Unlabeled Data are Equal".
    """

    def __init__(self, damping=1e-3, relative_to=None, max_dense: int = 2500):
        super().__init__(damping, relative_to)
        self.max_dense = max_dense

    def solve(self, operator, vector) -> Solution:
        """Solves by Cholesky or, above `max_dense`, by conjugate gradient."""
        if operator.size > self.max_dense:
            damping = self.absolute_damping(operator)
            return conjugate_gradient(
                operator,
                vector,
                damping,
                iterations=1000,
                tolerance=1e-6,
                precondition=operator.preconditioner(damping),
            )
        operator = operator.dense()
        damping = self.absolute_damping(operator)
        identity = ops.eye(operator.size, dtype=operator.dtype)
        # A factor that does not exist is NaN here; `check` finds it.
        factor = tf.linalg.cholesky(operator.matrix + damping * identity)
        solution = tf.linalg.cholesky_solve(factor, vector[:, None])[:, 0]
        return self.check(operator, damping, vector, solution)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "max_dense": self.max_dense}
