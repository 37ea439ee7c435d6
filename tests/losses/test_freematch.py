import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from keras_influence.losses import FreeMatch

CLASSES, SIZE, M, W_F = 4, 12, 0.6, 0.3


def one_hot_mean(p):
    return np.bincount(p.argmax(-1), minlength=CLASSES) / max(len(p), 1)


def normalized(numerator, denominator):
    with np.errstate(divide="ignore"):
        inverse = np.where(denominator > 0, 1 / denominator, 0)
    return numerator * inverse / np.sum(numerator * inverse)


class Published:
    """Equations 5 to 11 of the paper."""

    def __init__(self):
        self.tau = 1 / CLASSES
        self.p = self.h = np.full(CLASSES, 1 / CLASSES)

    def step(self, q):
        self.tau = M * self.tau + (1 - M) * q.max(-1).mean()
        self.p = M * self.p + (1 - M) * q.mean(0)
        self.h = M * self.h + (1 - M) * one_hot_mean(q)
        thresholds = self.p / self.p.max() * self.tau
        return q.max(-1) >= thresholds[q.argmax(-1)]

    def loss(self, strong, labels, mask):
        logs = scipy.special.log_softmax(strong, -1)
        losses = -logs[np.arange(SIZE), labels]
        kept = np.exp(logs)[mask]
        wanted = normalized(self.p, self.h)
        found = normalized(kept.mean(0), one_hot_mean(kept))
        fairness = np.sum(wanted * np.log(found + 1e-12))
        return np.mean(mask * losses) + W_F * fairness


def test_the_published_algorithm():
    random = np.random.default_rng(0)
    loss, published = FreeMatch(M, W_F), Published()
    loss.start(None, CLASSES, None)
    rates = []
    for _ in range(5):
        weak, strong = random.normal(size=(2, SIZE, CLASSES))
        q = scipy.special.softmax(weak, -1)
        mask = published.step(q)
        strong_tensor = tf.constant(strong)
        with tf.GradientTape() as tape:
            tape.watch(strong_tensor)
            logits = {"weak": tf.constant(weak), "strong": strong_tensor}
            loss.observe(logits, np.arange(SIZE))
            losses, kept = loss(logits)
            total = tf.reduce_mean(kept * losses)
        np.testing.assert_array_equal(kept, mask)
        gradient = tape.gradient(total, strong_tensor)
        labels, step = q.argmax(-1), 1e-6
        for place in np.ndindex(3, CLASSES):
            near = [strong.copy(), strong.copy()]
            near[0][place] -= step
            near[1][place] += step
            low, high = (published.loss(z, labels, mask) for z in near)
            expected = (high - low) / (2 * step)
            np.testing.assert_allclose(gradient[place], expected, atol=1e-6)
        rates.append(mask.mean())
    assert 0.1 < np.mean(rates) < 0.9
    np.testing.assert_allclose(
        loss.thresholds, published.p / published.p.max() * published.tau
    )


def test_no_example_that_is_sure():
    loss = FreeMatch(0.9)
    loss.start(None, 2, None)
    loss.state.assign(threshold=1.0)
    logits = {view: np.zeros((3, 2), "float32") for view in loss.views}
    loss.observe(logits, np.arange(3))
    losses, mask = loss(logits)
    np.testing.assert_array_equal(mask, np.zeros(3))
    np.testing.assert_allclose(losses, np.full(3, np.log(2)), rtol=1e-6)


@pytest.mark.parametrize("weight", [-1, float("inf"), float("nan")])
def test_a_fairness_weight_is_finite(weight):
    with pytest.raises(ValueError, match="`fairness_weight` must be at least"):
        FreeMatch(fairness_weight=weight)


@pytest.mark.parametrize("momentum", [-0.1, 1.0, float("nan")])
def test_a_momentum_is_below_1(momentum):
    with pytest.raises(ValueError, match=r"`momentum` must be in the range"):
        FreeMatch(momentum)
