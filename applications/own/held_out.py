import keras
import numpy as np
import scipy.sparse

CHUNK = 512


class HeldOut(keras.callbacks.Callback):
    """What the network predicts, after training, of what it has not seen.

    Args:
        x: array or sparse matrix of inputs.

    Attributes:
        probabilities: list of one float array of shape `(n, classes)`.
    """

    def __init__(self, x):
        super().__init__()
        self.x = x
        self.probabilities = []

    def on_epoch_end(self, epoch, logs=None):
        """Predicts, if it is the last."""
        if epoch + 1 == self.params["epochs"]:
            network = getattr(self.model, "network", self.model)
            self.probabilities = [probabilities(network, self.x)]


def probabilities(network: keras.Model, x) -> np.ndarray:
    """The probabilities of the classes, of shape `(n, classes)`.

    Args:
        network: a `keras.Model` that gives logits.
        x: array or sparse matrix of inputs.
    """
    # Step by step: it is soon over, and nothing is traced for it.
    logits = [
        network(dense(x[i : i + CHUNK]), training=False)
        for i in range(0, x.shape[0], CHUNK)
    ]
    probabilities = keras.ops.softmax(keras.ops.concatenate(logits))
    return keras.ops.convert_to_numpy(probabilities)


def dense(x):
    """Rows as an array."""
    return x.toarray() if scipy.sparse.issparse(x) else x
