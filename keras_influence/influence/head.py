"""Finding the linear head of a network: the last layer of Eq. 6."""

import contextlib
import functools

import keras
import tensorflow as tf

from keras_influence.layers import RecordingLayer
from keras_influence.layers.recording_layer import tap


def find_head(network: keras.Model, inputs) -> keras.layers.Dense:
    """The Dense layer whose output is the network's output.

    Traces the network once, which computes nothing, and follows its output
    back through layers that do nothing but cast.

    Args:
        network: a built `keras.Model` of any kind.
        inputs: nest of tensors or `KerasTensor`s like the network's inputs.

    Returns:
        The layer, which records its calls from now on.

    Raises:
        ValueError: if the network does not end in a linear Dense layer.
    """
    found = []

    def trace(inputs):
        with _calls(_candidates(network)) as calls:
            output = network(inputs, training=False)
        found.append(_source(output, calls))

    specs = keras.tree.map_structure(
        lambda x: tf.TensorSpec(x.shape, x.dtype), inputs
    )
    with tf.init_scope():
        tf.function(trace, autograph=False).get_concrete_function(specs)
    head = found[-1]
    if not isinstance(head, keras.layers.Dense):
        raise ValueError(
            "Argument `network` must end in a Dense layer that gives the "
            "logits, `keras.layers.Dense` or "
            "`keras_influence.layers.BinaryLogits`: it is the last layer of "
            f"the influence. Received: network={network.name!r}, whose output "
            f"comes from {'another layer' if head is None else head.name!r}."
        )
    if head.activation is not keras.activations.linear:
        raise ValueError(
            "Argument `network` must map inputs to logits. Received: "
            f"network={network.name!r}, whose last layer {head.name!r} ends in "
            f"{head.activation.__name__!r}. Give it `activation=None` and "
            "the loss `from_logits=True`."
        )
    tap(head)
    return head


def _candidates(network):
    # Keras has no public list of all nested layers.
    return [
        layer
        for layer in network._flatten_layers()
        if isinstance(layer, keras.layers.Activation)
        or type(layer) is keras.layers.Dense
        or (
            isinstance(layer, keras.layers.Dense)
            and isinstance(layer, RecordingLayer)
        )
    ]


@contextlib.contextmanager
def _calls(layers):
    """Collects `(layer, inputs, outputs)` of the layers' calls."""
    calls = []

    def listen(layer, call):
        @functools.wraps(call)
        def listening(inputs, *args, **kwargs):
            outputs = call(inputs, *args, **kwargs)
            calls.append((layer, inputs, outputs))
            return outputs

        return listening

    before = [(layer, vars(layer).get("call")) for layer in layers]
    for layer in layers:
        layer.call = listen(layer, layer.call)
    try:
        yield calls
    finally:
        for layer, call in before:
            vars(layer).pop("call")
            if call is not None:
                layer.call = call


def _source(output, calls):
    """The layer that a tensor comes from, casts skipped, or `None`."""
    for layer, inputs, outputs in reversed(calls):
        if outputs is output:
            if isinstance(layer, keras.layers.Dense):
                return layer
            if layer.activation is not keras.activations.linear:
                return layer
            output = inputs
    return None
