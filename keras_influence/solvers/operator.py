import keras
import tensorflow as tf
from keras import ops


class Operator:
    """A symmetric linear operator: all that a solver sees of the curvature.

    Subclass it and write `matvec`; write `to_dense` and `trace` too where
    there is a cheaper way than applying `matvec` to every basis vector.

    Args:
        size: integer, the number of rows.
        dtype: the dtype of the vectors it takes. Defaults to `"float32"`.
    """

    def __init__(self, size: int, dtype="float32"):
        self.size = size
        self.dtype = keras.backend.standardize_dtype(dtype)

    def matvec(self, vector):
        """The operator applied to a tensor of shape `(size,)`."""
        raise NotImplementedError(
            f"`{type(self).__name__}` must implement `matvec(vector)`."
        )

    def to_dense(self):
        """The operator as a tensor of shape `(size, size)`."""
        return tf.map_fn(self.matvec, ops.eye(self.size, dtype=self.dtype))

    def dense(self) -> "DenseOperator":
        """The same operator with its matrix written out."""
        return DenseOperator(self.to_dense())

    def trace(self):
        """The sum of the eigenvalues."""
        return ops.trace(self.to_dense())

    def preconditioner(self, damping):
        """A cheap approximate inverse of the damped operator, or `None`.

        Args:
            damping: scalar tensor, what is added to every eigenvalue.

        Returns:
            A function from a vector to a vector, symmetric and positive
            definite, or `None` where there is none.
        """
        return None


class DenseOperator(Operator):
    """A symmetric matrix as an `Operator`.

    Args:
        matrix: tensor of shape `(size, size)`.

    Example:
    >>> DenseOperator(np.diag([1.0, 2.0])).matvec(np.ones(2)).numpy()
    array([1., 2.])
    """

    def __init__(self, matrix):
        self.matrix = ops.convert_to_tensor(matrix)
        super().__init__(self.matrix.shape[0], self.matrix.dtype)

    def matvec(self, vector):
        """Matrix times vector."""
        return tf.linalg.matvec(self.matrix, vector)

    def to_dense(self):
        """The matrix itself."""
        return self.matrix

    def dense(self):
        """This operator."""
        return self


def largest_eigenvalue(operator: Operator, iterations: int = 20):
    """Largest eigenvalue (in magnitude) of an operator by power iteration.

    Args:
        operator: an `Operator`.
        iterations: integer, matrix-vector products spent. Defaults to `20`.

    Returns:
        Scalar tensor: the norm of the last product, never above the true value
        by more than rounding.

    Example:
    >>> float(largest_eigenvalue(DenseOperator(np.diag([1.0, 2.0]))))
    2.0
    """
    # A fixed start keeps the influence pass free of random state.
    start = tf.random.stateless_normal(
        (operator.size,), (0, 0), dtype=operator.dtype
    )
    vector = start / ops.norm(start)
    value = ops.zeros((), operator.dtype)

    def step(_, vector, value):
        product = operator.matvec(vector)
        norm = ops.norm(product)
        return _ + 1, tf.math.divide_no_nan(product, norm), norm

    return tf.while_loop(
        lambda i, *_: i < iterations, step, (0, vector, value)
    )[2]
