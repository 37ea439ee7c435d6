"""The methods of table A1, and EK-FAC, as choices of `Influence`."""

from keras_influence import solvers

# What the paper does not state, damping above all, is chosen here: 1 % of the
# largest eigenvalue. Methods that need a positive definite Hessian see the
# last layer, because that of a whole network is indefinite: there, override
# `parameters` and take `curvature="gauss_newton"`. EK-FAC takes 10 % of the
# mean eigenvalue, as Grosse et al. do for every layer.
PRESETS = {
    "last_layer": lambda: {
        "parameters": "last_layer",
        "curvature": "hessian",
        "solver": solvers.Exact(0.01, relative_to="largest_eigenvalue"),
    },
    "larsen": lambda: {
        "parameters": "all",
        "curvature": "outer_product",
        "solver": solvers.Exact(0.01, relative_to="largest_eigenvalue"),
    },
    "conjugate_gradient": lambda: {
        "parameters": "last_layer",
        "curvature": "hessian",
        "solver": solvers.ConjugateGradient(
            iterations=20, damping=0.01, relative_to="largest_eigenvalue"
        ),
    },
    "ekfac": lambda: {
        "parameters": "all",
        "curvature": "ekfac",
        "solver": solvers.Exact(0.1, relative_to="mean_eigenvalue"),
    },
    "luketina": lambda: {
        "parameters": "all",
        "curvature": None,
        "solver": solvers.Identity(),
    },
    "koh_liang": lambda: {
        "parameters": "last_layer",
        "curvature": "hessian",
        "solver": solvers.StochasticNeumann(
            damping=0.01, relative_to="largest_eigenvalue"
        ),
    },
    # Not a solve but the way back through stored steps: `Unrolled`.
    "shaban": lambda: {"parameters": "all", "curvature": "hessian", "steps": 5},
    "lorraine": lambda: {
        "parameters": "last_layer",
        "curvature": "hessian",
        "solver": solvers.Neumann(
            terms=20, damping=0.01, relative_to="largest_eigenvalue"
        ),
    },
}
