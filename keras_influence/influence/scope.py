"""Which parameters the influence sees, beyond the last layer."""

import keras
import tensorflow as tf


def scope_variables(network: keras.Model, parameters) -> list:
    """The trainable variables of a scope.

    Args:
        network: a built `keras.Model`.
        parameters: `"all"` or a list of names of layers, nested ones too.

    Raises:
        ValueError: if a layer is not there, or nothing is trainable.
    """
    if parameters == "all":
        layers = [network]
    else:
        # Keras has no public list of all nested layers.
        known = {layer.name: layer for layer in network._flatten_layers()}
        missing = [name for name in parameters if name not in known]
        if missing:
            raise ValueError(
                "Argument `parameters` must name layers of the network. "
                f"Received: {missing}, but the layers are {list(known)}"
            )
        layers = [known[name] for name in parameters]
    variables = {
        id(v): v for layer in layers for v in layer.trainable_variables
    }
    if not variables:
        raise ValueError(
            "Argument `parameters` must hold trainable variables. Received: "
            f"parameters={parameters!r}, of which none is trainable."
        )
    return list(variables.values())


def values(variables: list) -> list:
    """The variables' values as tensors, in their own dtype."""
    return [tf.convert_to_tensor(v.value) for v in variables]


def penalty(variables: list, share: float = 1.0):
    """The regularisers of variables as a function of their values.

    Args:
        variables: list of variables.
        share: float, a factor. Defaults to `1.0`.

    Returns:
        A function from a list of tensors to a scalar, or `None` where there
        is nothing to regularise.
    """
    regularizers = [v.regularizer for v in variables]
    if not any(regularizers) or not share:
        return None
    return lambda parameters: (
        share
        * sum(
            regularizer(p)
            for regularizer, p in zip(regularizers, parameters, strict=True)
            if regularizer is not None
        )
    )
