"""Weights of recording layers that other parts of a network use, too."""

from typing import Any

import keras
import tensorflow as tf

from keras_influence.influence.forward_pass import NetworkState
from keras_influence.keras_private import all_layers
from keras_influence.layers import Recording, RecordingLayer
from keras_influence.stateless import stateless_call


def check_records(network: keras.Model, inputs: Any) -> None:
    """Raises where what layers record is only a part of a gradient.

    Args:
        network: a built `keras.Model`.
        inputs: nest of tensors, its inputs, within a graph.

    Raises:
        ValueError: if a recording layer's weight has a way to the outputs that
            is none of the layer's calls.
    """
    state = NetworkState.of(network)
    trainable = list(map(tf.identity, state.trainable))
    with Recording() as recording:
        outputs = stateless_call(
            network, trainable, state.non_trainable, inputs, True
        )
    values = {
        id(v): x
        for v, x in zip(network.trainable_variables, trainable, strict=True)
    }
    for layer in all_layers(network):
        if not isinstance(layer, RecordingLayer):
            continue
        calls = [r.outputs for r in recording.records if r.layer is layer]
        for variable in layer.parameters:
            value = values.get(id(variable))
            if value is not None and _leads_to(value, outputs, calls):
                raise ValueError(
                    "A recording layer's weights must be used in its calls "
                    "alone: it records nothing of other uses. Take the layer "
                    "of `keras.layers` where weights are tied. Received: "
                    f"network={network.name!r}, where {variable.path!r} is "
                    "used outside of its layer"
                )


def _leads_to(tensor, end, closed):
    """Whether floats flow from one tensor to another around some others."""
    seen, ahead = {id(x) for x in closed}, [tensor]
    while ahead:
        tensor = ahead.pop()
        if id(tensor) in seen or not tensor.dtype.is_floating:
            continue
        if tensor is end:
            return True
        seen.add(id(tensor))
        ahead += [x for op in tensor.consumers() for x in op.outputs]
    return False
