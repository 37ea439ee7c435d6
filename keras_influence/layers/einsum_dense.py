import keras

from keras_influence.layers.contraction import Contraction


@keras.saving.register_keras_serializable(package="keras_influence")
class EinsumDense(Contraction, keras.layers.EinsumDense):
    """`keras.layers.EinsumDense` that records; takes the same arguments.

    The first letter of the equation's input, or the first axis of its `...`,
    is the example.

    Example:

    >>> layer = EinsumDense("abc,cd->abd", (None, 3), bias_axes="d")
    >>> layer(np.ones((2, 4, 5), "float32")).shape
    TensorShape([2, 4, 3])

    Reference: section 3.2 of "Not All Unlabeled Data are Equal".
    """
