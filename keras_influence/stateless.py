from collections.abc import Sequence
from typing import Any

import keras


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
    """
    # `keras.Model.stateless_call` wants a `call` that takes `training`.
    variables = [*network.trainable_variables, *network.non_trainable_variables]
    values = [*trainable, *non_trainable]
    pairs = list(zip(variables, values, strict=True))
    with keras.StatelessScope(state_mapping=pairs):
        return network(x, training=training)
