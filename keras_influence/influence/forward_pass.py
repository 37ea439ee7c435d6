"""One forward pass of a network, and running it again as a function."""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import tensorflow as tf
from keras import ops

from keras_influence.inlined import inlined
from keras_influence.keras_private import all_layers
from keras_influence.layers import Recording, tapped
from keras_influence.stateless import stateless_call


class NetworkState(NamedTuple):
    """The values of a network's variables at one moment.

    Args:
        trainable: list of tensors, the trainable ones.
        non_trainable: list of tensors, batch statistics and seeds.
    """

    trainable: list
    non_trainable: list

    @classmethod
    def of(cls, network: keras.Model) -> "NetworkState":
        """The present values."""
        return cls(
            values(network.trainable_variables),
            values(network.non_trainable_variables),
        )


class ForwardPass(NamedTuple):
    """A forward pass whose losses can still be differentiated.

    Args:
        recording: the `Recording` it ran in; `None` where it is long past.
        tape: a persistent `tf.GradientTape`; `None` where it is long past.
        losses: list with the unweighted losses, shape `(n,)`, of every term.
        before: the `NetworkState` that it started from.
    """

    recording: Recording | None
    tape: tf.GradientTape | None
    losses: list
    before: NetworkState


class TrainingPass:
    """Context in which a network runs, and its losses are differentiated.

    Args:
        network: a `keras.Model`.
        layers: list of layers that record though they are stock ones.
        again: boolean, whether the losses are differentiated once more than
            training itself does. Defaults to `False`.
    """

    def __init__(self, network: keras.Model, layers: list, again: bool = False):
        self.network = network
        self.layers = layers
        # The pass moves batch statistics and seeds.
        self.before = NetworkState.of(network)
        self.tape = tf.GradientTape(persistent=again)
        self.recording = Recording()

    def __enter__(self) -> "TrainingPass":
        self.tape.__enter__()
        return self

    def __exit__(self, *exception) -> None:
        self.tape.__exit__(*exception)

    def __call__(self, x) -> tf.Tensor:
        """Logits of `x`, in float32 or more."""
        with inlined(self.network), tapped(*self.layers), self.recording:
            logits = self.network(x, training=True)
        return _in_full(logits)

    def differentiable(self, losses: list) -> ForwardPass:
        """The pass with the losses that came of it."""
        return ForwardPass(self.recording, self.tape, losses, self.before)


class StatelessNetwork:
    """A network as a function of the values of variables.

    Nothing that a call would change (batch statistics, seeds) is changed, and
    every call draws the same dropout masks.

    Args:
        network: a built `keras.Model`.
        variables: list of its trainable variables that are in scope.
        training: boolean, the mode of the calls.
        state: the `NetworkState` of what is not in scope, or `None` for the
            present one. Defaults to `None`.
    """

    def __init__(
        self,
        network: keras.Model,
        variables: Sequence[keras.Variable],
        training: bool,
        state: NetworkState | None = None,
    ):
        self.network = network
        self.variables = variables
        self.training = training
        self.state = state or NetworkState.of(network)
        places = {id(v): i for i, v in enumerate(network.trainable_variables)}
        self.places = [places[id(v)] for v in variables]

    @property
    def parameters(self) -> list:
        """The values in scope, a list of tensors."""
        return [self.state.trainable[place] for place in self.places]

    @property
    def is_half(self) -> bool:
        """Whether a layer computes in float16, whose range is small."""
        layers = all_layers(self.network)
        return any(layer.compute_dtype == "float16" for layer in layers)

    def __call__(self, parameters: Sequence[tf.Tensor], x) -> tf.Tensor:
        """Logits of `x`, in float32 or more, with these values in scope."""
        trainable = list(self.state.trainable)
        for place, value in zip(self.places, parameters, strict=True):
            trainable[place] = value
        logits = stateless_call(
            self.network, trainable, self.state.non_trainable, x, self.training
        )
        return _in_full(logits)


def _in_full(logits):
    dtype = keras.backend.standardize_dtype(logits.dtype)
    return ops.cast(logits, keras.backend.result_type(dtype, "float32"))


def values(variables: Sequence[keras.Variable]) -> list[tf.Tensor]:
    """The variables' values as tensors, in their own dtype."""
    return [tf.convert_to_tensor(v.value) for v in variables]
