import keras
import numpy as np
from keras import ops

from keras_influence.solvers.operator import norm
from keras_influence.solvers.reason import Reason, reason_if
from keras_influence.solvers.solver import Solver, check_positive_integers


@keras.saving.register_keras_serializable(package="keras_influence")
class ConjugateGradient(Solver):
    """Conjugate gradient: `iterations` products, no matrix.

    With the condition number `κ` the error falls by
    `(√κ - 1) / (√κ + 1)` an iteration. Stops early at the tolerance, and at a
    direction of negative curvature, which makes the solution invalid. That
    of all `iterations` may be used, as truncated conjugate gradient is;
    `Solution.reason` says where it is above the tolerance.

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
    >>> operator = solvers.DenseOperator(np.diag([1.0, 4.0]))
    >>> solver = solvers.ConjugateGradient(damping=0.0)
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
        check_positive_integers(iterations=iterations)
        if not 0 <= tolerance < 1:
            raise ValueError(
                "Argument `tolerance` must be a float in [0, 1). "
                f"Received: tolerance={tolerance}"
            )
        if preconditioner not in (None, "kronecker"):
            raise ValueError(
                "Argument `preconditioner` must be None or 'kronecker'. "
                f"Received: preconditioner={preconditioner!r}"
            )
        self.iterations = iterations
        self.tolerance = tolerance
        self.preconditioner = preconditioner

    def solve_damped(self, operator, damping, vector) -> tuple:
        """At most `iterations` products."""
        return conjugate_gradient(
            operator,
            damping,
            vector,
            self.iterations,
            self.tolerance,
            self._precondition(operator, damping),
        )

    def _precondition(self, operator, damping):
        if self.preconditioner is None:
            return None
        precondition = operator.preconditioner(damping)
        if precondition is None:
            raise ValueError(
                f"`preconditioner={self.preconditioner!r}` needs an operator "
                "that has one, such as the curvature of the last layer: set "
                "`preconditioner=None` or `parameters='last_layer'`. "
                f"Received: operator of type {type(operator).__name__}"
            )
        return precondition

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "iterations": self.iterations,
            "tolerance": self.tolerance,
            "preconditioner": self.preconditioner,
        }


def conjugate_gradient(
    operator, damping, vector, iterations, tolerance, precondition=None
) -> tuple:
    """Preconditioned conjugate gradient on `operator + damping·I`.

    Args:
        operator: a symmetric `Operator`.
        damping: scalar tensor.
        vector: tensor of shape `(size,)`, the right-hand side.
        iterations: integer, the most products to spend.
        tolerance: float, the relative residual at which to stop; not below
            the rounding error of the dtype.
        precondition: function from a residual to an approximate solution, or
            `None`. Defaults to `None`.

    Returns:
        The solution, the `Reason` as an integer scalar tensor, and the
        number of products.
    """
    rounding = float(np.finfo(operator.dtype).eps)
    target = (max(tolerance, rounding) * norm(vector)) ** 2
    apply = _at_unit_scale(precondition, vector)

    def unfinished(i, x, r, z, p, rz, rr, largest, definite):
        return (i < iterations) & (rr > target) & definite

    def step(i, x, r, z, p, rz, rr, largest, definite):
        product = operator.matvec(p) + damping * p
        curvature = _dot(p, product)
        rayleigh = curvature / _dot(p, p)
        # Singular in rounding counts as singular.
        largest = ops.maximum(largest, rayleigh)
        definite = (rayleigh > rounding * largest) & (rz > 0)
        alpha = ops.where(definite, rz / curvature, 0.0)
        x = x + alpha * p
        r = r - alpha * product
        z = apply(r)
        rr = _dot(r, r)
        following = rr if precondition is None else _dot(r, z)
        p = z + ops.divide_no_nan(following, rz) * p
        return i + 1, x, r, z, p, following, rr, largest, definite

    z, zero = apply(vector), ops.zeros((), operator.dtype)
    rr = _dot(vector, vector)
    state = 0, ops.zeros_like(vector), vector, z, z, _dot(vector, z), rr
    state = ops.while_loop(unfinished, step, (*state, zero, True))
    i, x, *_, rr, _, definite = state
    reason = reason_if(rr > target, Reason.TOLERANCE_NOT_REACHED)
    reason = reason_if(definite, reason, Reason.NOT_POSITIVE_DEFINITE)
    return x, reason, i


def _at_unit_scale(precondition, vector):
    """A multiple of the preconditioner whose squares stay in range."""
    if precondition is None:
        return lambda residual: residual
    scale = ops.divide_no_nan(1.0, ops.max(ops.abs(precondition(vector))))
    return lambda residual: scale * precondition(residual)


def _dot(a, b):
    return ops.sum(a * b)
