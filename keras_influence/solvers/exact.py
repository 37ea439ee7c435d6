import numbers

import keras
import tensorflow as tf
from keras import ops

from keras_influence.solvers.conjugate_gradient import (
    conjugate_gradient,
    conjugate_gradient_from_lanczos,
)
from keras_influence.solvers.operator import DenseOperator, norm
from keras_influence.solvers.reason import Reason, reason_if
from keras_influence.solvers.solver import (
    Solution,
    Solver,
    check_positive_integers,
)

# What writing out and factorising a matrix may take to be no slower than
# products: up to this size, and these `examples · size²` multiplications, where
# the number of examples is known; `python -m benchmarks.scaling --dense`.
MAX_DENSE, MAX_DENSE_WORK = 256, 2**24
# Up to here one factorisation for many right-hand sides pays, if they are more
# than this part of the size.
MAX_SHARED, SHARED = 4096, 1 / 50
# What rounding leaves of a solve that means something is far below.
GARBAGE = 0.1
# Scores are then within 1e-5 of those of a factorisation in float32.
TOLERANCES = {"float32": 1e-5, "float64": 1e-10}
# Above this condition number, and below this size, preconditioning pays.
MAX_CONDITION, MAX_PRECONDITIONED = 1000.0, 10**6


@keras.saving.register_keras_serializable(package="keras_influence")
class Exact(Solver):
    """Solves to rounding: Cholesky for small operators, else matrix-free.

    How is decided by what it costs, for the same scores to a relative `1e-5`:

    - up to 256 parameters, if there are few examples (`examples · size²` up
      to 2²⁴), and where the operator is factorised already: Cholesky, or the
      operator's own inverse;
    - a sum of fewer outer products than parameters: Woodbury's identity;
    - else conjugate gradient to `1e-5` of the right-hand side (`1e-10` in
      float64), within the span of the examples where there are fewer of them
      than features. It is preconditioned, up to a million parameters, unless
      the damping bounds the condition number by 1000; what does not converge
      is factorised, up to 4096 parameters.

    Args:
        damping: float, what is added to every eigenvalue. Defaults to `1e-3`.
        relative_to: what `damping` is a fraction of:
            `"largest_eigenvalue"`, `"mean_eigenvalue"`, or `None` for an
            absolute value. Defaults to `None`.
        max_dense: integer, the largest size that is written out as a matrix
            and factorised, or `None` for the above. Defaults to `None`.
        tolerance: float, where conjugate gradient stops, in parts of the
            right-hand side. `None` for the above. Defaults to `None`.

    Example:
    >>> operator = solvers.DenseOperator(np.diag([1.0, 4.0]))
    >>> solver = solvers.Exact(damping=0.0)
    >>> solver.solve(operator, np.ones(2)).vector.numpy()
    array([1.  , 0.25])

    Reference: Eq. 6 of "Not All Unlabeled Data are Equal".
    """

    def __init__(
        self,
        damping: float = 1e-3,
        relative_to: str | None = None,
        max_dense: int | None = None,
        tolerance: float | None = None,
    ):
        super().__init__(damping, relative_to)
        real = isinstance(tolerance, numbers.Real)
        if tolerance is not None and not (real and 0 < tolerance < 1):
            raise ValueError(
                "Argument `tolerance` must be a float in (0, 1) or None. "
                f"Received: tolerance={tolerance}"
            )
        self.tolerance = tolerance
        if max_dense is not None:
            check_positive_integers(max_dense=max_dense)
        self.max_dense = max_dense

    def solve(self, operator, vector) -> Solution:
        """Solves by Cholesky or, where it costs less, without the matrix."""
        if self._writes_out(operator):
            operator = operator.materialize()
        solution = super().solve(operator, vector)
        # A matrix that is singular in rounding can still have a factor.
        garbage = solution.valid & (solution.residual >= GARBAGE)
        ended = solution.reason == Reason.TOLERANCE_NOT_REACHED.value
        meaning = reason_if(
            ended, Reason.NOT_CONVERGED, Reason.NOT_POSITIVE_DEFINITE
        )
        return solution._replace(
            reason=reason_if(garbage, meaning, solution.reason)
        )

    def solve_all(self, operator, vectors) -> Solution:
        """With one factorisation for all, where that costs less."""
        rows, size = vectors.shape[0], operator.size
        many = rows is None or rows >= SHARED * size
        if (many and size <= MAX_SHARED) or self._writes_out(operator):
            operator = operator.materialize()
        if not isinstance(operator, DenseOperator):
            return super().solve_all(operator, vectors)
        damping = self.absolute_damping(operator)
        matrix = operator.matrix + damping * ops.eye(size, dtype=vectors.dtype)
        columns = ops.transpose(vectors)
        solutions = tf.linalg.cholesky_solve(
            tf.linalg.cholesky(matrix), columns
        )
        errors = ops.norm(ops.matmul(matrix, solutions) - columns, axis=0)
        residuals = ops.divide_no_nan(errors, ops.norm(columns, axis=0))
        # NaN is how a factorisation says that there is none. A graph takes
        # `~(a < b)` for `a >= b`, which NaN is not.
        solved = ops.isfinite(residuals) & (residuals < 1)
        reasons = reason_if(solved, Reason.OK, Reason.NOT_POSITIVE_DEFINITE)
        products = ops.zeros_like(reasons) + size
        return Solution(ops.transpose(solutions), residuals, reasons, products)

    def absolute_damping(self, operator):
        """The damping of this operator as a scalar tensor."""
        # The largest eigenvalue is the same where the products are cheaper.
        if self.relative_to == "largest_eigenvalue" and operator.restriction:
            operator = operator.restriction.operator
        return super().absolute_damping(operator)

    def solve_unit(self, operator, vector) -> tuple:
        """Without products for the damping alone, where it can be."""
        dense = self._writes_out(operator) or operator.inverse(0.0)
        if dense or not self._bounded:
            return super().solve_unit(operator, vector)
        within = operator.restriction
        if not self.finds_damping(within.operator if within else operator):
            return super().solve_unit(operator, vector)
        if within is None:
            return self._from_lanczos(operator, vector)
        inside = within.project(vector)
        damping, solution, *how = self._from_lanczos(within.operator, inside)
        # Outside there is nothing but damping.
        outside = (vector - within.expand(inside)) / damping
        return damping, within.expand(solution) + outside, *how

    def _from_lanczos(self, operator, vector):
        return conjugate_gradient_from_lanczos(
            operator, self.damping, vector, 1000, self._tolerance(operator)
        )

    def factorises(self, size):
        """Whether it is small enough; with many examples it may not."""
        return size <= (self.max_dense or MAX_DENSE)

    def _writes_out(self, operator):
        """Whether a matrix costs less than products do."""
        work = (operator.examples or 0) * operator.size**2
        few = self.max_dense is not None or work <= MAX_DENSE_WORK
        return few and self.factorises(operator.size)

    @property
    def _bounded(self):
        """Whether the damping bounds the condition number."""
        relative = self.relative_to == "largest_eigenvalue"
        return relative and self.damping * MAX_CONDITION >= 1

    def _tolerance(self, operator):
        return self.tolerance or TOLERANCES[operator.dtype]

    def solve_damped(self, operator, damping, vector) -> tuple:
        """Two triangular solves, or up to 1000 products."""
        inverse = operator.inverse(damping)
        if inverse is not None:
            return _checked(inverse(vector))
        if self._writes_out(operator):
            return _factorised(operator, damping, vector)
        solution, reason, products = self._matrix_free(
            operator, damping, vector
        )
        if self._bounded or operator.size > MAX_SHARED:
            return solution, reason, products

        def error(x):
            return norm(operator.matvec(x) + damping * x - vector)

        def factorised():
            other, found = _factorised(operator, damping, vector)
            better = error(other) < error(solution)
            return (
                ops.where(better, other, solution),
                ops.where(better, found, reason),
                products + 2,
            )

        return ops.cond(
            reason == Reason.TOLERANCE_NOT_REACHED.value,
            factorised,
            lambda: (solution, reason, products),
        )

    def _matrix_free(self, operator, damping, vector):
        restriction = operator.restriction if self.damping else None
        if restriction is None:
            return self._conjugate_gradient(operator, damping, vector)
        within, project, expand = restriction
        inside = project(vector)
        solution, *how = self._conjugate_gradient(within, damping, inside)
        # Outside there is nothing but damping.
        outside = (vector - expand(inside)) / damping
        return expand(solution) + outside, *how

    def _conjugate_gradient(self, operator, damping, vector):
        precondition = None
        if not self._bounded and operator.size <= MAX_PRECONDITIONED:
            precondition = operator.preconditioner(damping)
        return conjugate_gradient(
            operator,
            damping,
            vector,
            iterations=1000,
            tolerance=self._tolerance(operator),
            precondition=precondition,
        )

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "max_dense": self.max_dense,
            "tolerance": self.tolerance,
        }


def _factorised(operator, damping, vector):
    identity = ops.eye(operator.size, dtype=operator.dtype)
    # Not `ops.cholesky`, which raises where this one gives NaN.
    factor = tf.linalg.cholesky(operator.as_matrix() + damping * identity)
    return _checked(tf.linalg.cholesky_solve(factor, vector[:, None])[:, 0])


def _checked(solution):
    """NaN is how a factorisation says that there is none."""
    found = ops.all(ops.isfinite(solution))
    return solution, reason_if(~found, Reason.NOT_POSITIVE_DEFINITE)
