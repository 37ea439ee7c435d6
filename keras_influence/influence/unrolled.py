"""Truncated unrolled differentiation: a row of table A1 of its own kind."""

import functools
import numbers
from collections.abc import Callable, Iterable, Sequence

import keras
import tensorflow as tf
from keras import ops

from keras_influence.influence import outer as outers
from keras_influence.influence.head import Head
from keras_influence.influence.objective import Objective
from keras_influence.influence.scope import (
    VariablesScope,
    layers_of,
    scope_variables,
)
from keras_influence.representation import representation
from keras_influence.solvers import Operator, Reason, Solution
from keras_influence.solvers.operator import norm
from keras_influence.solvers.reason import reason_if
from keras_influence.solvers.solver import (
    check_positive_integers,
    solve_each,
)


@keras.saving.register_keras_serializable(package="keras_influence")
class Unrolled:
    """Truncated back-propagation through the last steps of gradient descent.

    Takes the place of an `Influence`. Inside `fit` the iterates and batches of
    the last `steps` steps are kept and differentiated through: every stored
    example gets the derivative of the validation loss through the step it was
    in. All batches must be of one size, as `data.semi_supervised` makes them.
    After training there are no stored steps; all are taken at the last
    iterate, where this is the truncated Neumann series of `H⁻¹` without
    damping.

    Args:
        steps: integer, how many steps to go back. Defaults to `5`.
        learning_rate: float, the step size of plain gradient descent that the
            steps are taken for. Where it is seen to diverge, with an
            eigenvalue above 2 / `learning_rate`, the update is skipped.
            Defaults to `0.1`.
        parameters: as of `Influence`. Defaults to `"all"`.
        curvature: `"hessian"`, `"gauss_newton"` or `"outer_product"`, the
            curvature of every step. Defaults to `"hessian"`.
        outer: as of `Influence`. Defaults to `"loss"`.

    Example:

    >>> Unrolled(steps=3)
    Unrolled(steps=3)

    Reference: "Truncated Unrolled Diff." in table A1; Shaban et al.,
    "Truncated Back-propagation for Bilevel Optimization", 2019.
    """

    def __init__(
        self,
        steps: int = 5,
        learning_rate: float = 0.1,
        parameters: str
        | keras.layers.Layer
        | Iterable[str | keras.layers.Layer] = "all",
        curvature: str = "hessian",
        outer: str | Callable = "loss",
    ):
        check_positive_integers(steps=steps)
        real = isinstance(learning_rate, numbers.Real)
        if not (real and 0 < learning_rate < float("inf")):
            raise ValueError(
                "Argument `learning_rate` must be a finite float > 0. "
                f"Received: learning_rate={learning_rate}"
            )
        if curvature not in ("hessian", "gauss_newton", "outer_product"):
            raise ValueError(
                "Argument `curvature` must be 'hessian', 'gauss_newton' or "
                f"'outer_product'. Received: curvature={curvature!r}"
            )
        outers.check(outer)
        self.steps = steps
        self.learning_rate = learning_rate
        self.parameters, self._layers = layers_of(parameters)
        self.curvature = curvature
        self.outer = outer

    def scope(self, network: keras.Model, head: Head | None) -> VariablesScope:
        """The scope; past iterates need the network even for its head."""
        if self.parameters == "last_layer":
            assert head is not None
            return VariablesScope(
                network, scope_variables(network, [head.layer])
            )
        return VariablesScope(network, scope_variables(network, self._layers))

    def step_scores(
        self, inner: Sequence[Objective], outer: Objective
    ) -> tuple[list[list], Solution]:
        """The derivative through past steps, in every example of each.

        Args:
            inner: list of the past steps' `Objective`s, the latest first.
            outer: `Objective` of the validation loss, same parameters.

        Returns:
            A list with the scores, as of `Influence.scores`, of every step,
            and a `Solution` with the earliest step's adjoint.
        """
        operators = [o.curvature(self.curvature) for o in inner]
        adjoints, bounded = self.adjoints(operators, outer.gradient())
        scores = [
            [-d for d in objective.directional_derivatives(adjoint)]
            for objective, adjoint in zip(inner, adjoints, strict=True)
        ]
        return scores, self._solution(adjoints[-1], bounded)

    def scores(
        self, inner: Objective, outer: Objective
    ) -> tuple[list, Solution]:
        """As of `Influence`, with all steps at one objective.

        `v = η Σ_{j<steps} (I - η H)ʲ g`.
        """
        operator = inner.curvature(self.curvature)
        solution = self._solve(operator, outer.gradient())
        derivatives = inner.directional_derivatives(solution.vector)
        return [-d for d in derivatives], solution

    def solve_all(self, inner: Objective, vectors: tf.Tensor) -> Solution:
        """The sums of adjoints of many gradients, as of `Influence`."""
        operator = inner.curvature(self.curvature)
        return solve_each(functools.partial(self._solve, operator), vectors)

    def _solve(self, operator, vector):
        adjoints, bounded = self.adjoints([operator] * self.steps, vector)
        return self._solution(sum(adjoints), bounded)

    def adjoints(
        self, operators: Sequence[Operator], vector: tf.Tensor
    ) -> tuple[list, tf.Tensor | bool]:
        """`p_j = η ∏_{k<j} (I - η H_k) g`, the way back through the steps.

        Args:
            operators: list of the `Operator`s `H_k` of the last steps, the
                latest first.
            vector: tensor of shape `(size,)`, `g` at the last iterate.

        Returns:
            List of tensors of shape `(size,)`: `-⟨p_j, ∇l_u⟩` is the
            derivative in the weight of an example of step `j`. And a boolean:
            whether no step was seen to diverge, as it does where `η` times an
            eigenvalue exceeds 2.
        """
        adjoints, bounded = [self.learning_rate * vector], True
        for operator in operators[:-1]:
            step = self.learning_rate * operator.matvec(adjoints[-1])
            bounded &= norm(step) <= 2 * norm(adjoints[-1])
            adjoints.append(adjoints[-1] - step)
        return adjoints, bounded

    def _solution(self, vector, bounded):
        finite = ops.all(ops.isfinite(vector))
        reason = reason_if(ops.logical_not(bounded), Reason.DIVERGED)
        reason = reason_if(ops.logical_not(finite), Reason.NOT_FINITE, reason)
        residual = ops.zeros((), vector.dtype)
        return Solution(vector, residual, reason, self.steps - 1)

    def outer_loss(self, loss: Callable) -> Callable:
        """The per-example function that the validation set judges by."""
        return outers.resolve(self.outer, loss)

    def get_config(self) -> dict:
        """The constructor's arguments, serialised."""
        return {
            "steps": self.steps,
            "learning_rate": self.learning_rate,
            "parameters": self.parameters,
            "curvature": self.curvature,
            "outer": keras.saving.serialize_keras_object(self.outer),
        }

    @classmethod
    def from_config(cls, config: dict) -> "Unrolled":
        """An `Unrolled` from `get_config`'s dictionary."""
        outer = keras.saving.deserialize_keras_object(
            config.get("outer", "loss")
        )
        return cls(**{**config, "outer": outer})

    def __repr__(self):
        return representation(self)
