import keras
from keras import ops

from keras_influence.layers.dense import Dense


@keras.saving.register_keras_serializable(package="keras_influence")
class BinaryLogits(Dense):
    """Two-class head with one logit `f` for the difference of the classes.

    Gives the logits `(f, -f)`. Two free logits have a direction that changes
    nothing, so their Hessian is singular; this head has the same training loss
    without that direction.

    Args:
        **kwargs: as for `keras.layers.Dense`, without `units` and `activation`.

    Example:

    >>> BinaryLogits()(np.ones((2, 5), "float32")).shape
    TensorShape([2, 2])

    Reference: appendix D, "Reparameterization for Binary Classification".
    """

    def __init__(self, **kwargs):
        super().__init__(units=1, activation=None, **kwargs)

    def readout(self, outputs):
        """`f` to `(f, -f)`."""
        return ops.concatenate([outputs, -outputs], axis=-1)

    def compute_output_shape(self, input_shape):
        """Two logits an example."""
        return (*input_shape[:-1], 2)

    def get_config(self):
        """`Dense`'s configuration without what is fixed here."""
        config = super().get_config()
        del config["units"], config["activation"]
        return config
