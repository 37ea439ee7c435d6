import hypothesis
import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf

import keras_influence as ki
from keras_influence.weighting import Examples, ExampleWeights, MeanBudget
from tests.cases.models import (
    CLASSES,
    UNLABELED,
    compiled,
    data,
    draw,
    fit,
    linear_network,
)

SIZE = 4
weights = npst.arrays("float32", SIZE, elements=st.floats(0.125, 2.0, width=32))
masks = npst.arrays("float32", SIZE, elements=st.sampled_from([0.0, 1.0]))


def budget(values, mask, mean):
    """The weights, and the examples of which they are."""
    weighting = MeanBudget(ExampleWeights(SIZE, values), mean)
    return weighting, Examples(tf.range(SIZE), mask=tf.constant(mask))


def test_doubted_below_half_of_the_mean():
    weighting = MeanBudget(ExampleWeights(3, [0.1, 0.25, 0.4]), 0.5)
    below = weighting.quality() < 0.5
    np.testing.assert_array_equal(below, [True, False, False])


@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(values=weights, mask=masks, mean=st.floats(0.2, 2.0))
def test_the_mean_of_the_unmasked_is_kept(values, mask, mean):
    weighting, examples = budget(values, mask, mean)
    results = weighting(examples).numpy()
    if mask.any():
        np.testing.assert_allclose(results[mask > 0].mean(), mean, rtol=1e-5)
        ratio = results / values
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)


def test_weights_of_zero():
    weighting, examples = budget(np.zeros(SIZE), np.ones(SIZE), 1.0)
    np.testing.assert_array_equal(weighting(examples), np.zeros(SIZE))


@hypothesis.settings(max_examples=10, deadline=None)
@hypothesis.given(
    values=weights,
    mask=masks,
    gradient=npst.arrays("float32", SIZE, elements=st.floats(-1, 1, width=32)),
)
def test_the_gradient_is_that_of_finite_differences(values, mask, gradient):
    step = 1e-6

    def objective(values):
        total = np.sum(mask * values) or 1.0
        results = values * 0.7 * np.sum(mask) / total
        return np.sum(results * gradient.astype("float64"))

    expected = [
        (objective(values + step * e) - objective(values - step * e))
        / (2 * step)
        for e in np.eye(SIZE)
    ]
    weighting, examples = budget(values, mask, 0.7)
    _, gradients = weighting.differentiable(examples)
    found = gradients(tf.constant(gradient))[0]
    found = tf.convert_to_tensor(found).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("mean", [0.0, -1.0, np.inf, np.nan, 2.5])
def test_means_that_no_weights_have(mean):
    with pytest.raises(ValueError, match="`mean_weight` must be a positive"):
        MeanBudget(ExampleWeights(SIZE, max_weight=2.0), mean)


def test_training_spends_the_budget():
    model = compiled(mean_weight=0.4)
    logs = fit(model, 12)
    assert logs["weight_mean"] == pytest.approx(0.4)
    assert logs["weight_std"] > 0.01
    assert np.ptp(model.example_weights) > 0.1


class _Wrong(ki.losses.GivenLabels):
    """Every label is the next class."""

    def call(self, logits, labels=None, step=None):
        return super().call(logits, (labels + 1) % CLASSES, step)


def test_the_budget_stops_the_trivial_solution():
    """All labels wrong: free weights fall to 0, those with a budget do not."""
    means = []
    for mean_weight in (None, 1.0):
        model = compiled(
            linear_network(),
            mean_weight=mean_weight,
            unlabeled_loss=_Wrong(),
            validation_set=draw(10, 2, noise=0.2),
        )
        fit(model, 40, data(unlabeled=draw(UNLABELED, 1, noise=0.2)))
        means.append(model.example_weights.mean())
    assert means[0] < 0.4
    assert means[1] > 0.7
