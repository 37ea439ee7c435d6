"""The closed form of every loss that claims one, against differentiation."""

import numpy as np
import pytest
import tensorflow as tf

from keras_influence import losses
from keras_influence.influence.objective import Term
from keras_influence.influence.output_hessian import (
    OutputHessian,
    SoftmaxHessian,
    output_hessian,
)
from keras_influence.losses.unlabeled_loss import softmax_shares
from tests.cases.influence import assert_close

VIEWS = ("weak", "strong")
random = np.random.default_rng(0)
OUTPUTS = tf.constant(random.normal(size=(5, 2, 4)))
LABELS = np.array([0, 3, 1, 2, 2])
CLOSED = [
    (losses.GivenLabels(), VIEWS),
    (losses.GivenLabels(label_smoothing=0.2), VIEWS),
    (losses.GivenLabels(), VIEWS[:1]),
    (losses.PseudoLabel(0.0), VIEWS[:1]),
    (losses.PseudoLabel(0.0, view="strong"), VIEWS),
    (losses.FixMatch(0.0), VIEWS),
    (losses.FixMatch(0.0, views=("strong", "weak")), VIEWS),
    (losses.UDA(views=VIEWS, temperature=0.4), VIEWS),
]


def term(loss, views):
    def of_outputs(z):
        logits = {view: z[:, i] for i, view in enumerate(views)}
        return loss(logits, LABELS)[0]

    weights = tf.constant(random.uniform(size=5))
    return Term(of_outputs, weights, softmax_shares(loss, views))


@pytest.mark.parametrize(("loss", "views"), CLOSED)
def test_closed_form_is_the_second_derivative(loss, views):
    ours, outputs = term(loss, views), OUTPUTS[:, : len(views)]
    found, truth = output_hessian(ours, outputs), OutputHessian(ours, outputs)
    assert isinstance(found, SoftmaxHessian)
    y = tf.constant(random.normal(size=outputs.shape))
    assert_close(found.matvec(y), truth.matvec(y))
    assert_close(found.dense(), truth.dense())
    assert_close(
        found.weighted_sum(ours.weights), truth.weighted_sum(ours.weights)
    )


class OwnCall(losses.GivenLabels):
    def call(self, logits, labels=None, step=None):
        found, mask = super().call(logits, labels, step)
        return found**2, mask


@pytest.mark.parametrize(
    "loss", [OwnCall(), losses.UDA(views=VIEWS, entropy_weight=0.5)]
)
def test_other_losses_are_differentiated(loss):
    assert isinstance(output_hessian(term(loss, VIEWS), OUTPUTS), OutputHessian)
