"""The two objectives of Eq. 6 on the batch of one training step."""

import tensorflow as tf
from keras import ops

from keras_influence.influence.last_layer import LastLayerObjective
from keras_influence.influence.objective import Term
from keras_influence.layers import BinaryLogits, Recording, RecordingLayer


class LastLayer:
    """Builds the objectives of the network's head.

    Features come from the forward pass of training; the validation set costs
    one forward pass in inference mode and no backward pass.

    Args:
        network: the `keras.Model`.
        head: its last layer, tapped.
    """

    def __init__(self, network, head):
        self.network = network
        self.head = head
        self.readout = (
            head.readout if isinstance(head, RecordingLayer) else lambda z: z
        )

    @property
    def variables(self) -> list:
        """The head's kernel and, where it has one, its bias."""
        return [v for v in (self.head.kernel, self.head.bias) if v is not None]

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
        features = batch.stack(self._features(recording))

        def over_views(outputs):
            views = [self.readout(z) for z in tf.unstack(outputs, axis=1)]
            return unlabeled_loss(dict(zip(batch.views, views, strict=True)))

        terms = [
            self._term(loss, batch.y, weights[0]),
            Term(over_views, weights[1]),
        ]
        return self._objective(features, terms, self._penalty())

    def outer(self, x, y, loss):
        """The outer objective: the mean loss of validation examples.

        Args:
            x: nest of tensors, the drawn inputs.
            y: tensor, their labels.
            loss: function from labels and logits to one value an example.
        """
        with Recording() as recording:
            self.network(x, training=False)
        features = self._features(recording)[:, None]
        weights = ops.ones_like(features[:, 0, 0])
        term = self._term(loss, y, weights / ops.sum(weights))
        return self._objective([features], [term])

    def _term(self, loss, y, weights):
        # A head that changes the number of logits has another Hessian.
        softmax = getattr(loss, "softmax", False)
        softmax = softmax and not isinstance(self.head, BinaryLogits)
        return Term(lambda z: loss(y, self.readout(z[:, 0])), weights, softmax)

    def _features(self, recording):
        (record,) = (r for r in recording.records if r.layer is self.head)
        return ops.cast(record.inputs, self.head.kernel.dtype)

    def _objective(self, features, terms, penalty=None):
        parameters = [tf.convert_to_tensor(v.value) for v in self.variables]
        return LastLayerObjective(parameters, features, terms, penalty)

    def _penalty(self):
        regularizers = [v.regularizer for v in self.variables]
        if not any(regularizers):
            return None
        return lambda parameters: sum(
            regularizer(p)
            for regularizer, p in zip(regularizers, parameters, strict=True)
            if regularizer is not None
        )
