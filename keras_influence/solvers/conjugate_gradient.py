import keras
import tensorflow as tf
from keras import ops

from keras_influence.solvers.solver import Solution, Solver


@keras.saving.register_keras_serializable(package="keras_influence")
class ConjugateGradient(Solver):
    """Conjugate gradient: `iterations` products, no matrix.

    Stops early at the tolerance, and at a direction of negative curvature,
    which `Solution.valid` reports.

    Args:
        iterations: integer, the most products to spend. Defaults to `100`.
        tolerance: float, the residual relative to the right-hand side at
            which to stop. Defaults to `1e-4`.
        damping: float, what is added to every eigenvalue. Defaults to `1e-3`.
        relative_to: what `damping` is a fraction of:
            `"largest_eigenvalue"`, `"mean_eigenvalue"`, or `None` for an
            absolute value. Defaults to `None`.
        preconditioner: `"kronecker"` for the operator's own Kronecker
            approximation (last-layer operators have one), or `None`.
            Defaults to `None`.

    Example:
    >>> operator = DenseOperator(np.diag([1.0, 4.0]))
    >>> solver = ConjugateGradient(damping=0.0)
    >>> solver.solve(operator, np.ones(2)).vector.numpy()
    array([1.  , 0.25])

    Reference: "Conjugate gradients" in table A1; Pedregosa,
    "Hyperparameter optimization with approximate gradient", 2016.
    """

    def __init__(
        self,
        iterations: int = 100,
        tolerance: float = 1e-4,
        damping: float = 1e-3,
        relative_to: str | None = None,
        preconditioner: str | None = None,
    ):
        super().__init__(damping, relative_to)
        if iterations < 1:
            raise ValueError(
                "Argument `iterations` must be an integer >= 1. "
                f"Received: iterations={iterations}"
            )
        if preconditioner not in (None, "kronecker"):
            raise ValueError(
                "Argument `preconditioner` must be None or 'kronecker'. "
                f"Received: preconditioner={preconditioner!r}"
            )
        self.iterations = iterations
        self.tolerance = tolerance
        self.preconditioner = preconditioner

    def solve(self, operator, vector) -> Solution:
        """Solves by preconditioned conjugate gradient."""
        damping = self.absolute_damping(operator)
        precondition = None
        if self.preconditioner == "kronecker":
            precondition = operator.preconditioner(damping)
        return conjugate_gradient(
            operator,
            vector,
            damping,
            self.iterations,
            self.tolerance,
            precondition,
        )

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "iterations": self.iterations,
            "tolerance": self.tolerance,
            "preconditioner": self.preconditioner,
        }


def conjugate_gradient(
    operator, vector, damping, iterations, tolerance, precondition=None
) -> Solution:
    """Preconditioned conjugate gradient on `operator + damping·I`.

    Args:
        operator: a symmetric `Operator`.
        vector: tensor of shape `(size,)`, the right-hand side.
        damping: scalar tensor.
        iterations: integer, the most products to spend.
        tolerance: float, the relative residual at which to stop.
        precondition: function from a residual to an approximate solution, or
            `None`. Defaults to `None`.

    Returns:
        A `Solution`; its residual is measured by one product more.
    """
    precondition = precondition or (lambda residual: residual)
    target = tolerance * ops.norm(vector)

    def unfinished(i, x, r, z, p, definite):
        return (i < iterations) & (ops.norm(r) > target) & definite

    def step(i, x, r, z, p, definite):
        product = operator.matvec(p) + damping * p
        curvature = _dot(p, product)
        definite = curvature > 0
        alpha = tf.where(definite, _dot(r, z) / curvature, 0.0)
        x = x + alpha * p
        next_r = r - alpha * product
        next_z = precondition(next_r)
        beta = tf.math.divide_no_nan(_dot(next_r, next_z), _dot(r, z))
        return i + 1, x, next_r, next_z, next_z + beta * p, definite

    z = precondition(vector)
    state = (0, ops.zeros_like(vector), vector, z, z, True)
    _, x, _, _, _, definite = tf.while_loop(unfinished, step, state)
    residual = tf.math.divide_no_nan(
        ops.norm(operator.matvec(x) + damping * x - vector), ops.norm(vector)
    )
    return Solution(x, residual, definite & ops.isfinite(residual))


def _dot(a, b):
    return ops.sum(a * b)
