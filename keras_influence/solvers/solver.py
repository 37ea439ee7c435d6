from typing import NamedTuple

import tensorflow as tf
from keras import ops

from keras_influence.solvers.operator import Operator, largest_eigenvalue

RELATIVE = ("largest_eigenvalue", "mean_eigenvalue", None)


class Solution(NamedTuple):
    """What a solver found.

    Args:
        vector: tensor of shape `(size,)`, the solution `v`.
        residual: scalar tensor, `‖(H + damping·I) v - g‖ / ‖g‖`.
        valid: boolean scalar tensor, `False` where `v` must not be used: it
            is not finite, or the operator is not positive definite.
    """

    vector: tf.Tensor
    residual: tf.Tensor
    valid: tf.Tensor


class Solver:
    """Base class of solvers of `(H + damping·I) v = g`.

    Subclass it and write `solve`.

    Args:
        damping: float, what is added to every eigenvalue. Defaults to `0.0`.
        relative_to: what `damping` is a fraction of:
            `"largest_eigenvalue"`, `"mean_eigenvalue"`, or `None` for an
            absolute value. Defaults to `None`.

    Reference: table A1 and Eq. 6 of "Not All Unlabeled Data are Equal".
    """

    def __init__(self, damping: float = 0.0, relative_to: str | None = None):
        if not damping >= 0:
            raise ValueError(
                "Argument `damping` must be a float >= 0. "
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
        raise NotImplementedError(
            f"`{type(self).__name__}` must implement `solve(operator, vector)`."
        )

    def absolute_damping(self, operator: Operator):
        """The damping of this operator as a scalar tensor."""
        damping = ops.cast(self.damping, operator.dtype)
        if not self.damping or self.relative_to is None:
            return damping
        if self.relative_to == "mean_eigenvalue":
            return damping * operator.trace() / operator.size
        return damping * largest_eigenvalue(operator)

    def check(self, operator, damping, vector, solution) -> Solution:
        """Measures the true residual of a solution and judges it."""
        product = operator.matvec(solution) + damping * solution
        residual = tf.math.divide_no_nan(
            ops.norm(product - vector), ops.norm(vector)
        )
        return Solution(solution, residual, ops.isfinite(residual))

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {"damping": self.damping, "relative_to": self.relative_to}

    @classmethod
    def from_config(cls, config: dict):
        """A solver from `get_config`'s dictionary."""
        return cls(**config)
