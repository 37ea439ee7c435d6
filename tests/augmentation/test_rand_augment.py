import numpy as np
import pytest
import tensorflow as tf

from benchmarks.pillow_recipes import rand_augment
from keras_influence.augmentation import RandAugment
from tests.cases.pillow import random_images

FILL = (125, 122, 113)


@pytest.mark.parametrize("variant", ["uda", "fixmatch"])
@pytest.mark.parametrize("num_ops", [1, 2])
def test_agrees_with_a_transcription_in_pillow(variant, num_ops):
    count = 1000
    images = random_images((count, 18, 20, 3), seed=num_ops)
    layer = RandAugment(num_ops, variant, cutout=0, fill=FILL)
    actual = np.array(layer(images, seed=(3, 4)))
    draws = tf.random.stateless_uniform((num_ops + 1, count, 6), (3, 4)).numpy()
    expected = np.stack(
        [
            rand_augment(images[i], variant, draws[:-1, i], FILL)
            for i in range(count)
        ]
    )
    gap = np.abs(actual.astype(int) - expected).max(axis=(1, 2, 3))
    # A second operation may magnify the one level of the first.
    assert np.mean(gap > 1) <= (0.0 if num_ops == 1 else 0.002)


def test_half_of_the_operations_are_skipped():
    images = random_images((4000, 6, 6, 3))
    layer = RandAugment(1, "uda", cutout=0)
    changed = np.any(np.array(layer(images)) != images, axis=(1, 2, 3))
    # Some operations leave an image as it is.
    assert 0.4 < changed.mean() < 0.5


def test_square_is_cut_out_last():
    images = np.full((500, 32, 32, 3), 200, "uint8")
    views = np.array(RandAugment(0, "fixmatch", cutout=16, fill=9)(images))
    cut = np.sum(np.all(views == 9, axis=-1), axis=(1, 2))
    assert cut.max() == 16 * 16
    assert cut.min() >= 8 * 8


def test_fill_is_exact_in_the_units_of_the_images():
    images = np.random.default_rng(0).uniform(-1, 1, (64, 32, 32, 3))
    views = np.array(RandAugment(2, "fixmatch", value_range=(-1, 1))(images))
    filled = np.all(views == 0.0, axis=(-1))
    assert np.all(filled.sum(axis=(1, 2)) >= 8 * 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "UDA"}, "one of .*Received: variant='UDA'"),
        ({"num_ops": -1}, "num_ops=-1"),
        ({"cutout": -1}, "cutout=-1"),
        ({"value_range": (1, 0)}, r"value_range=\(1, 0\)"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        RandAugment(**arguments)


@pytest.mark.parametrize("wrong", [1.5, "2", None])
def test_what_must_be_an_integer(wrong):
    with pytest.raises(ValueError, match="`num_ops` must be an integer"):
        RandAugment(num_ops=wrong)
