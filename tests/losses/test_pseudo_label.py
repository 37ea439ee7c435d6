import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from keras_influence.losses import PseudoLabel


def test_cross_entropy_with_the_predicted_class():
    logits = np.random.default_rng(0).normal(size=(200, 4)) * 2
    losses, mask = PseudoLabel(confidence=0.6)({"original": logits})
    highest = scipy.special.softmax(logits, -1).max(-1)
    np.testing.assert_allclose(losses, -np.log(highest), rtol=1e-10)
    np.testing.assert_array_equal(mask, highest >= 0.6)
    assert 20 < np.sum(mask) < 180


def test_confidence_itself_is_confident():
    logits = np.zeros((1, 2))
    _, mask = PseudoLabel(confidence=0.5)({"original": logits})
    np.testing.assert_array_equal(mask, [1.0])


def test_gradient_is_that_of_a_fixed_label():
    logits = tf.constant([[1.0, 3.0, 0.0]], "float64")
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses, _ = PseudoLabel()({"original": logits})
    expected = scipy.special.softmax(logits, -1) - [0, 1, 0]
    np.testing.assert_allclose(tape.gradient(losses, logits), expected)


def test_one_of_several_views_must_be_chosen():
    logits = {v: np.eye(2) * (1 + (v == "b")) for v in ("a", "b")}
    with pytest.raises(ValueError, match="choose one with the argument `view`"):
        PseudoLabel()(logits)
    chosen, _ = PseudoLabel(view="b")(logits)
    only, _ = PseudoLabel()({"b": logits["b"]})
    np.testing.assert_array_equal(chosen, only)
