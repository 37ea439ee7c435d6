from collections.abc import Callable, Iterable, Sequence

import keras
import tensorflow as tf

from keras_influence import solvers
from keras_influence.influence import outer as outers
from keras_influence.influence.ekfac import EKFAC
from keras_influence.influence.head import Head
from keras_influence.influence.objective import Objective
from keras_influence.influence.presets import PRESETS
from keras_influence.influence.scope import (
    LastLayerScope,
    VariablesScope,
    layers_of,
    scope_variables,
)
from keras_influence.influence.unrolled import Unrolled
from keras_influence.representation import representation

CURVATURES = ("hessian", "gauss_newton", "outer_product", "ekfac", None)


@keras.saving.register_keras_serializable(package="keras_influence")
class Influence:
    """How the influence of an example on the validation loss is estimated.

    A few independent choices, which `InfluenceModel` uses in every update and
    `influence_scores` uses after training (`Unrolled` takes its place where
    steps of training are differentiated through):

        d L(V) / d λ_u = -∇L(V)ᵀ H⁻¹ ∇l_u

    Args:
        parameters: the part of `θ` that is seen: `"last_layer"`, `"all"`, a
            layer, or a list of layers or layer names. Defaults to
            `"last_layer"`.
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
        parameters: str
        | keras.layers.Layer
        | Iterable[str | keras.layers.Layer] = "last_layer",
        curvature: str | None = "hessian",
        solver: solvers.Solver | None = None,
        outer: str | Callable = "loss",
    ):
        if curvature not in CURVATURES:
            raise ValueError(
                f"Argument `curvature` must be one of {CURVATURES}. "
                f"Received: curvature={curvature!r}"
            )
        self.parameters, self._layers = layers_of(parameters)
        outers.check(outer)
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
        self.curvature = curvature
        self.solver = solver
        self.outer = outer

    @classmethod
    def preset(cls, name: str, **overrides) -> "Influence | Unrolled":
        """A method of table A1, or EK-FAC, by name.

        Args:
            name: `"last_layer"` (the paper's own), `"larsen"`,
                `"conjugate_gradient"`, `"luketina"`, `"koh_liang"`,
                `"shaban"` (an `Unrolled`), `"lorraine"` or `"ekfac"`.
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
        kind = Unrolled if name == "shaban" else cls
        return kind(**{**PRESETS[name](), **overrides})

    # How many steps of training an update looks back on.
    steps = 0

    def factorises(self, size: float) -> bool:
        """Whether scores take the factorisation of a matrix.

        Args:
            size: number, how many parameters they are of.
        """
        outer_product = self.curvature == "outer_product"
        return outer_product or self.solver.factorises(size)

    def scope(
        self, network: keras.Model, head: Head | None
    ) -> LastLayerScope | VariablesScope:
        """What makes objectives in `parameters`.

        Args:
            network: a built `keras.Model`.
            head: its `Head`, or `None` if `parameters` is not the last layer.
        """
        if self.parameters == "last_layer":
            assert head is not None
            return LastLayerScope(head, lambda x: head.run(network, x))
        return VariablesScope(network, scope_variables(network, self._layers))

    def scores(
        self, inner: Objective, outer: Objective
    ) -> tuple[list, solvers.Solution]:
        """Eq. 6 for every example of the inner objective.

        Args:
            inner: `Objective` of the training loss.
            outer: `Objective` of the validation loss, same parameters.

        Returns:
            A list with one tensor `(n,)` of `-⟨v, ∇l_n⟩` for every term of the
            inner objective, and the `Solution` that holds `v`.
        """
        solution = self.solver.solve(self._operator(inner), outer.gradient())
        derivatives = inner.directional_derivatives(solution.vector)
        return [-d for d in derivatives], solution

    def solve_all(
        self, inner: Objective, vectors: tf.Tensor
    ) -> solvers.Solution:
        """`H⁻¹` times many gradients, as of `Solver.solve_all`."""
        return self.solver.solve_all(self._operator(inner), vectors)

    def step_scores(
        self, inner: Sequence[Objective], outer: Objective
    ) -> tuple[list[list], solvers.Solution]:
        """The same for the one step that an update looks at.

        Args:
            inner: list with one `Objective`.
            outer: `Objective` of the validation loss, same parameters.

        Returns:
            A list with the scores of the step, as of `scores`, and the
            `Solution`.
        """
        (present,) = inner
        scores, solution = self.scores(present, outer)
        return [scores], solution

    def _operator(self, objective: Objective) -> solvers.Operator:
        if self.curvature is None:
            return None  # pyright: ignore[reportReturnType]  # for `Identity`
        if self.curvature == "ekfac":
            return EKFAC(objective)
        return objective.curvature(self.curvature)

    def outer_loss(self, loss: Callable) -> Callable:
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
    def from_config(cls, config: dict) -> "Influence | Unrolled":
        """An object from `get_config`'s dictionary."""
        config = dict(config)
        deserialize = keras.saving.deserialize_keras_object
        for name in ("solver", "outer"):
            config[name] = deserialize(config[name])
        if isinstance(config["solver"], Unrolled):  # as version 0.1 saved it
            return Unrolled(**{**config.pop("solver").get_config(), **config})
        return cls(**config)

    def __repr__(self):
        return representation(self)
