from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
from keras import ops

from keras_influence.influence.per_example_loss import PerExampleLoss
from keras_influence.losses import UnlabeledLoss
from keras_influence.models.batch import Batch
from keras_influence.replicas import of_all_replicas
from keras_influence.weighting import Examples, Weighting


class TrainingLoss(NamedTuple):
    """`L_S + Σ_u mask_u λ_u l_u` of one batch, and its parts.

    Args:
        labeled: scalar tensor, the labelled loss.
        unlabeled: scalar tensor, the weighted loss of the unlabelled examples.
        logits: tensor `(labeled_size, units)`, of the labelled examples.
        examples: the `Examples` of the unlabelled data.
        mask: tensor of shape `(unlabeled_size,)`.
        weights: tensor like `mask`, `λ`.
        weight_gradients: function from the derivatives by `λ` to those by what
            the weights are learned in, as of `Weighting.differentiable`.
        parts: list of the labelled and the unlabelled examples' losses.
        factors: pair of tensors, the factor of every labelled and of every
            unlabelled example's loss.
    """

    labeled: tf.Tensor
    unlabeled: tf.Tensor
    logits: tf.Tensor
    examples: Examples
    mask: tf.Tensor
    weights: tf.Tensor
    weight_gradients: Callable[[tf.Tensor], list]
    parts: list[tf.Tensor]
    factors: tuple[tf.Tensor, tf.Tensor]


def training_loss(
    batch: Batch,
    logits: tf.Tensor,
    features: tf.Tensor | None,
    loss: PerExampleLoss,
    unlabeled_loss: UnlabeledLoss,
    weighting: Weighting,
    step: tf.Tensor,
) -> TrainingLoss:
    """The `TrainingLoss` of one batch, without the regularisers.

    Args:
        batch: the `Batch`.
        logits: tensor with the logits of all its rows.
        features: tensor with what enters the last layer for all its rows, or
            `None` where the weights do not depend on it.
        loss: the labelled loss, a `PerExampleLoss`.
        unlabeled_loss: an `UnlabeledLoss`.
        weighting: the `Weighting`.
        step: integer scalar tensor, the training step.
    """
    labeled_logits, views = batch.split(logits)
    labeled_factors = _labeled_factors(
        unlabeled_loss, batch.y, labeled_logits, step, loss
    )
    if batch.sample_weight is not None:
        labeled_factors *= ops.cast(batch.sample_weight, logits.dtype)
    labeled_losses = loss(batch.y, labeled_logits)
    if unlabeled_loss.state is not None:
        *rows, index = of_all_replicas(*views.values(), batch.index)
        unlabeled_loss.observe(dict(zip(views, rows, strict=True)), index)
    unlabeled_losses, mask = unlabeled_loss(views, batch.label, step)
    # The view that gives pseudo-labels, or the only one.
    view = (unlabeled_loss.views or tuple(views))[0]
    examples = Examples(
        index=batch.index,
        losses=unlabeled_losses,
        logits=views,
        prediction=views[view],
        mask=mask,
        features=None if features is None else batch.split(features)[1][view],
        label=batch.label if unlabeled_loss.requires_labels else None,
    )
    weights, weight_gradients = weighting.differentiable(examples)
    weights = ops.stop_gradient(ops.cast(weights, mask.dtype))
    # The mean runs over all unlabelled examples, masked ones included.
    factors = mask * weights / ops.cast(batch.unlabeled_size, mask.dtype)
    return TrainingLoss(
        labeled=ops.sum(labeled_factors * labeled_losses),
        unlabeled=ops.sum(factors * unlabeled_losses),
        logits=labeled_logits,
        examples=examples,
        mask=mask,
        weights=weights,
        weight_gradients=weight_gradients,
        parts=[labeled_losses, unlabeled_losses],
        factors=(labeled_factors, factors),
    )


def _labeled_factors(unlabeled_loss, y, logits, step, loss):
    """The factors of the labelled losses; ignored ones are left out."""
    if loss.ignored is None:
        return unlabeled_loss.labeled_weights(y, logits, step)
    counted = loss.counts(y)
    some_class = ops.where(y == loss.ignored, ops.zeros_like(y), y)
    factors = unlabeled_loss.labeled_weights(some_class, logits, step)
    kept = ops.where(counted, factors, 0.0)
    return kept * ops.divide_no_nan(ops.sum(factors), ops.sum(kept))
