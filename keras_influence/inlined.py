"""Networks with a `tf.function` of their own."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from keras_influence.keras_private import all_layers
from keras_influence.shared_setting import SharedSetting

# Compiled steps of Keras, which no `call` calls.
STEPS = {"train_function", "test_function", "predict_function"}

_INLINED = SharedSetting(
    tf.config.functions_run_eagerly, tf.config.run_functions_eagerly, True
)


@contextlib.contextmanager
def inlined(network: keras.Model) -> Iterator[None]:
    """Lets the functions of a network be part of the graph that calls it.

    A graph of their own holds the variables as they are, whatever values a
    caller puts in their place, and keeps what layers record to itself.

    Args:
        network: a `keras.Model`.

    Raises:
        ValueError: if a function branches on tensors in Python, which only a
            graph of its own can.
    """
    if not _has_functions(network):
        yield
        return
    try:
        with _INLINED:
            yield
    except tf.errors.OperatorNotAllowedInGraphError as error:
        raise ValueError(
            "The `tf.function`s of a network become part of the step that "
            "calls it: write `keras.ops.cond` and `keras.ops.while_loop` for "
            "an `if` or a loop on tensors in them. Received: "
            f"network={network.name!r}. {error}"
        ) from error


def _has_functions(network):
    kind = tf.types.experimental.GenericFunction
    return any(
        isinstance(value, kind)
        for layer in all_layers(network)
        for part in (layer, *_own_classes(layer))
        for name, value in vars(part).items()
        if name not in STEPS
    )


def _own_classes(layer):
    """The classes of a layer that are not Keras' own."""
    return [
        part
        for part in type(layer).__mro__
        if not part.__module__.startswith(("keras.", "builtins"))
    ]
