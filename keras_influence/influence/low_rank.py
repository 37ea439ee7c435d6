import dataclasses
from collections.abc import Callable

import tensorflow as tf


@dataclasses.dataclass
class LowRank:
    """An operator as `FᵀF` with few rows in `F`, none of them written out.

    Args:
        gram: tensor of shape `(rank, rank)`, `FFᵀ`.
        project: function from `v` of shape `(size,)` to `Fv`.
        expand: function from `r` of shape `(rank,)` to `Fᵀr`.
    """

    gram: tf.Tensor
    project: Callable
    expand: Callable

    @property
    def rank(self) -> int | None:
        """The number of rows of `F`; `None` where only a run will tell."""
        return self.gram.shape[0]

    def is_below(self, size: int) -> bool:
        """Whether a `rank²` solve is to be preferred to one of `size²`."""
        return self.rank is None or self.rank < size

    def matvec(self, vector):
        """`FᵀF v`."""
        return self.expand(self.project(vector))

    def solve(self, damping, vector):
        """`(FᵀF + damping·I)⁻¹ v` by Woodbury's identity: a `rank²` solve.

        Reference: Woodbury, "Inverting modified matrices", 1950.
        """
        identity = tf.eye(tf.shape(self.gram)[0], dtype=self.gram.dtype)
        # Not `ops.cholesky`, which raises where this one gives NaN.
        factor = tf.linalg.cholesky(self.gram + damping * identity)

        def solve(vector):
            inner = tf.linalg.cholesky_solve(
                factor, self.project(vector)[:, None]
            )
            return (vector - self.expand(inner[:, 0])) / damping

        solution = solve(vector)
        # At a small damping the difference above loses most of its digits.
        rest = vector - self.matvec(solution) - damping * solution
        return solution + solve(rest)
