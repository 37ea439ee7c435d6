import numbers
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
from keras import ops

from keras_influence.representation import representation
from keras_influence.solvers.operator import (
    LANCZOS_PRODUCTS,
    Operator,
    largest_eigenvalue,
    norm,
)
from keras_influence.solvers.reason import Reason, as_reason, reason_if

# Numbers of the vectors that are kept to find a damping on the way: 128 MB.
MAX_KEPT = 2**25
RELATIVE = ("largest_eigenvalue", "mean_eigenvalue", None)


class Solution(NamedTuple):
    """What a solver found.

    Args:
        vector: tensor of shape `(size,)`, the solution `v`.
        residual: scalar tensor, `‖(H + damping·I) v - g‖ / ‖g‖`, measured by
            one product more. An approximation is allowed a large one.
        reason: integer scalar tensor, the `Reason` why the solver ended.
        products: integer scalar tensor, how many products with the operator
            or its samples were spent, those of the largest eigenvalue and of
            the residual included. Defaults to `0`.

    Example:
    >>> operator = solvers.DenseOperator(np.diag([1.0, -4.0]))
    >>> solution = solvers.Exact(damping=0.0).solve(operator, np.ones(2))
    >>> solvers.Reason(int(solution.reason)).text
    'the curvature is not positive definite: raise the damping'
    """

    vector: tf.Tensor
    residual: tf.Tensor
    reason: tf.Tensor
    products: tf.Tensor | int = 0

    @property
    def valid(self):
        """Boolean scalar tensor: whether `vector` may be used.

        `False` where it is not finite, the operator is not positive definite
        or the solver diverged.
        """
        return self.reason <= Reason.TOLERANCE_NOT_REACHED.value


class Solver:
    """Base class of solvers of `(H + damping·I) v = g`.

    Subclass it and write `solve_damped`.

    The regularisers of the training loss, weight decay among them, are in `H`
    already: where they make it positive definite, `damping=0.0` damps by the
    weight decay and nothing else.

    Args:
        damping: float, what is added to every eigenvalue. Defaults to `0.0`.
        relative_to: what `damping` is a fraction of:
            `"largest_eigenvalue"` (by Lanczos' iteration, 8 products),
            `"mean_eigenvalue"` (by the operator's trace), or `None` for an
            absolute value. Defaults to `None`.

    Example:
    >>> class Diagonal(solvers.Solver):
    ...     def solve_damped(self, operator, damping, vector):
    ...         diagonal = keras.ops.diagonal(operator.as_matrix())
    ...         return vector / (diagonal + damping), True
    >>> operator = solvers.DenseOperator(np.diag([1.0, 3.0]))
    >>> Diagonal(damping=1.0).solve(operator, np.ones(2)).vector.numpy()
    array([0.5 , 0.25])

    Reference: table A1 and Eq. 6 of "Not All Unlabeled Data are Equal".
    """

    def __init__(self, damping: float = 0.0, relative_to: str | None = None):
        real = isinstance(damping, numbers.Real)
        if not (real and 0 <= damping < float("inf")):
            raise ValueError(
                "Argument `damping` must be a finite float >= 0. "
                f"Received: damping={damping}"
            )
        if relative_to not in RELATIVE:
            raise ValueError(
                f"Argument `relative_to` must be one of {RELATIVE}. "
                f"Received: relative_to={relative_to!r}"
            )
        self.damping = damping
        self.relative_to = relative_to

    def solve(self, operator: Operator, vector: tf.Tensor) -> Solution:
        """Solves for one right-hand side.

        Args:
            operator: the symmetric `Operator` `H`.
            vector: tensor of shape `(size,)`, the right-hand side `g`.

        Returns:
            A `Solution`.
        """
        vector = ops.convert_to_tensor(vector, operator.dtype)
        if not vector.shape.is_compatible_with((operator.size,)):
            raise ValueError(
                "Argument `vector` must have the shape (operator.size,). "
                f"Received: vector.shape={tuple(vector.shape)}, "
                f"operator.size={operator.size}"
            )
        # Solved at unit scale: the squares of a tiny gradient underflow.
        scale = ops.max(ops.abs(vector))
        unit = ops.divide_no_nan(vector, scale)
        damping, solution, outcome, products = self.solve_unit(operator, unit)
        finite = ops.all(ops.isfinite(solution))
        solution = ops.where(finite, solution, 0.0)
        product = operator.matvec(solution) + damping * solution
        # An operator or a right-hand side that is not finite shows here.
        error = norm(product - unit)
        solution = scale * solution
        finite &= ops.all(ops.isfinite(solution))
        residual = ops.divide_no_nan(error, norm(unit))
        products = ops.cast(products, "int32") + 1
        found = Solution(solution, residual, as_reason(outcome), products)
        broken = ~ops.isfinite(error) | (found.valid & ~finite)
        return found._replace(
            reason=reason_if(broken, Reason.NOT_FINITE, found.reason)
        )

    def solve_all(self, operator: Operator, vectors: tf.Tensor) -> Solution:
        """Solves for many right-hand sides.

        Args:
            operator: the symmetric `Operator` `H`.
            vectors: tensor of shape `(n, size)`.

        Returns:
            A `Solution` whose parts have a leading axis of length `n`.
        """
        return solve_each(lambda vector: self.solve(operator, vector), vectors)

    def solve_unit(self, operator: Operator, vector) -> tuple:
        """Finds the damping, and solves with it.

        Args:
            operator: the symmetric `Operator` `H`.
            vector: as of `solve_damped`.

        Returns:
            The damping, and what `solve_damped` returns, with all products.
        """
        damping = self.absolute_damping(operator)
        solution, outcome, *products = self.solve_damped(
            operator, damping, vector
        )
        return (
            damping,
            solution,
            outcome,
            sum(products) + self._damping_products(),
        )

    def solve_damped(self, operator: Operator, damping, vector) -> tuple:
        """Solves for a right-hand side whose largest entry is 1, or zero.

        Args:
            operator: the symmetric `Operator` `H`.
            damping: scalar tensor, what is added to every eigenvalue.
            vector: tensor of shape `(size,)`, the right-hand side.

        Returns:
            The solution, a tensor of shape `(size,)`, and how it went: a
            `Reason` or an integer tensor with one, or a boolean, `False` for
            `Reason.FAILED`. That all numbers are finite is checked for it.
            Third, where it is counted, the number of products spent.
        """
        raise NotImplementedError(
            f"`{type(self).__name__}` must implement "
            "`solve_damped(operator, damping, vector)`."
        )

    def absolute_damping(self, operator: Operator):
        """The damping of this operator as a scalar tensor."""
        damping = ops.convert_to_tensor(self.damping, operator.dtype)
        if not self.damping or self.relative_to is None:
            return damping
        if self.relative_to == "mean_eigenvalue":
            # Of an indefinite operator the mean may be negative.
            return damping * ops.abs(operator.trace()) / operator.size
        return damping * largest_eigenvalue(operator)

    def _damping_products(self):
        largest = self.relative_to == "largest_eigenvalue"
        return LANCZOS_PRODUCTS if self.damping and largest else 0

    def finds_damping(self, operator: Operator) -> bool:
        """Whether a solve may find the damping in its own first products."""
        relative = self.relative_to == "largest_eigenvalue" and self.damping
        kept = LANCZOS_PRODUCTS * operator.size
        return bool(relative) and operator.unrolls and kept <= MAX_KEPT

    def factorises(self, size: float) -> bool:
        """Whether a solve factorises matrices, for an operator of this size.

        Args:
            size: number, how many parameters an operator has.
        """
        return False

    def largest_damped_eigenvalue(self, operator: Operator, damping):
        """The largest eigenvalue of `H + damping·I` as a scalar tensor."""
        if self.damping and self.relative_to == "largest_eigenvalue":
            return damping / self.damping + damping  # paid for already
        return largest_eigenvalue(operator) + damping

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {"damping": self.damping, "relative_to": self.relative_to}

    @classmethod
    def from_config(cls, config: dict) -> "Solver":
        """A solver from `get_config`'s dictionary."""
        return cls(**config)

    def __repr__(self):
        return representation(self)


def solve_each(solve: Callable, vectors: tf.Tensor) -> Solution:
    """The `Solution`s of a function of one right-hand side, for many."""

    @tf.autograph.experimental.do_not_convert
    def one(vector):
        return tuple(map(tf.convert_to_tensor, solve(vector)))

    signature = vectors.dtype, vectors.dtype, tf.int32, tf.int32
    return Solution(*tf.map_fn(one, vectors, fn_output_signature=signature))


def check_positive_integers(**arguments):
    """Raises for the first argument that is not an `int` >= 1."""
    for name, value in arguments.items():
        if not isinstance(value, numbers.Integral) or value < 1:
            raise ValueError(
                f"Argument `{name}` must be an `int` >= 1. "
                f"Received: {name}={value!r}"
            )
