from keras_influence.solvers.arnoldi import Arnoldi
from keras_influence.solvers.conjugate_gradient import ConjugateGradient
from keras_influence.solvers.exact import Exact
from keras_influence.solvers.identity import Identity
from keras_influence.solvers.neumann import Neumann
from keras_influence.solvers.nystrom import Nystrom
from keras_influence.solvers.operator import (
    DenseOperator,
    Operator,
    Restriction,
)
from keras_influence.solvers.reason import Reason
from keras_influence.solvers.solver import Solution, Solver
from keras_influence.solvers.stochastic_neumann import StochasticNeumann

__all__ = [
    "Arnoldi",
    "ConjugateGradient",
    "DenseOperator",
    "Exact",
    "Identity",
    "Neumann",
    "Nystrom",
    "Operator",
    "Reason",
    "Restriction",
    "Solution",
    "Solver",
    "StochasticNeumann",
]
