"""The two objectives of Eq. 6 on the batch of one training step."""

import tensorflow as tf
from keras import ops

from keras_influence.influence.objective import Term
from keras_influence.influence.scope import StatelessNetwork, scope_variables
from keras_influence.layers import Recording


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

    def inner(self, batch, recording, loss, unlabeled_loss, weights):
        """The inner objective on the rows of the training step.

        Args:
            batch: the `Batch`.
            recording: the `Recording` of its forward pass.
            loss: the labelled loss, a `PerExampleLoss`.
            unlabeled_loss: function from a dictionary of logits to one loss
                an unlabelled example.
            weights: pair of tensors, the factors of the labelled and of the
                unlabelled losses.
        """

        def over_views(outputs):
            return unlabeled_loss(_views(batch, self.head.readout(outputs)))

        terms = [
            self.head.term(loss, batch.y, weights[0]),
            Term(over_views, weights[1]),
        ]
        features = self.head.features(recording)
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
        return self.head.objective([features], [term], regularized=False)


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

    def inner(self, batch, recording, loss, unlabeled_loss, weights):
        """As `LastLayerObjectives.inner`; runs the network again."""
        terms = [
            Term(lambda z: loss(batch.y, z[:, 0]), weights[0], loss.softmax),
            Term(lambda z: unlabeled_loss(_views(batch, z)), weights[1]),
        ]
        return self.train.objective(batch.inputs(), terms, batch.stack)

    def outer(self, x, y, loss):
        """As `LastLayerObjectives.outer`."""
        variables = self.judge.variables
        term = Term(lambda z: loss(y, z[:, 0]), _mean(y, variables[0].dtype))
        return self.judge.objective(
            x, [term], lambda z: [z[:, None]], regularized=False
        )


def _views(batch, outputs):
    """Outputs `(n, views, units)` by the names of the views."""
    return dict(zip(batch.views, tf.unstack(outputs, axis=1), strict=True))


def _mean(labels, dtype):
    size = ops.shape(labels)[0]
    return ops.ones((size,), dtype) / ops.cast(size, dtype)
