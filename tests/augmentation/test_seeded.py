import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_influence.augmentation.seeded import SeededLayer


def draws(layer, count=4):
    return np.stack([layer.next_seed() for _ in range(count)])


def test_a_seed_fixes_the_draws():
    first, again, other = (SeededLayer(seed=s) for s in (3, 3, 4))
    ours = draws(first)
    assert ours.shape == (4, 2)
    assert ours.dtype == "int32"
    assert len(np.unique(ours, axis=0)) == 4
    np.testing.assert_array_equal(ours, draws(again))
    assert (ours != draws(other)).any()


def test_without_a_seed_keras_own_fixes_them():
    found = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        found.append(draws(SeededLayer()))
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


def test_a_given_seed_is_taken():
    layer = SeededLayer(seed=3)
    found = layer.next_seed(tf.constant([5, 6], "int64"))
    np.testing.assert_array_equal(found, [5, 6])
    assert found.dtype == "int32"
    np.testing.assert_array_equal(draws(layer), draws(SeededLayer(seed=3)))
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        layer.next_seed([1, 2, 3])


def test_configuration():
    assert SeededLayer.from_config(SeededLayer(seed=3).get_config()).seed == 3
