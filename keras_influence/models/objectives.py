"""The two objectives of Eq. 6 on the batch of one training step."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf
from keras import ops

from keras_influence.influence import scope
from keras_influence.influence.network_objective import (
    ForwardPass,
    NetworkObjective,
    StatelessNetwork,
)
from keras_influence.influence.objective import Term
from keras_influence.influence.per_example_loss import PerExampleLoss
from keras_influence.layers import Recording
from keras_influence.models.batch import Batch


class Step(NamedTuple):
    """What the influence needs of the forward pass of a training step.

    Args:
        batch: the `Batch`.
        forward_pass: the `ForwardPass` over its rows.
        loss: the labelled loss, a `PerExampleLoss`.
        unlabeled_loss: function from a dictionary of logits and the given
            labels to one loss an unlabelled example.
        factors: pair of tensors, the factors of the labelled and of the
            unlabelled losses in the training loss.
        mask: tensor of shape `(unlabeled_size,)`.
    """

    batch: Batch
    forward_pass: ForwardPass
    loss: PerExampleLoss
    unlabeled_loss: Callable
    factors: tuple
    mask: tf.Tensor


class Objectives:
    """Base class of what builds the inner and the outer objective."""

    def inner(self, step: Step):
        """The inner objective on the rows of a training step."""
        raise NotImplementedError

    def outer(self, x, y, loss):
        """The outer objective: the mean loss of validation examples.

        Args:
            x: nest of tensors, the drawn inputs.
            y: tensor, their labels.
            loss: function from labels and logits to one value an example.
        """
        raise NotImplementedError

    def hypergradient(self, influence, step: Step, outer):
        """Eq. 6 in the weights of the step's unlabelled examples.

        Returns:
            Their ids, the derivatives, both of shape `(n,)`, and the
            solver's `Solution`.
        """
        scores, solution = influence.scores(self.inner(step), outer)
        return step.batch.index, step.mask * scores[-1], solution


class LastLayerObjectives(Objectives):
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
            return step.unlabeled_loss(_by_view(batch, logits), batch.label)

        terms = [
            self.head.term(step.loss, batch.y, step.factors[0]),
            Term(over_views, step.factors[1]),
        ]
        features = self.head.features(step.forward_pass.recording)
        return self.head.objective(batch.stack(features), terms)

    def outer(self, x, y, loss):
        """The outer objective: one forward pass."""
        with Recording() as recording:
            self.network(x, training=False)
        features = self.head.features(recording)[:, None]
        term = self.head.term(loss, y, _mean(y, features.dtype))
        return self.head.objective([features], [term], penalty_share=0.0)


class NetworkObjectives(Objectives):
    """Builds the objectives of any trainable variables of the network.

    Make it before the forward pass of training, which moves the batch
    statistics and seeds that it differentiates through.

    Args:
        network: the `keras.Model`.
        variables: list of its trainable variables that are in scope.
    """

    def __init__(self, network, variables):
        self.train = StatelessNetwork(network, variables, training=True)
        self.eval_network = StatelessNetwork(network, variables, training=False)

    def inner(self, step: Step, parameters=None):
        """The inner objective on the rows of a training step.

        Args:
            step: the `Step`.
            parameters: list of tensors, an earlier iterate, or `None` for the
                present one. Defaults to `None`.
        """
        batch, loss = step.batch, step.loss

        def over_views(logits):
            return step.unlabeled_loss(_by_view(batch, logits), batch.label)

        terms = [
            Term(
                lambda z: loss(batch.y, z[:, 0]), step.factors[0], loss.softmax
            ),
            Term(over_views, step.factors[1]),
        ]
        return NetworkObjective(
            self.train,
            batch.inputs(),
            terms,
            batch.stack,
            forward_pass=step.forward_pass,
            parameters=parameters,
        )

    def outer(self, x, y, loss):
        """The outer objective: one forward and one backward pass."""
        weights = _mean(y, self.eval_network.variables[0].dtype)
        term = Term(lambda z: loss(y, z[:, 0]), weights)
        return NetworkObjective(
            self.eval_network,
            x,
            [term],
            lambda z: [z[:, None]],
            penalty_share=0.0,
        )


class UnrolledObjectives(NetworkObjectives):
    """Goes back through the stored steps of training.

    Args:
        network: the `keras.Model`.
        variables: list of its trainable variables that are in scope.
        history: the `StepBuffer` of the steps.
    """

    def __init__(self, network, variables, history):
        super().__init__(network, variables)
        self.history = history

    def remember(self, step: Step) -> None:
        """Stores a step, at the iterate that its forward pass ran at."""
        self.history.push(self._stored(step))

    def hypergradient(self, influence, step: Step, outer):
        """The derivative through every stored step, in its own examples."""
        self.history.prepare(self._stored(step))
        past = [self._past(step, k) for k in range(self.history.length)]
        inner = [self.inner(p, theta) for p, theta in past]
        scores, solution = influence.unrolled_scores(inner, outer)
        index = [p.batch.index for p, _ in past]
        values = [
            ops.where(self.history.holds(k), p.mask * s[-1], 0.0)
            for k, ((p, _), s) in enumerate(zip(past, scores, strict=True))
        ]
        return ops.concatenate(index), ops.concatenate(values), solution

    def _stored(self, step):
        batch = {k: v for k, v in vars(step.batch).items() if v is not None}
        return {
            "theta": scope.values(self.train.variables),
            "batch": keras.tree.map_structure(tf.convert_to_tensor, batch),
            "factors": step.factors,
            "mask": step.mask,
        }

    def _past(self, step, back):
        stored = self.history.recent(back)
        absent = {"sample_weight": None, "label": None}
        past = step._replace(
            batch=Batch(**{**absent, **stored["batch"]}),
            forward_pass=None,
            factors=stored["factors"],
            mask=stored["mask"],
        )
        return past, stored["theta"]


def _by_view(batch, logits):
    """Logits `(n, views, units)` by the names of the views."""
    return dict(zip(batch.views, tf.unstack(logits, axis=1), strict=True))


def _mean(labels, dtype):
    size = ops.shape(labels)[0]
    return ops.ones((size,), dtype) / ops.cast(size, dtype)
