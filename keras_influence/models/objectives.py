"""The two objectives of Eq. 6 on the batch of one training step."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
from keras import ops

from keras_influence.influence.network import (
    ForwardPass,
    NetworkObjective,
    StatelessNetwork,
)
from keras_influence.influence.objective import Term
from keras_influence.influence.per_example import PerExampleLoss
from keras_influence.influence.scope import scope_variables
from keras_influence.layers import Recording
from keras_influence.models.batch import Batch


class Step(NamedTuple):
    """What the influence needs of the forward pass of a training step.

    Args:
        batch: the `Batch`.
        forward_pass: the `ForwardPass` over its rows.
        loss: the labelled loss, a `PerExampleLoss`.
        unlabeled_loss: function from a dictionary of logits to one loss an
            unlabelled example.
        factors: pair of tensors, the factors of the labelled and of the
            unlabelled losses in the training loss.
    """

    batch: Batch
    forward_pass: ForwardPass
    loss: PerExampleLoss
    unlabeled_loss: Callable
    factors: tuple


class LastLayerObjectives:
    """Builds the objectives of the network's head.

    Features come from the forward pass of training; the validation set costs
    one forward pass in inference mode and no backward pass.

    Args:
        network: the `keras.Model`.
        head: its `Head`.
    """

    def __init__(self, network, head):
        self.network = network
        self.head = head

    def inner(self, step: Step):
        """The inner objective on the rows of a training step."""
        batch = step.batch

        def over_views(outputs):
            logits = self.head.readout(outputs)
            return step.unlabeled_loss(_by_view(batch, logits))

        terms = [
            self.head.term(step.loss, batch.y, step.factors[0]),
            Term(over_views, step.factors[1]),
        ]
        features = self.head.features(step.forward_pass.recording)
        return self.head.objective(batch.stack(features), terms)

    def outer(self, x, y, loss):
        """The outer objective: the mean loss of validation examples.

        Args:
            x: nest of tensors, the drawn inputs.
            y: tensor, their labels.
            loss: function from labels and logits to one value an example.
        """
        with Recording() as recording:
            self.network(x, training=False)
        features = self.head.features(recording)[:, None]
        term = self.head.term(loss, y, _mean(y, features.dtype))
        return self.head.objective([features], [term], penalty_share=0.0)


class NetworkObjectives:
    """Builds the objectives of any trainable variables of the network.

    Make it before the forward pass of training, which moves the batch
    statistics and seeds that it differentiates through.

    Args:
        network: the `keras.Model`.
        parameters: `"all"` or a list of names of layers.
    """

    def __init__(self, network, parameters):
        variables = scope_variables(network, parameters)
        self.train = StatelessNetwork(network, variables, training=True)
        self.judge = StatelessNetwork(network, variables, training=False)

    def inner(self, step: Step):
        """The inner objective on the rows of a training step."""
        batch, loss = step.batch, step.loss

        def over_views(logits):
            return step.unlabeled_loss(_by_view(batch, logits))

        terms = [
            Term(lambda z: loss(batch.y, z[:, 0]), step.factors[0]),
            Term(over_views, step.factors[1]),
        ]
        return NetworkObjective(
            self.train,
            batch.inputs(),
            terms,
            batch.stack,
            forward_pass=step.forward_pass,
        )

    def outer(self, x, y, loss):
        """The outer objective: the mean loss of validation examples."""
        weights = _mean(y, self.judge.variables[0].dtype)
        term = Term(lambda z: loss(y, z[:, 0]), weights)
        return NetworkObjective(
            self.judge, x, [term], lambda z: [z[:, None]], penalty_share=0.0
        )


def _by_view(batch, logits):
    """Logits `(n, views, units)` by the names of the views."""
    return dict(zip(batch.views, tf.unstack(logits, axis=1), strict=True))


def _mean(labels, dtype):
    size = ops.shape(labels)[0]
    return ops.ones((size,), dtype) / ops.cast(size, dtype)
