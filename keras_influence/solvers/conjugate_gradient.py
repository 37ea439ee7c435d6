import numbers
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.solvers.operator import (
    eigh,
    lanczos,
    norm,
)
from keras_influence.solvers.reason import Reason, reason_if
from keras_influence.solvers.solver import Solver, check_positive_integers

# Products that are spent before the damping is found: enough for an estimate
# of the largest eigenvalue within 1 %, no more than most solves take.
KRYLOV = 12


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
        real = isinstance(tolerance, numbers.Real)
        if not (real and 0 <= tolerance < 1):
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

    def solve_unit(self, operator, vector) -> tuple:
        """Without products for the damping alone, where it can be."""
        if (
            self.iterations < KRYLOV
            or self.preconditioner is not None
            or not self.finds_damping(operator)
        ):
            return super().solve_unit(operator, vector)
        return conjugate_gradient_from_lanczos(
            operator, self.damping, vector, self.iterations, self.tolerance
        )

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

    def factorises(self, size):
        """Whether there is a preconditioner."""
        return self.preconditioner is not None

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
    apply = _at_unit_scale(precondition, vector)
    start = Progress(
        x=ops.zeros_like(vector),
        r=vector,
        p=apply(vector) if apply else vector,
        largest=ops.zeros((), operator.dtype),
        definite=True,
    )
    target = _target(operator, vector, tolerance)
    return _descend(operator, damping, start, iterations, target, apply)


def conjugate_gradient_from_lanczos(
    operator, share, vector, iterations, tolerance
) -> tuple:
    """The same, with a damping that its first products tell.

    These are Lanczos' iteration from the right-hand side, which knows nothing
    of the damping: its largest Ritz value gives it, and its basis the point
    and the direction at which conjugate gradient goes on.

    Args:
        operator: a symmetric `Operator`.
        share: float, the damping in parts of the largest eigenvalue.
        vector: as of `conjugate_gradient`.
        iterations: integer, the most products to spend, not below
            `KRYLOV`.
        tolerance: as of `conjugate_gradient`.

    Returns:
        The damping, and what `conjugate_gradient` returns.
    """
    length = norm(vector)
    start = ops.divide_no_nan(vector, length)
    found = lanczos(operator, start, KRYLOV)
    ritz, U = eigh(found.tridiagonal)
    largest = ops.max(ops.abs(ritz))
    damped = ritz + share * largest
    # Galerkin's solution; the direction is conjugate to the whole basis.
    y = tf.linalg.matvec(U, ops.divide_no_nan(length * U[0], damped))
    c = tf.linalg.matvec(U, ops.divide_no_nan(U[-1], damped))
    rest = -found.link * y[-1]
    coordinates = ops.stack([y, -found.link * rest * c])
    inside = ops.matmul(coordinates, ops.stack(found.basis))
    solution, along = tf.unstack(inside)
    residual = rest * found.following
    rounding = float(np.finfo(operator.dtype).eps)
    start = Progress(
        x=ops.divide_no_nan(solution, found.scale),
        r=residual,
        p=residual + along,
        largest=found.scale * (1 + share) * largest,
        definite=ops.all(damped >= rounding * largest),
    )
    damping = share * found.scale * largest
    target = _target(operator, vector, tolerance)
    solution, reason, products = _descend(
        operator, damping, start, iterations - KRYLOV, target
    )
    return damping, solution, reason, KRYLOV + products


class Progress(NamedTuple):
    """Where conjugate gradient has got to.

    Args:
        x: tensor of shape `(size,)`, the solution so far.
        r: tensor of shape `(size,)`, the residual.
        p: tensor of shape `(size,)`, the next direction.
        largest: scalar tensor, the largest curvature met.
        definite: boolean scalar tensor, whether all was positive.
    """

    x: tf.Tensor
    r: tf.Tensor
    p: tf.Tensor
    largest: tf.Tensor
    definite: tf.Tensor | bool


def _descend(operator, damping, start, iterations, target, apply=None):
    rounding = float(np.finfo(operator.dtype).eps)

    def unfinished(i, p, r, x, rz, rr, largest, definite):
        return (i < iterations) & (rr > target) & definite

    def step(i, p, r, x, rz, rr, largest, definite):
        product = operator.matvec(p) + damping * p
        curvature = _dot(p, product)
        rayleigh = curvature / _dot(p, p)
        # Singular in rounding counts as singular.
        largest = ops.maximum(largest, rayleigh)
        definite = (rayleigh > rounding * largest) & (rz > 0)
        alpha = ops.where(definite, rz / curvature, 0.0)
        x = x + alpha * p
        r = r - alpha * product
        z = apply(r) if apply else r
        rr = _dot(r, r)
        following = _dot(r, z) if apply else rr
        p = z + ops.divide_no_nan(following, rz) * p
        return i + 1, p, r, x, following, rr, largest, definite

    x, r, p, largest, definite = start
    rr = _dot(r, r)
    rz = _dot(r, p) if apply else rr
    state = 0, p, r, x, rz, rr, largest, definite
    i, _, _, x, _, rr, _, definite = ops.while_loop(unfinished, step, state)
    reason = reason_if(rr > target, Reason.TOLERANCE_NOT_REACHED)
    reason = reason_if(definite, reason, Reason.NOT_POSITIVE_DEFINITE)
    return x, reason, i


def _target(operator, vector, tolerance):
    rounding = float(np.finfo(operator.dtype).eps)
    return (max(tolerance, rounding) * norm(vector)) ** 2


def _at_unit_scale(precondition, vector):
    """A multiple of the preconditioner whose squares stay in range."""
    if precondition is None:
        return None
    scale = ops.divide_no_nan(1.0, ops.max(ops.abs(precondition(vector))))
    return lambda residual: scale * precondition(residual)


def _dot(a, b):
    return ops.sum(a * b)
