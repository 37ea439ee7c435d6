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


@pytest.mark.parametrize("logit", [1.0, 10.0, 20.0, 30.0])
def test_sure_predictions_in_single_precision(logit):
    outputs = logit * np.eye(3)[:, None] + random.normal(size=(3, 2, 3))
    y = random.normal(size=outputs.shape)
    weights = random.uniform(size=3)
    found = SoftmaxHessian(tf.constant(outputs, "float32"))
    # Not `1 - p`, of which double precision keeps little at 30.
    p = np.exp(outputs - outputs.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    truth = -p[..., :, None] * p[..., None, :]
    for unit in range(3):
        truth[..., unit, unit] = p[..., unit] * np.delete(p, unit, -1).sum(-1)
    blocks = np.einsum("nvcve->nvce", found.dense().numpy())
    np.testing.assert_allclose(blocks, truth, rtol=1e-4, atol=0)
    product = found.matvec(tf.constant(y, "float32"))
    size = np.abs(truth).sum((-1, -2))[..., None]
    expected = np.einsum("nvce,nve->nvc", truth, y)
    np.testing.assert_allclose(product / size, expected / size, atol=1e-5)
    np.testing.assert_allclose(
        found.weighted_sum(tf.constant(weights, "float32")),
        np.einsum("n,nvce->ce", weights, truth),
        rtol=1e-4,
        atol=0,
    )
