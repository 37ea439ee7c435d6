from keras_influence.solvers.conjugate_gradient import ConjugateGradient
from keras_influence.solvers.exact import Exact
from keras_influence.solvers.identity import Identity
from keras_influence.solvers.operator import DenseOperator, Operator
from keras_influence.solvers.solver import Solution, Solver

__all__ = [
    "ConjugateGradient",
    "DenseOperator",
    "Exact",
    "Identity",
    "Operator",
    "Solution",
    "Solver",
]
