import numpy as np
import scipy.special
import tensorflow as tf

from keras_influence.losses import FixMatch


def test_strong_view_learns_the_confident_class_of_the_weak_one():
    random = np.random.default_rng(0)
    weak, strong = random.normal(size=(2, 200, 4)) * 2
    losses, mask = FixMatch(confidence=0.6)({"weak": weak, "strong": strong})
    labels = weak.argmax(-1)
    logs = scipy.special.log_softmax(strong, -1)
    np.testing.assert_allclose(losses, -logs[np.arange(200), labels])
    highest = scipy.special.softmax(weak, -1).max(-1)
    np.testing.assert_array_equal(mask, highest >= 0.6)
    assert 20 < np.sum(mask) < 180


def test_confidence_itself_is_confident():
    logits = {"weak": np.zeros((1, 2)), "strong": np.zeros((1, 2))}
    _, mask = FixMatch(confidence=0.5)(logits)
    np.testing.assert_array_equal(mask, [1.0])


def test_no_gradient_flows_through_the_weak_view():
    logits = {
        "easy": tf.constant([[1.0, 3.0, 0.0]]),
        "hard": tf.constant([[1.0, 0.5, 2.0]]),
    }
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses, mask = FixMatch(views=("easy", "hard"))(logits)
        total = losses * mask + losses
    gradients = tape.gradient(total, logits)
    assert gradients["easy"] is None
    assert np.abs(gradients["hard"]).min() > 0
