"""Which parameters the influence sees, beyond the last layer."""

import keras
import tensorflow as tf
from keras import ops

from keras_influence.influence.objective import Objective


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


def penalty(variables: list):
    """The regularisers of variables as a function of their values.

    Returns:
        A function from a list of tensors to a scalar, or `None` where no
        variable has a regulariser.
    """
    regularizers = [v.regularizer for v in variables]
    if not any(regularizers):
        return None
    return lambda parameters: sum(
        regularizer(p)
        for regularizer, p in zip(regularizers, parameters, strict=True)
        if regularizer is not None
    )


class StatelessNetwork:
    """A network as a function of the variables in scope.

    Nothing that a call would change (batch statistics, seeds) is changed, and
    every call draws the same dropout masks.

    Args:
        network: a built `keras.Model`.
        variables: list of its trainable variables that are in scope.
        training: boolean, the mode of the calls.
    """

    def __init__(self, network, variables, training: bool):
        self.network = network
        self.variables = variables
        self.training = training
        places = {id(v): i for i, v in enumerate(network.trainable_variables)}
        self.places = [places[id(v)] for v in variables]
        # Values now: a call of training that follows moves the variables.
        self.trainable = values(network.trainable_variables)
        self.state = values(network.non_trainable_variables)

    def __call__(self, parameters: list, x):
        """Logits of `x`, in float32 or more, with these values in scope."""
        trainable = list(self.trainable)
        for place, value in zip(self.places, parameters, strict=True):
            trainable[place] = value
        logits, _ = self.network.stateless_call(
            trainable, self.state, x, training=self.training
        )
        return ops.cast(logits, parameters[0].dtype)

    def objective(self, x, terms, stack, regularized=True) -> Objective:
        """The objective with these terms at the present values.

        Args:
            x: nest of tensors, the inputs of all examples and views.
            terms: list of `Term`s.
            stack: function from the logits of `x` to a list with one tensor
                `(n, views, units)` a term.
            regularized: boolean, whether the regularisers count.
        """
        return Objective(
            values(self.variables),
            lambda parameters: stack(self(parameters, x)),
            terms,
            penalty(self.variables) if regularized else None,
        )
