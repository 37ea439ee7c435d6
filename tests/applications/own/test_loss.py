import keras
import numpy as np

import keras_influence as ki
from applications.own.loss import GivenOr


def test_each_loss_where_it_applies():
    random = np.random.default_rng(0)
    views = ("weak", "strong")
    logits = {v: random.normal(size=(6, 3)).astype("float32") for v in views}
    labels = np.array([0, -1, 2, -1, -1, 1])
    other = ki.losses.FixMatch(confidence=0.5)
    losses, mask = map(np.array, GivenOr(other)(logits, labels))
    known = labels >= 0
    given, _ = ki.losses.GivenLabels()(logits, labels)
    matched, confident = other(logits)
    np.testing.assert_allclose(losses[known], given[known])
    np.testing.assert_allclose(losses[~known], matched[~known])
    assert mask[known].all()
    np.testing.assert_array_equal(mask[~known], confident[~known])


def test_it_is_saved():
    loss = GivenOr(ki.losses.FixMatch(confidence=0.7))
    saved = keras.saving.serialize_keras_object(loss)
    again = keras.saving.deserialize_keras_object(saved)
    assert again.other.confidence == 0.7
    assert again.views == ("weak", "strong")
