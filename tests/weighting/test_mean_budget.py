import hypothesis
import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf

import keras_influence as ki
from keras_influence.weighting.mean_budget import rescaled, rescaled_gradient
from tests.cases.models import (
    CLASSES,
    UNLABELED,
    compiled,
    data,
    draw,
    fit,
    linear_network,
)

weights = npst.arrays("float64", 4, elements=st.floats(0.1, 2.0))
masks = npst.arrays("float64", 4, elements=st.sampled_from([0.0, 1.0]))


@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(values=weights, mask=masks, mean=st.floats(0.2, 3.0))
def test_the_mean_of_the_unmasked_is_kept(values, mask, mean):
    results = rescaled(tf.constant(values), tf.constant(mask), mean).numpy()
    if mask.any():
        np.testing.assert_allclose(results[mask > 0].mean(), mean)
        ratio = results / values
        np.testing.assert_allclose(ratio, ratio[0])


def test_weights_of_zero():
    zeros, ones = tf.zeros(3), tf.ones(3)
    np.testing.assert_array_equal(rescaled(zeros, ones, 1.0), zeros)


@hypothesis.settings(max_examples=10, deadline=None)
@hypothesis.given(
    values=weights,
    mask=masks,
    gradient=npst.arrays("float64", 4, elements=st.floats(-1, 1)),
)
def test_the_gradient_is_that_of_finite_differences(values, mask, gradient):
    mask, step = tf.constant(mask), 1e-6

    def objective(values):
        results = rescaled(tf.constant(values), mask, 0.7)
        return float(tf.reduce_sum(results * gradient))

    expected = [
        (objective(values + step * e) - objective(values - step * e))
        / (2 * step)
        for e in np.eye(4)
    ]
    actual = rescaled_gradient(tf.constant(values), mask, 0.7, gradient)
    np.testing.assert_allclose(actual, expected, atol=1e-6)


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
