import keras
from keras import ops

from keras_influence.solvers.solver import Solution, Solver


@keras.saving.register_keras_serializable(package="keras_influence")
class Identity(Solver):
    """Takes the inverse Hessian for the identity: `v = g`.

    Example:
    >>> Identity().solve(DenseOperator(np.eye(2)), np.ones(2)).vector
    array([1., 1.])

    Reference: "Identity" in table A1; Luketina et al., "Scalable
    Gradient-Based Tuning of Continuous Regularization Hyperparameters", 2016.
    """

    def __init__(self):
        super().__init__()

    def solve(self, operator, vector) -> Solution:
        """Gives the right-hand side back; no product is spent."""
        norm = ops.norm(vector)
        return Solution(vector, ops.zeros_like(norm), ops.isfinite(norm))

    def get_config(self):
        """Empty: there is nothing to configure."""
        return {}
