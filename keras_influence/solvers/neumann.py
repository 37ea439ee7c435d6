import numbers

import keras
from keras import ops

from keras_influence.solvers.operator import LANCZOS_PRODUCTS, norm
from keras_influence.solvers.reason import Reason, reason_if
from keras_influence.solvers.solver import Solver, check_positive_integers


@keras.saving.register_keras_serializable(package="keras_influence")
class Neumann(Solver):
    """The Neumann series of the inverse, cut after `terms` terms.

        v = step · Σ_{j < terms} (I - step·(H + damping·I))ʲ g

    It is gradient descent on the quadratic of `H` from zero: with the step
    `1 / largest eigenvalue` and the condition number `κ` the error falls by
    `(κ - 1) / κ` a term. A term longer than the one before proves that the
    step is above `2 / largest eigenvalue` or that an eigenvalue is negative;
    the reason is then `DIVERGED`.

    Args:
        terms: integer, how many terms, a product each. Defaults to `20`.
        step: float, or `None` for the inverse of the largest eigenvalue of
            `H + damping·I` by Lanczos' iteration (8 products), with which the
            series of a positive definite operator converges. Defaults to
            `None`.
        damping: float, what is added to every eigenvalue. Defaults to `1e-3`.
        relative_to: what `damping` is a fraction of:
            `"largest_eigenvalue"`, `"mean_eigenvalue"`, or `None` for an
            absolute value. Defaults to `None`.

    Example:
    >>> operator = solvers.DenseOperator(np.diag([1.0, 2.0]))
    >>> solver = solvers.Neumann(terms=2, step=0.5, damping=0.0)
    >>> solver.solve(operator, np.ones(2)).vector.numpy()
    array([0.75, 0.5 ])

    Reference: "Neumann" in table A1; Lorraine et al., "Optimizing Millions of
    Hyperparameters by Implicit Differentiation", 2020.
    """

    def __init__(
        self,
        terms: int = 20,
        step: float | None = None,
        damping: float = 1e-3,
        relative_to: str | None = None,
    ):
        super().__init__(damping, relative_to)
        check_positive_integers(terms=terms)
        real = isinstance(step, numbers.Real)
        if step is not None and not (real and 0 < step < float("inf")):
            raise ValueError(
                "Argument `step` must be a finite float > 0 or None. "
                f"Received: step={step}"
            )
        self.terms = terms
        self.step = step

    def solve_damped(self, operator, damping, vector) -> tuple:
        """One product a term."""
        step, products = self.step, self.terms
        if step is None:
            step = 1.0 / self.largest_damped_eigenvalue(operator, damping)
            products += LANCZOS_PRODUCTS - self._damping_products()

        def add(_, state):
            total, term, _ = state
            product = operator.matvec(term) + damping * term
            following = term - step * product
            # The terms' norms are log-convex: once growing, always growing.
            shrinks = norm(following) <= (1 + 1e-4) * norm(term)
            return total + term, following, shrinks

        state = ops.zeros_like(vector), vector, True
        total, _, shrinks = ops.fori_loop(0, self.terms, add, state)
        diverged = reason_if(~shrinks, Reason.DIVERGED)
        return step * total, diverged, products

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "terms": self.terms,
            "step": self.step,
        }
