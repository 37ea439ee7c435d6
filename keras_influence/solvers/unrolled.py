import keras
from keras import ops

from keras_influence.solvers.operator import norm
from keras_influence.solvers.reason import Reason, reason_if
from keras_influence.solvers.solver import Solver, check_positive_integers


@keras.saving.register_keras_serializable(package="keras_influence")
class Unrolled(Solver):
    """Truncated back-propagation through the last steps of gradient descent.

    Inside `fit` the iterates and batches of the last `steps` steps are kept
    and differentiated through: every stored example gets the derivative of
    the validation loss through the step it was in. After training there are
    no stored steps; all are taken at the last iterate, where this is the
    truncated Neumann series of `H⁻¹` without damping.

    Args:
        steps: integer, how many steps to go back. Defaults to `5`.
        learning_rate: float, the step size of plain gradient descent that the
            steps are taken for. Where it is seen to diverge, with an
            eigenvalue above 2 / `learning_rate`, the reason is `DIVERGED`.
            Defaults to `0.1`.

    Example:

    >>> operator = solvers.DenseOperator(np.diag([1.0, 4.0]))
    >>> solver = solvers.Unrolled(steps=200, learning_rate=0.2)
    >>> solver.solve(operator, np.ones(2)).vector.numpy().round(3)
    array([1.  , 0.25])

    Reference: "Truncated Unrolled Diff." in table A1; Shaban et al.,
    "Truncated Back-propagation for Bilevel Optimization", 2019.
    """

    def __init__(self, steps: int = 5, learning_rate: float = 0.1):
        super().__init__()
        check_positive_integers(steps=steps)
        if not learning_rate > 0:
            raise ValueError(
                "Argument `learning_rate` must be a float > 0. "
                f"Received: learning_rate={learning_rate}"
            )
        self.steps = steps
        self.learning_rate = learning_rate

    def adjoints(self, operators: list, vector) -> tuple:
        """`p_j = η ∏_{k<j} (I - η H_k) g`, the way back through the steps.

        Args:
            operators: list of the `Operator`s `H_k` of the last steps, the
                latest first.
            vector: tensor of shape `(size,)`, `g` at the last iterate.

        Returns:
            List of tensors of shape `(size,)`: `-⟨p_j, ∇l_u⟩` is the
            derivative in the weight of an example of step `j`. And an integer
            scalar tensor, the `Reason`: whether all is finite and no step was
            seen to diverge, as it does where `η` times an eigenvalue
            exceeds 2.
        """
        adjoints, valid = [self.learning_rate * vector], True
        for operator in operators[:-1]:
            step = self.learning_rate * operator.matvec(adjoints[-1])
            valid &= norm(step) <= 2 * norm(adjoints[-1])
            adjoints.append(adjoints[-1] - step)
        reason = reason_if(valid, Reason.OK, Reason.DIVERGED)
        finite = ops.all(ops.isfinite(adjoints[-1]))
        return adjoints, reason_if(finite, reason, Reason.NOT_FINITE)

    def solve_damped(self, operator, damping, vector):
        """All steps at one operator: `η Σ_{j<steps} (I - η H)ʲ g`."""
        adjoints, reason = self.adjoints([operator] * self.steps, vector)
        return sum(adjoints), reason, self.steps - 1

    def get_config(self):
        """The constructor's arguments."""
        return {"steps": self.steps, "learning_rate": self.learning_rate}
