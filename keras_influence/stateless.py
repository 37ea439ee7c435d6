from collections.abc import Sequence
from typing import Any

import keras

from keras_influence.inlined import inlined
from keras_influence.keras_private import all_layers


def stateless_call(
    network: keras.Model,
    trainable: Sequence,
    non_trainable: Sequence,
    x: Any,
    training: bool,
) -> Any:
    """The outputs of a network whose variables have other values.

    Nothing that the call would change, batch statistics and seeds, is changed.

    Args:
        network: a built `keras.Model`.
        trainable: values like its trainable variables.
        non_trainable: values like its other variables.
        x: nest of tensors, the inputs.
        training: boolean, the mode of the call.

    Raises:
        ValueError: if a trainable layer is a graph that was loaded.
    """
    _check_layers(network)
    # `keras.Model.stateless_call` wants a `call` that takes `training`.
    variables = [*network.trainable_variables, *network.non_trainable_variables]
    values = [*trainable, *non_trainable]
    pairs = list(zip(variables, values, strict=True))
    with inlined(network), keras.StatelessScope(state_mapping=pairs):
        return network(x, training=training)


def _check_layers(network):
    """Raises where a graph holds variables that should have other values."""
    for layer in all_layers(network):
        if isinstance(layer, keras.layers.TFSMLayer) and (
            layer.trainable_variables
        ):
            raise ValueError(
                "A `TFSMLayer` is a graph that holds its variables, to which "
                "no other values can be given: freeze it, by `trainable=False`,"
                " or take `parameters='last_layer'`. Received: layer "
                f"{layer.name!r}"
            )
