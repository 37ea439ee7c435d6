"""Eq. 6 for the batch of one training step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import ops

from keras_influence import replicas
from keras_influence.influence.forward_pass import ForwardPass, NetworkState
from keras_influence.influence.objective import Objective, Term
from keras_influence.influence.scope import LastLayerScope, VariablesScope
from keras_influence.models.batch import Batch
from keras_influence.models.ring_buffer import RingBuffer
from keras_influence.replicas import of_all_replicas, of_this_replica
from keras_influence.solvers import Solution

Scope = LastLayerScope | VariablesScope


class Step(NamedTuple):
    """What the influence needs of a training step.

    Args:
        batch: the `Batch`.
        forward_pass: the `ForwardPass` over its rows.
        factors: pair of tensors, the factors of the labelled and of the
            unlabelled losses in the training loss.
        mask: tensor of shape `(unlabeled_size,)`.
    """

    batch: Batch
    forward_pass: ForwardPass
    factors: tuple[tf.Tensor, tf.Tensor]
    mask: tf.Tensor


def inner_objective(
    scope: Scope,
    step: Step,
    loss: Callable,
    unlabeled_loss: Callable,
    softmax: bool | tuple = False,
) -> Objective:
    """The training loss of a step's rows, as a function of the scope.

    Where the network is not differentiated through, of the rows of all
    replicas, so that each finds the same solution.

    Args:
        scope: a `LastLayerScope` or `VariablesScope`.
        step: the `Step`.
        loss: the labelled loss, a `PerExampleLoss`.
        unlabeled_loss: function from a dictionary of logits and the given
            labels to one loss an unlabelled example.
        softmax: of the latter, as of `Term`. Defaults to `False`.
    """
    batch = step.batch
    together, share = of_all_replicas, 1 / replicas.count()
    if scope.is_deep:
        together, share = _unchanged, 1
    y, *factors = together(batch.y, *step.factors)
    label = None if batch.label is None else together(batch.label)[0]

    def over_views(logits):
        views = tf.unstack(logits, axis=1)
        return unlabeled_loss(dict(zip(batch.views, views, strict=True)), label)

    terms = [
        Term.of_labels(loss, y, share * factors[0]),
        Term(over_views, share * factors[1], softmax),
    ]
    return scope.objective(
        batch.inputs(),
        terms,
        lambda rows: together(*batch.stack(rows)),
        forward_pass=step.forward_pass,
    )


def _unchanged(*parts) -> list:
    # Derivatives go through what is stacked, which no collective can be in.
    return list(parts)


def outer_objective(
    scope: Scope,
    x: Any,
    y: tf.Tensor,
    loss: Callable,
    memory: RingBuffer | None = None,
) -> Objective:
    """The mean loss of validation examples, as a function of the scope.

    Args:
        scope: as of `inner_objective`.
        x: nest of tensors, the drawn inputs.
        y: tensor, their labels.
        loss: function from labels and logits to one value an example.
        memory: `RingBuffer` of what former draws were to the last layer. They
            count as much as this one, which takes the place of the oldest.
            Defaults to `None`.

    Reference: Wang et al., "Cross-Batch Memory for Embedding Learning", 2020,
    for how slowly features drift.
    """
    counts = _counts(loss, y)
    if memory is not None:
        assert isinstance(scope, LastLayerScope)
        present = drawn(scope.features(x), y, counts)
        memory.push(present)
        x, y, counts = map(_flat, _known(memory.all(), present))
        scope = LastLayerScope(scope.head, lambda features: features)
    mean = ops.divide_no_nan(counts, ops.sum(counts))
    return scope.objective(x, [Term.of_labels(loss, y, mean)], penalty_share=0)


def _counts(loss, y):
    """1 for what the mean is over, 0 for examples that `loss` ignores."""
    if getattr(loss, "ignored", None) is None:
        return ops.ones((ops.shape(y)[0],), "float64")
    return ops.cast(loss.counts(y), "float64")


def drawn(features: tf.Tensor, y: tf.Tensor, counts: tf.Tensor) -> dict:
    """What is remembered of a draw of validation examples.

    What was not drawn yet counts 0, as all that a new buffer holds.
    """
    # The shape of `y`: a network may lose the number of rows, as of texts.
    counts = ops.reshape(ops.cast(counts, features.dtype), y.shape[:1])
    return {"features": features, "y": y, "counts": counts}


def _known(draws, present):
    """Features, labels and counts, where there are none yet the present ones.

    A loss of zeros for labels may not be finite, even if it counts 0.
    """
    counts = draws["counts"]

    def where_drawn(kept, present):
        ones = [1] * (len(kept.shape) - 2)
        return ops.where(
            ops.reshape(counts > 0, (*counts.shape, *ones)), kept, present
        )

    parts = [where_drawn(draws[k], present[k]) for k in ("features", "y")]
    return *parts, counts


def _flat(draws):
    """`(draws, n, ...)` to `(draws · n, ...)`."""
    return ops.reshape(draws, (-1, *draws.shape[2:]))


def stored_step(scope: VariablesScope, step: Step) -> dict:
    """What a `RingBuffer` keeps of a step of a `VariablesScope`.

    Raises:
        ValueError: if the size of the batch is not known beforehand.
    """
    if step.batch.index.shape[0] is None:
        raise ValueError(
            "`Unrolled` looks back at past batches, which must all be of one "
            "size, known beforehand (`drop_remainder=True`). Received: a batch "
            f"of unlabelled examples of shape {tuple(step.batch.index.shape)}"
        )
    batch = {k: v for k, v in vars(step.batch).items() if v is not None}
    before = step.forward_pass.before
    return {
        "theta": [before.trainable[i] for i in scope.places],
        "batch": keras.tree.map_structure(tf.convert_to_tensor, batch),
        "factors": step.factors,
        "mask": step.mask,
    }


def past_steps(
    scope: VariablesScope, buffer: RingBuffer, present: Step
) -> list[Step]:
    """The steps in a buffer, the latest first; empty places are masked.

    Batch statistics and seeds are taken as they are now.
    """
    buffer.prepare(stored_step(scope, present))
    return [
        _past_step(scope, buffer, present, back)
        for back in range(buffer.length)
    ]


def _past_step(scope, buffer, present, back):
    stored = buffer.recent(back)
    before = present.forward_pass.before
    trainable = list(before.trainable)
    for place, theta in zip(scope.places, stored["theta"], strict=True):
        trainable[place] = theta
    state = NetworkState(trainable, before.non_trainable)
    absent = {"sample_weight": None, "label": None}
    return Step(
        batch=Batch(**{**absent, **stored["batch"]}),
        forward_pass=ForwardPass(None, None, [], state),
        factors=stored["factors"],
        mask=ops.where(buffer.holds(back), stored["mask"], 0.0),
    )


class Hypergradient(NamedTuple):
    """`d L(V) / d λ_u` of the examples of some steps.

    Args:
        index: integer tensor of shape `(n,)`, their ids.
        derivatives: tensor of shape `(n,)`.
        norm: scalar tensor, the derivatives' norm, of all replicas together
            where they share one solution.
        solution: the `Solution`.
    """

    index: tf.Tensor
    derivatives: tf.Tensor
    norm: tf.Tensor
    solution: Solution


def hypergradient(
    influence, scope, inner: list, outer, steps: list
) -> Hypergradient:
    """Eq. 6 for the examples of some steps.

    Args:
        influence: an `Influence` or `Unrolled`.
        scope: the scope of the objectives.
        inner: list with the inner objective of every step.
        outer: the outer objective.
        steps: the list of `Step`s.
    """
    scores, solution = influence.step_scores(inner, outer)
    index = ops.concatenate([step.batch.index for step in steps])
    derivatives, squares = [], 0.0
    for step, terms in zip(steps, scores, strict=True):
        mask = step.mask if scope.is_deep else of_all_replicas(step.mask)[0]
        # Not a product: what is masked may be infinite.
        of_step = ops.where(mask > 0, mask * terms[-1], 0.0)
        squares += ops.sum(ops.square(of_step))
        if not scope.is_deep:
            of_step = of_this_replica(of_step, ops.shape(step.mask)[0])
        derivatives.append(of_step)
    return Hypergradient(
        index, ops.concatenate(derivatives), ops.sqrt(squares), solution
    )
