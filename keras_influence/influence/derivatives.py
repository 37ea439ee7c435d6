"""Derivatives along a direction, for any Keras layer."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import ops


def jvp(function: Callable, primals: list, tangents: list) -> Any:
    """The derivative of a function's outputs along one direction.

    Runs in forward mode, at about the price of one gradient; where an op of
    the function has no forward mode (recurrent layers in graphs), or not that
    of its gradient (`tf.custom_gradient`), by differentiating twice in reverse
    mode.

    Args:
        function: callable from a list like `primals` to a nest of tensors.
        primals: list of tensors, where to differentiate.
        tangents: list of tensors of the primals' shapes, the direction.

    Returns:
        A nest of tensors like the function's outputs.

    Raises:
        ValueError: if an op has no second derivative.
    """
    # Whether there are own gradients only a graph tells.
    if tf.executing_eagerly():
        return _twice_in_reverse(function, primals, tangents)
    try:
        return _forward_mode(function, primals, tangents)
    except _NO_FORWARD_MODE:
        return _twice_in_reverse(function, primals, tangents)


# The last is what one of the others becomes on its way through C.
_NO_FORWARD_MODE = (
    *(LookupError, NotImplementedError, TypeError, AttributeError),
    SystemError,
)


def _forward_mode(function, primals, tangents):
    graph = tf.compat.v1.get_default_graph()
    before = len(graph.get_operations())
    with tf.autodiff.ForwardAccumulator(primals, tangents) as accumulator:
        outputs = function(primals)
    for op in graph.get_operations()[before:]:
        if b"CustomGradient" in op.node_def.attr["_gradient_op_type"].s:
            raise NotImplementedError(op.name)
    return keras.tree.map_structure(
        lambda z: accumulator.jvp(z, tf.UnconnectedGradients.ZERO), outputs
    )


def _twice_in_reverse(function, primals, tangents):
    try:
        return _double_reverse(function, primals, tangents)
    except LookupError as error:
        raise ValueError(
            "Influence in several layers takes second derivatives, and "
            "TensorFlow has none of an operation in them: take "
            "`parameters='last_layer'`, or a list of the layers after it. "
            f"Received: {error}"
        ) from error


def _double_reverse(function, primals, tangents):
    with tf.GradientTape(watch_accessed_variables=False) as outer:
        with tf.GradientTape(watch_accessed_variables=False) as inner:
            inner.watch(primals)
            outputs = function(primals)
        flat = keras.tree.flatten(outputs)
        cotangents = [ops.zeros_like(z) for z in flat]
        outer.watch(cotangents)
        gradients = inner.gradient(
            flat,
            primals,
            output_gradients=cotangents,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        product = tf.add_n(
            [ops.sum(g * t) for g, t in zip(gradients, tangents, strict=True)]
        )
    return keras.tree.pack_sequence_as(
        outputs,
        outer.gradient(
            product,
            cotangents,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        ),
    )


def gradient(function: Callable, primals: list) -> list:
    """The gradient of a scalar function, zeros where it does not depend."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(primals)
        value = function(primals)
    gradients = tape.gradient(
        value, primals, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    # Those of an embedding are slices, which cannot be differentiated again.
    return [
        tf.reshape(tf.convert_to_tensor(g), p.shape)
        if isinstance(g, tf.IndexedSlices)
        else g
        for g, p in zip(gradients, primals, strict=True)
    ]


def hvp(function: Callable, primals: list, tangents: list) -> list:
    """Hessian-vector product of a scalar function, forward over reverse.

    Args:
        function: callable from a list like `primals` to a scalar tensor.
        primals: list of tensors, where to differentiate.
        tangents: list of tensors of the primals' shapes, the vector.

    Returns:
        List of tensors of the primals' shapes.
    """
    return jvp(lambda x: gradient(function, x), primals, tangents)


def vjp(function: Callable, primals: list, cotangents: Any) -> list:
    """The transposed Jacobian of a function applied to `cotangents`."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(primals)
        outputs = function(primals)
    return tape.gradient(
        outputs,
        primals,
        output_gradients=cotangents,
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
