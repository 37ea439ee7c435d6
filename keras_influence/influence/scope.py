"""Which parameters the influence sees, and its two objectives in them."""

import dataclasses
from collections.abc import Callable, Iterable

import keras
from keras import ops

from keras_influence.influence.forward_pass import (
    ForwardPass,
    StatelessNetwork,
    values,
)
from keras_influence.influence.head import Head
from keras_influence.influence.last_layer import LastLayerObjective
from keras_influence.influence.network_objective import NetworkObjective
from keras_influence.influence.objective import Objective
from keras_influence.keras_private import all_layers
from keras_influence.layers import BinaryLogits


class LastLayerScope:
    """The parameters of a network's head.

    An objective costs at most one forward pass of the network, and no
    backward pass.

    Args:
        head: the `Head`.
        features: function from inputs to what enters the head, a tensor
            `(rows, features)`.
    """

    # Whether the network is differentiated through.
    is_deep = False

    def __init__(self, head: Head, features: Callable):
        self.head = head
        self.features = features

    def objective(
        self,
        x,
        terms: list,
        stack: Callable | None = None,
        penalty_share: float = 1.0,
        forward_pass: ForwardPass | None = None,
    ) -> Objective:
        """The inner or the outer objective of Eq. 6.

        Args:
            x: nest of tensors, the inputs.
            terms: list of `Term`s of logits.
            stack: function from a tensor with one row a row of `x` to a list
                with one tensor `(n, views, ...)` a term. `None` for one term,
                each of its examples seen once. Defaults to `None`.
            penalty_share: float, how much of the regularisers counts.
                Defaults to `1.0`.
            forward_pass: the `ForwardPass` of training on `x`, or `None` to
                run the network in inference mode. Defaults to `None`.
        """
        if forward_pass is None:
            features = self.features(x)
        else:
            assert forward_pass.recording is not None  # not of the past
            features = self.head.features(forward_pass.recording)
        variables = self.head.variables
        return LastLayerObjective(
            values(variables),
            (stack or _one_view)(features),
            [self._of_outputs(term) for term in terms],
            penalty(variables, penalty_share),
        )

    def _of_outputs(self, term):
        """A term of logits as one of the head's linear outputs."""
        # A head that changes the number of logits has another Hessian.
        softmax = not isinstance(self.head.layer, BinaryLogits) and term.softmax
        return dataclasses.replace(
            term,
            loss=lambda outputs: term.loss(self.head.readout(outputs)),
            softmax=softmax,
        )


class VariablesScope:
    """Any trainable variables of a network.

    Args:
        network: a built `keras.Model`.
        variables: list of its trainable variables.
    """

    is_deep = True

    def __init__(self, network: keras.Model, variables: list):
        self.network = network
        self.variables = variables

    def objective(
        self,
        x,
        terms: list,
        stack: Callable | None = None,
        penalty_share: float = 1.0,
        forward_pass: ForwardPass | None = None,
    ) -> Objective:
        """The inner or the outer objective of Eq. 6.

        Args:
            x: as of `LastLayerScope`.
            terms: as of `LastLayerScope`.
            stack: as of `LastLayerScope`.
            penalty_share: as of `LastLayerScope`.
            forward_pass: as of `LastLayerScope`; one that kept only the state
                that it started from runs again.
        """
        training = forward_pass is not None
        state = forward_pass.before if training else None
        kept = training and forward_pass.tape is not None
        return NetworkObjective(
            StatelessNetwork(self.network, self.variables, training, state),
            x,
            terms,
            stack or _one_view,
            penalty(self.variables, penalty_share),
            forward_pass if kept else None,
        )

    @property
    def places(self) -> list[int]:
        """Where the variables are among the network's trainable ones."""
        places = self.network.trainable_variables
        places = {id(v): place for place, v in enumerate(places)}
        return [places[id(v)] for v in self.variables]


def layers_of(
    parameters: str | keras.layers.Layer | Iterable[str | keras.layers.Layer],
) -> tuple[str | list, str | list]:
    """What an influence keeps of its argument `parameters`.

    Args:
        parameters: `"last_layer"`, `"all"`, a layer, or layers and names of
            layers.

    Returns:
        The names, which a configuration can hold, and the layers.

    Raises:
        ValueError: if it is another string.
    """
    if isinstance(parameters, keras.layers.Layer):
        parameters = [parameters]
    if isinstance(parameters, Iterable) and not isinstance(parameters, str):
        layers = list(parameters)
        return [str(getattr(p, "name", p)) for p in layers], layers
    if parameters not in ("last_layer", "all"):
        raise ValueError(
            "Argument `parameters` must be 'last_layer', 'all' or a "
            f"list of layers. Received: parameters={parameters!r}"
        )
    return parameters, parameters


def scope_variables(network: keras.Model, parameters) -> list:
    """The trainable variables of a scope.

    Args:
        network: a built `keras.Model`.
        parameters: `"all"` or a list of layers and of names of layers, nested
            ones too.

    Raises:
        ValueError: if a layer is not there, a name is that of several, or
            nothing is trainable.
    """
    if parameters == "all":
        layers = [network]
    else:
        known = all_layers(network)
        layers = [_layer(known, entry) for entry in parameters]
    # A layer may be trainable in a network that is not.
    trainable = {id(v) for v in network.trainable_variables}
    variables = {
        id(v): v
        for layer in layers
        for v in layer.trainable_variables
        if id(v) in trainable
    }
    if not variables:
        raise ValueError(
            "Argument `parameters` must hold trainable variables. Received: "
            f"parameters={parameters!r}, of which none is trainable."
        )
    return list(variables.values())


def _layer(known, entry):
    found = [layer for layer in known if layer is entry or layer.name == entry]
    if not found:
        raise ValueError(
            "Argument `parameters` must hold layers of the network or their "
            f"names. Received: {getattr(entry, 'name', entry)!r}, but the "
            f"layers are {[layer.name for layer in known]}"
        )
    if len(found) > 1:
        raise ValueError(
            "Argument `parameters` must name one layer of the network each. "
            f"Received: {entry!r}, the name of {len(found)} layers: pass the "
            "layer itself, or give the layers names of their own."
        )
    return found[0]


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


def _one_view(rows) -> list:
    return [ops.expand_dims(rows, 1)]
