"""The curvature of an objective, as operators for the solvers."""

import functools

from keras import ops

from keras_influence.influence import derivatives
from keras_influence.solvers import Operator


class ObjectiveCurvature(Operator):
    """Base class: the curvature of one `Objective` at its parameters."""

    def __init__(self, objective):
        super().__init__(objective.size, objective.dtype)
        self.objective = objective

    def sample(self, number):
        """The curvature on a random half of the batch."""
        return type(self)(self.objective.sample(number))

    def penalty_product(self, tangents: list) -> list:
        """The Hessian of the regularisers applied to a direction."""
        return derivatives.hvp(
            self.objective.penalty, self.objective.parameters, tangents
        )


class Hessian(ObjectiveCurvature):
    """`H = ∇² L(θ)` by forward-over-reverse differentiation.

    Reference: `H` of Eq. 6.
    """

    def matvec(self, vector):
        """One Hessian-vector product."""
        objective, scale = self.objective.at_scale()
        product = derivatives.hvp(
            objective, objective.parameters, objective.unflatten(vector)
        )
        return objective.flatten(product) / scale


class GaussNewton(ObjectiveCurvature):
    """`Jᵀ W J` with `W` the loss's Hessian at the outputs.

    Positive semi-definite for every loss that is convex in the outputs, also
    where the network makes the Hessian indefinite.

    Reference: Schraudolph, "Fast curvature matrix-vector products", 2002.
    """

    def matvec(self, vector):
        """One Gauss-Newton product: forward, through the loss, back."""
        objective, scale = self.objective.at_scale()
        tangents = objective.unflatten(vector)
        outputs = objective.outputs(objective.parameters)
        directions = derivatives.jvp(
            objective.outputs, objective.parameters, tangents
        )
        cotangents = derivatives.hvp(_weighted(objective), outputs, directions)
        product = derivatives.vjp(
            objective.outputs, objective.parameters, cotangents
        )
        return objective.flatten(product) / scale + objective.flatten(
            self.penalty_product(tangents)
        )


class OuterProduct(ObjectiveCurvature):
    """`Σ_n w_n g_n g_nᵀ`, the empirical Fisher matrix, without the `g_n`.

    Reference: Larsen et al. in table A1.
    """

    def __init__(self, objective):
        super().__init__(objective)
        self.factors = objective.low_rank()

    def matvec(self, vector):
        """`⟨g_n, v⟩` of every example, then their sum of `g_n`."""
        objective = self.objective
        tangents = objective.unflatten(vector)
        if self.factors is not None:
            product = self.factors.matvec(vector)
        else:
            product = self._product(tangents)
        return product + objective.flatten(self.penalty_product(tangents))

    def materialize(self):
        """This operator, where its own inverse needs a smaller matrix."""
        return self if self._is_low_rank else super().materialize()

    def inverse(self, damping):
        """Woodbury's identity, where the sum holds recorded gradients only."""
        if not self._is_low_rank:
            return None
        return functools.partial(self.factors.solve, damping)

    @property
    def _is_low_rank(self):
        return (
            self.factors is not None
            and self.objective.regularization is None
            and self.factors.is_below(self.size)
        )

    def _product(self, tangents):
        """One JVP and its transpose."""
        objective, scale = self.objective.at_scale()
        products = derivatives.jvp(
            objective.losses, objective.parameters, tangents
        )
        cotangents = [
            term.weights * product
            for term, product in zip(objective.terms, products, strict=True)
        ]
        product = derivatives.vjp(
            objective.losses, objective.parameters, cotangents
        )
        return objective.flatten(product) / scale


def _weighted(objective):
    """`Σ_terms Σ_n w_n loss(outputs)_n` as a function of the outputs."""
    return lambda outputs: sum(
        ops.sum(term.weights * term.loss(z))
        for term, z in zip(objective.terms, outputs, strict=True)
    )


CURVATURES = {
    "hessian": Hessian,
    "gauss_newton": GaussNewton,
    "outer_product": OuterProduct,
}
