import numpy as np
import pytest
import tensorflow as tf

from keras_influence.models.training_loss import TrainingLoss
from keras_influence.models.training_metrics import Tally, TrainingMetrics
from keras_influence.solvers import Reason


def losses(labeled=2.0, unlabeled=4.0):
    return TrainingLoss(
        labeled=tf.constant(labeled),
        unlabeled=tf.constant(unlabeled),
        logits=None,
        examples=None,
        mask=tf.constant([1.0, 0.0, 0.0, 1.0]),
        weights=tf.constant([1.0, 1.0, 3.0, 3.0]),
        weight_gradients=lambda derivatives: [],
        parts=[],
        factors=(),
    )


def results(metrics):
    found = {}
    for metric in metrics.metrics:
        found |= {k: float(v) for k, v in metric.result().items()}
    assert list(found) == metrics.names
    return found


def test_means_over_steps_that_were_finite():
    metrics = TrainingMetrics(learns=False)
    metrics.step(losses(2.0), tf.constant(True))
    metrics.step(losses(3.0), tf.constant(True))
    metrics.step(losses(np.nan, np.inf), tf.constant(False))
    assert results(metrics) == {
        "labeled_loss": 2.5,
        "unlabeled_loss": 4.0,
        "mask_rate": 0.5,
        "weight_mean": 2.0,
        "weight_std": 1.0,
        "steps_skipped": 1.0,
    }


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("skipped_not_finite", Reason.NOT_FINITE),
        ("skipped_indefinite", Reason.NOT_POSITIVE_DEFINITE),
        ("skipped_diverged", Reason.DIVERGED),
    ],
)
def test_updates_and_why_they_were_skipped(name, reason):
    metrics = TrainingMetrics(learns=True)
    ok, failed = tf.constant(Reason.OK.value), tf.constant(reason.value)
    nan = tf.constant(np.nan)
    metrics.update(tf.constant(5.0), tf.constant(0.5), ok, tf.constant(True))
    metrics.update(nan, nan, failed, tf.constant(False))
    found = results(metrics)
    assert found["hypergradient_norm"] == 5.0
    assert found["solver_residual"] == 0.5
    assert found["updates_skipped"] == 1.0
    skipped = {k: v for k, v in found.items() if k.startswith("skipped_")}
    assert skipped == {**dict.fromkeys(skipped, 0.0), name: 1.0}


def test_numbers_that_are_not_finite_can_be_errors():
    metrics = TrainingMetrics(learns=True)
    metrics.step(losses(), tf.constant(True))
    metrics.assert_finite()
    diverged = tf.constant(Reason.DIVERGED.value)
    valid = tf.constant(False)
    metrics.update(tf.constant(1.0), tf.constant(0.0), diverged, valid)
    metrics.assert_finite()
    not_finite = tf.constant(Reason.NOT_FINITE.value)
    metrics.update(tf.constant(1.0), tf.constant(0.0), not_finite, valid)
    with pytest.raises(FloatingPointError, match="skipped_not_finite"):
        metrics.assert_finite()
    metrics = TrainingMetrics(learns=False)
    metrics.step(losses(), tf.constant(False))
    with pytest.raises(FloatingPointError, match="steps_skipped"):
        metrics.assert_finite()


def test_one_variable_holds_them_all():
    tally = Tally(("a", "b"), ("skipped",), name="tally")
    assert len(tally.variables) == 1
    tally.update_state(True, [1.0, 2.0], [1.0])
    tally.reset_state()
    found = {name: float(value) for name, value in tally.result().items()}
    assert found == {"a": 0.0, "b": 0.0, "skipped": 0.0}
