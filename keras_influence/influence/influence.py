import keras
from keras import ops

from keras_influence import solvers
from keras_influence.influence import curvature as curvatures
from keras_influence.influence import outer as outers
from keras_influence.influence.presets import PRESETS

CURVATURES = ("hessian", "gauss_newton", "outer_product", "ekfac", None)


@keras.saving.register_keras_serializable(package="keras_influence")
class Influence:
    """How the influence of an example on the validation loss is estimated.

    A few independent choices, which `InfluenceModel` uses in every update and
    `influence_scores` uses after training:

        d L(V) / d λ_u = -∇L(V)ᵀ H⁻¹ ∇l_u

    Args:
        parameters: the part of `θ` that is seen: `"last_layer"`, `"all"`, or
            a list of layers or layer names. Defaults to `"last_layer"`.
        curvature: `H`: `"hessian"`, `"gauss_newton"`, `"outer_product"` (the
            empirical Fisher matrix), `"ekfac"` (Gauss-Newton of each layer in
            a Kronecker-factored eigenbasis, for recording layers) or `None`
            (the identity). Defaults to `"hessian"`.
        solver: a solver of `keras_influence.solvers`, with its damping.
            `None` takes `Exact` with 1 % of the largest eigenvalue, or
            `Identity` where `curvature` is `None`. Defaults to `None`.
        outer: what the validation set judges by: `"loss"` (as the paper),
            `"margin"` (log-odds of the true class, whose gradient does not
            vanish on examples that are already right), or a function from
            labels and logits to one value an example. Defaults to `"loss"`.

    Example:
    >>> influence = Influence(outer="margin")
    >>> influence.solver.damping
    0.01

    Reference: Eq. 6 and table A1 of "Not All Unlabeled Data are Equal".
    """

    def __init__(
        self,
        parameters="last_layer",
        curvature: str | None = "hessian",
        solver: solvers.Solver | None = None,
        outer="loss",
    ):
        if curvature not in CURVATURES:
            raise ValueError(
                f"Argument `curvature` must be one of {CURVATURES}. "
                f"Received: curvature={curvature!r}"
            )
        if isinstance(parameters, str):
            if parameters not in ("last_layer", "all"):
                raise ValueError(
                    "Argument `parameters` must be 'last_layer', 'all' or a "
                    f"list of layers. Received: parameters={parameters!r}"
                )
        else:
            parameters = [getattr(layer, "name", layer) for layer in parameters]
        if not callable(outer) and outer not in ("loss", "margin"):
            raise ValueError(
                "Argument `outer` must be 'loss', 'margin' or a function of "
                f"labels and logits. Received: outer={outer!r}"
            )
        if solver is None:
            solver = (
                solvers.Identity()
                if curvature is None
                else solvers.Exact(0.01, relative_to="largest_eigenvalue")
            )
        if not isinstance(solver, solvers.Solver):
            raise ValueError(
                "Argument `solver` must be a solver of "
                f"`keras_influence.solvers`. Received: solver={solver!r}"
            )
        if curvature is None and not isinstance(solver, solvers.Identity):
            raise ValueError(
                "With `curvature=None` there is nothing to solve: argument "
                f"`solver` must be `Identity()`. Received: solver={solver!r}"
            )
        self.parameters = parameters
        self.curvature = curvature
        self.solver = solver
        self.outer = outer

    @classmethod
    def preset(cls, name: str, **overrides) -> "Influence":
        """A method of table A1, or EK-FAC, by name.

        Args:
            name: `"last_layer"` (the paper's own), `"larsen"`,
                `"conjugate_gradient"`, `"luketina"`, `"koh_liang"`,
                `"shaban"`, `"lorraine"` or `"ekfac"`.
            **overrides: constructor arguments to set otherwise.

        Example:

        >>> Influence.preset("lorraine", parameters="last_layer").solver.terms
        20

        Reference: table A1 of "Not All Unlabeled Data are Equal"; Grosse et
        al., "Studying large language model generalization with influence
        functions", 2023.
        """
        if name not in PRESETS:
            raise ValueError(
                f"Argument `name` must be one of {list(PRESETS)}. "
                f"Received: name={name!r}"
            )
        return cls(**{**PRESETS[name](), **overrides})

    def scores(self, inner, outer):
        """Eq. 6 for every example of the inner objective.

        Args:
            inner: `Objective` of the training loss.
            outer: `Objective` of the validation loss, same parameters.

        Returns:
            A list with one tensor `(n,)` of `-⟨v, ∇l_n⟩` for every term of the
            inner objective, and the `Solution` that holds `v`.
        """
        operator = curvatures.operator(inner, self.curvature)
        solution = self.solver.solve(operator, outer.gradient())
        derivatives = inner.directional_derivatives(solution.vector)
        return [-d for d in derivatives], solution

    def unrolled_scores(self, inner: list, outer):
        """The derivative through past steps, in every example of each.

        Args:
            inner: list of the past steps' `Objective`s, the latest first.
            outer: `Objective` of the validation loss, same parameters.

        Returns:
            A list with the scores, as of `scores`, of every step, and a
            `Solution` with the earliest step's adjoint.
        """
        operators = [curvatures.operator(o, self.curvature) for o in inner]
        adjoints, valid = self.solver.adjoints(operators, outer.gradient())
        scores = [
            [-d for d in objective.directional_derivatives(adjoint)]
            for objective, adjoint in zip(inner, adjoints, strict=True)
        ]
        last = adjoints[-1]
        residual = ops.zeros((), last.dtype)
        return scores, solvers.Solution(last, residual, valid)

    def outer_loss(self, loss):
        """The per-example function that the validation set judges by."""
        return outers.resolve(self.outer, loss)

    def get_config(self) -> dict:
        """The constructor's arguments, serialised."""
        serialize = keras.saving.serialize_keras_object
        return {
            "parameters": self.parameters,
            "curvature": self.curvature,
            "solver": serialize(self.solver),
            "outer": serialize(self.outer),
        }

    @classmethod
    def from_config(cls, config: dict) -> "Influence":
        """An `Influence` from `get_config`'s dictionary."""
        config = dict(config)
        deserialize = keras.saving.deserialize_keras_object
        for name in ("solver", "outer"):
            config[name] = deserialize(config[name])
        return cls(**config)
