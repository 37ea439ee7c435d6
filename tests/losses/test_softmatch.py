import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from keras_influence.losses import SoftMatch

CLASSES, SIZE, M = 3, 10, 0.7


class Published:
    """Equations 4 to 9 of the paper, with `k` standard deviations."""

    def __init__(self, k, alignment):
        self.k, self.alignment = k, alignment
        self.mean, self.variance, self.expected = 1 / CLASSES, 1.0, None

    def step(self, q):
        if self.expected is None:
            self.expected = q.mean(0)
        else:
            self.expected = M * self.expected + (1 - M) * q.mean(0)
        if self.alignment:
            q = q / CLASSES / self.expected
            q = q / q.sum(-1, keepdims=True)
        highest = q.max(-1)
        self.mean = M * self.mean + (1 - M) * highest.mean()
        self.variance = M * self.variance + (1 - M) * highest.var(ddof=1)
        gauss = np.exp(
            -((highest - self.mean) ** 2) * self.k**2 / (2 * self.variance)
        )
        return np.where(highest < self.mean, gauss, 1.0)


@pytest.mark.parametrize("alignment", [True, False])
@pytest.mark.parametrize("k", [1.0, 2.0])
def test_the_published_algorithm(k, alignment):
    random = np.random.default_rng(0)
    loss, published = SoftMatch(M, k, alignment), Published(k, alignment)
    loss.start(None, CLASSES, None)
    for _ in range(6):
        weak, strong = 2 * random.normal(size=(2, SIZE, CLASSES))
        logits = {"weak": weak, "strong": strong}
        loss.observe(logits, np.arange(SIZE))
        losses, mask = loss(logits)
        expected = published.step(scipy.special.softmax(weak, -1))
        np.testing.assert_allclose(mask, expected, rtol=2e-5)
        logs = scipy.special.log_softmax(strong, -1)
        expected = -logs[np.arange(SIZE), weak.argmax(-1)]
        np.testing.assert_allclose(losses, expected)
    assert 0 < np.sum(mask < 0.99) < SIZE


def test_no_gradient_flows_through_the_mask():
    loss = SoftMatch(M)
    loss.start(None, CLASSES, None)
    weak = tf.constant([[1.0, 3.0, 0.0], [0.0, 0.1, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(weak)
        logits = {"weak": weak, "strong": tf.zeros((2, 3))}
        loss.observe(logits, np.arange(2))
        losses, mask = loss(logits)
        total = losses * mask
    assert tape.gradient(total, weak) is None


@pytest.mark.parametrize("deviations", [0, -1, float("inf"), float("nan")])
def test_deviations_are_positive(deviations):
    with pytest.raises(ValueError, match="`deviations` must be positive"):
        SoftMatch(deviations=deviations)
