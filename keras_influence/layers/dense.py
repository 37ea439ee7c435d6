import keras
from keras import ops

from keras_influence.layers.contraction import Contraction


@keras.saving.register_keras_serializable(package="keras_influence")
class Dense(Contraction, keras.layers.Dense):
    """`keras.layers.Dense` that records; takes the same arguments.

    Example:

    >>> Dense(3, activation="relu")(np.ones((2, 5), "float32")).shape
    TensorShape([2, 3])

    Reference: section 3.2 of "Not All Unlabeled Data are Equal".
    """

    equation = "...d,do->...o"

    def apply_kernel(self, features, kernel):
        """`features @ kernel`."""
        return ops.matmul(features, kernel)
