from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_influence.inlined import inlined
from keras_influence.keras_private import all_layers
from keras_influence.second_derivatives import with_second_derivatives


def stateless_call(
    network: keras.Model,
    trainable: Sequence,
    non_trainable: Sequence,
    x: Any,
    training: bool,
) -> Any:
    """The outputs of a network whose variables have other values.

    Nothing that the call would change, batch statistics and seeds, is changed.
    It can be differentiated twice.

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
    scope = keras.StatelessScope(state_mapping=pairs)
    with inlined(network), with_second_derivatives(), scope:
        return network(x, training=training)


def check_derivatives(network: keras.Model, inputs: Any) -> None:
    """Raises where derivatives do not reach values in a variable's place.

    What a function with a gradient of its own finds around it, as the layers of
    `tf.recompute_grad`, counts as constant unless it is a variable.

    Args:
        network: a built `keras.Model`.
        inputs: nest of tensors, its inputs, within a graph.
    """
    variables = network.trainable_variables
    with tf.GradientTape() as tape:
        outputs = network(inputs, training=True)
    own = tape.gradient(outputs, [v.value for v in variables])
    values = [tf.convert_to_tensor(v.value) for v in variables]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(values)
        outputs = stateless_call(
            network, values, network.non_trainable_variables, inputs, True
        )
    found = tape.gradient(outputs, values)
    lost = [
        variable.path
        for variable, before, after in zip(variables, own, found, strict=True)
        if before is not None and after is None
    ]
    if lost:
        raise ValueError(
            "Derivatives in all layers need layers that a network calls "
            "directly, not by `tf.recompute_grad` or in a function with a "
            "gradient of its own. Take `parameters='last_layer'`, or call "
            f"them. Received: network={network.name!r}, where {lost[0]!r} is "
            "in such a function"
        )


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
