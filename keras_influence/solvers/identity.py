import keras
from keras import ops

from keras_influence.solvers.reason import Reason, reason_if
from keras_influence.solvers.solver import Solution, Solver


@keras.saving.register_keras_serializable(package="keras_influence")
class Identity(Solver):
    """Takes the inverse Hessian for the identity: `v = g`.

    Example:
    >>> operator = solvers.DenseOperator(np.diag([1.0, 4.0]))
    >>> solvers.Identity().solve(operator, np.ones(2)).vector.numpy()
    array([1., 1.])

    Reference: "Identity" in table A1; Luketina et al., "Scalable
    Gradient-Based Tuning of Continuous Regularization Hyperparameters", 2016.
    """

    def __init__(self):
        super().__init__()

    def solve(self, operator, vector) -> Solution:
        """Gives `vector` back; `operator` is not applied and may be `None`."""
        vector = ops.convert_to_tensor(vector)
        finite = ops.all(ops.isfinite(vector))
        reason = reason_if(~finite, Reason.NOT_FINITE)
        return Solution(vector, ops.zeros((), vector.dtype), reason)

    def get_config(self):
        """Empty: there is nothing to configure."""
        return {}
