import dataclasses
from collections.abc import Callable

import tensorflow as tf
from keras import ops


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
    def rank(self) -> int:
        """The number of rows of `F`."""
        return self.gram.shape[0]

    def matvec(self, vector):
        """`FᵀF v`."""
        return self.expand(self.project(vector))

    def solve(self, damping, vector):
        """`(FᵀF + damping·I)⁻¹ v` by Woodbury's identity: a `rank²` solve.

        Reference: Woodbury, "Inverting modified matrices", 1950.
        """
        identity = ops.eye(self.rank, dtype=self.gram.dtype)
        # Not `ops.cholesky`, which raises where this one gives NaN.
        factor = tf.linalg.cholesky(self.gram + damping * identity)
        inner = tf.linalg.cholesky_solve(factor, self.project(vector)[:, None])
        return (vector - self.expand(inner[:, 0])) / damping
