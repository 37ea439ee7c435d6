import numbers

import keras
import tensorflow as tf
from keras import ops

from keras_influence.solvers.operator import (
    LANCZOS_PRODUCTS,
    largest_eigenvalue,
    norm,
)
from keras_influence.solvers.reason import Reason, reason_if
from keras_influence.solvers.solver import Solver, check_positive_integers

SAMPLES = 5


@keras.saving.register_keras_serializable(package="keras_influence")
class StochasticNeumann(Solver):
    """LiSSA: a Neumann series with a fresh mini-batch in every product.

        v_0 = g,   v_j = g + (I - (H_j + damping·I) / scale) v_{j-1}

    gives `v_depth / scale`, averaged over `repeats` independent runs. `H_j`
    is `operator.sample(number)` and every number is used once, so the mean is
    the Neumann series of `H`: its error falls with `depth`, and the noise as
    `1 / √repeats`. The reason is `DIVERGED` where a run grew beyond what any
    convergent one can.

    Args:
        depth: integer, how many products a run spends. Defaults to `100`.
        repeats: integer, how many runs are averaged. Defaults to `1`.
        scale: float, at least the largest eigenvalue of a mini-batch's
            damped curvature, or `None` for the largest among 5 mini-batches
            by Lanczos' iteration (8 products each); half the largest is where
            divergence begins. Defaults to `None`.
        damping: float, what is added to every eigenvalue. Defaults to `1e-3`.
        relative_to: what `damping` is a fraction of:
            `"largest_eigenvalue"`, `"mean_eigenvalue"`, or `None` for an
            absolute value. Defaults to `None`.

    Example:
    >>> operator = solvers.DenseOperator(np.diag([1.0, 2.0]))
    >>> solver = solvers.StochasticNeumann(depth=1, scale=2.0, damping=0.0)
    >>> solver.solve(operator, np.ones(2)).vector.numpy()
    array([0.75, 0.5 ])

    Reference: Koh and Liang, "Understanding Black-box Predictions via
    Influence Functions", 2017, section 3; Agarwal et al., "Second-Order
    Stochastic Optimization for Machine Learning in Linear Time", 2017.
    """

    def __init__(
        self,
        depth: int = 100,
        repeats: int = 1,
        scale: float | None = None,
        damping: float = 1e-3,
        relative_to: str | None = None,
    ):
        super().__init__(damping, relative_to)
        check_positive_integers(depth=depth, repeats=repeats)
        real = isinstance(scale, numbers.Real)
        if scale is not None and not (real and 0 < scale < float("inf")):
            raise ValueError(
                "Argument `scale` must be a finite float > 0 or None. "
                f"Received: scale={scale}"
            )
        self.depth = depth
        self.repeats = repeats
        self.scale = scale

    def solve_damped(self, operator, damping, vector) -> tuple:
        """`depth · repeats` products with mini-batches."""
        step = 1.0 / (self.scale or largest_of_samples(operator) + damping)
        # No run of contractions gets longer than its terms laid end to end.
        bound = 1.01 * (self.depth + 1) * norm(vector)

        def run(repeat, state):
            total, bounded = state

            def recur(j, v):
                sample = operator.sample(repeat * self.depth + j)
                return vector + v - step * (sample.matvec(v) + damping * v)

            v = ops.fori_loop(0, self.depth, recur, vector)
            return total + v, bounded & (norm(v) <= bound)

        state = ops.zeros_like(vector), True
        total, bounded = ops.fori_loop(0, self.repeats, run, state)
        products = self.depth * self.repeats
        if self.scale is None:
            products += SAMPLES * LANCZOS_PRODUCTS
        diverged = reason_if(~bounded, Reason.DIVERGED)
        return step * total / self.repeats, diverged, products

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "depth": self.depth,
            "repeats": self.repeats,
            "scale": self.scale,
        }


def largest_of_samples(operator):
    """The largest eigenvalue that a few of the operator's samples have."""
    return ops.max(
        tf.map_fn(
            lambda i: largest_eigenvalue(operator.sample(i)),
            tf.range(SAMPLES),
            fn_output_signature=operator.dtype,
        )
    )
