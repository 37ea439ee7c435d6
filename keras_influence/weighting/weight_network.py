from collections.abc import Callable, Sequence

import keras
import tensorflow as tf
from keras import ops

from keras_influence.weighting.signals import SIGNALS, Examples, observe


@keras.saving.register_keras_serializable(package="keras_influence")
class WeightNetwork(keras.layers.Layer):
    """Weights as a learned function of what is known of an example.

        λ_u = max_weight · gate(f(signals_u; φ) + start)
        gate(x) = max(0, 1.1 · sigmoid(x) - 0.1)

    with `start` such that every weight begins at the model's
    `initial_weight`. `φ` is learned from the same derivatives as single
    weights are, by the chain rule `Σ_u d L(V) / d λ_u · dλ_u / dφ`.

    Two signals remember: `"evidence"` is what the derivatives of the example
    itself have said so far, and `"mean_loss"` tells a wrong label that the
    network has learned by heart from one that was right from the start, and
    limits the weight of a label that was given. Each keeps two numbers for
    every example. Without them nothing is kept: for data
    that is seen less than once, or is too much for a table, take
    `signals=("loss", "confidence", "entropy")`.

    Args:
        signals: what `f` sees of an example, one or a sequence of: `"loss"`
            (before mask and weight), `"confidence"` (highest probability),
            `"entropy"`, `"features"` (what enters the last layer),
            `"evidence"` (arsinh of the t statistic of its derivatives),
            `"mean_loss"` (over all steps that saw it, later ones counting
            more), and functions from `Examples` to a tensor of shape `(n,)`.
            Defaults to `("loss", "confidence", "entropy", "evidence",
            "mean_loss")`.
        network: a Keras layer or model from signals `(n, width)` to `(n, 1)`.
            `None` takes one hidden layer of 16 units whose output starts at
            0. Defaults to `None`.
        residual: boolean, whether every example adds a learned number of its
            own before the gate. Defaults to `False`.

    Raises:
        ValueError: if a signal is unknown.

    Example:

    >>> import keras_influence as ki
    >>> network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> model = ki.InfluenceModel(
    ...     network, num_unlabeled=100, weight_network=ki.WeightNetwork())

    Reference: Eq. 6 of "Not All Unlabeled Data are Equal", whose derivative
    it passes on; Shu et al., "Meta-Weight-Net", 2019, for weights as a
    function of the loss; Louizos et al., "Learning Sparse Neural Networks
    through L0 Regularization", 2018, for the gate.
    """

    def __init__(
        self,
        signals: str | Callable | Sequence[str | Callable] = (
            "loss",
            "confidence",
            "entropy",
            "evidence",
            "mean_loss",
        ),
        network: keras.layers.Layer | None = None,
        residual: bool = False,
        **kwargs,
    ):
        super().__init__(**{**kwargs, "dtype": "float32"})
        if isinstance(signals, str) or callable(signals):
            signals = [signals]
        unknown = [s for s in signals if not callable(s) and s not in SIGNALS]
        if unknown or not signals:
            raise ValueError(
                f"Argument `signals` must hold names of {list(SIGNALS)} or "
                f"functions, at least one. Received: signals={list(signals)}"
            )
        self.signals: list[str | Callable] = list(signals)
        self.residual = residual
        self.network = _default_network() if network is None else network

    def width(self, features: int) -> int:
        """How many numbers the signals of one example are.

        Args:
            features: integer, the width of what enters the last layer.
        """
        return sum(features if s == "features" else 1 for s in self.signals)

    def observe(self, examples: Examples) -> tf.Tensor:
        """The signals of the examples, a float32 tensor `(n, width)`.

        No gradient of the training loss flows through them.
        """
        return observe(self.signals, examples)

    def build(self, input_shape: tuple) -> None:
        """Builds the network on signals `(n, width)`."""
        if not self.network.built:
            self.network.build(input_shape)
        self.built = True

    def call(self, signals: tf.Tensor) -> tf.Tensor:
        """`f(signals; φ)`, a tensor of shape `(n,)`."""
        outputs = self.network(ops.cast(signals, self.network.compute_dtype))
        if outputs.shape[1:] not in ((), (1,)):
            raise ValueError(
                "Argument `network` of `WeightNetwork` must give one number an "
                f"example, shape (n, 1). Received: shape {tuple(outputs.shape)}"
            )
        return ops.cast(ops.reshape(outputs, (-1,)), "float32")

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """One number an example."""
        return (input_shape[0],)

    def get_config(self) -> dict:
        """The constructor's arguments, serialised."""
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "signals": [serialize(signal) for signal in self.signals],
            "network": serialize(self.network),
            "residual": self.residual,
        }

    @classmethod
    def from_config(cls, config: dict) -> "WeightNetwork":
        """A `WeightNetwork` from `get_config`'s dictionary."""
        deserialize = keras.saving.deserialize_keras_object
        signals = [deserialize(signal) for signal in config["signals"]]
        network = deserialize(config["network"])
        return cls(**{**config, "signals": signals, "network": network})


def _default_network():
    hidden = keras.layers.Dense(16, activation="tanh")
    # From 0, so that all weights start alike.
    output = keras.layers.Dense(1, kernel_initializer="zeros")
    return keras.Sequential([hidden, output], name="weight_network")
