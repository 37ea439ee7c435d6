import numpy as np
import pytest
import tensorflow as tf

from applications import views

IMAGES = np.random.default_rng(0).uniform(0.1, 1, (16, 8, 8, 1)).astype("f4")
SEED = tf.constant([1, 2])


def shifted(image, down, right):
    padded = np.pad(image, [(1, 1), (1, 1), (0, 0)])
    return padded[1 - down : 9 - down, 1 - right : 9 - right]


def test_shift_moves_every_image_on_its_own():
    moved = views.shift(1)(tf.constant(IMAGES), SEED).numpy()
    offsets = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
    found = set()
    for image, view in zip(IMAGES, moved, strict=True):
        matches = [
            o for o in offsets if np.array_equal(shifted(image, *o), view)
        ]
        assert len(matches) == 1
        found.update(matches)
    assert len(found) > 4


def test_no_shift_is_the_identity():
    moved = views.shift(0)(tf.constant(IMAGES), SEED)
    np.testing.assert_array_equal(moved, IMAGES)


def test_cutout_blanks_one_square_in_each_image():
    view = views.shift_noise_cutout(pixels=0, noise=0.0, size=3)
    out = view(tf.constant(IMAGES), SEED).numpy()
    blank = out == 0
    assert (blank.sum((1, 2, 3)) == 9).all()
    rows, columns = blank.any((2, 3)), blank.any((1, 3))
    assert (rows.sum(1) == 3).all()
    assert (columns.sum(1) == 3).all()
    np.testing.assert_array_equal(out[~blank], IMAGES[~blank])
    assert len({tuple(r) for r in rows}) > 2


def test_noise_has_the_size_asked_for():
    view = views.shift_noise_cutout(pixels=0, noise=0.2, size=0)
    noise = view(tf.constant(IMAGES), SEED).numpy() - IMAGES
    assert noise.std() == pytest.approx(0.2, rel=0.1)
    assert abs(noise.mean()) < 0.02


@pytest.mark.parametrize("make", [views.shift, views.shift_noise_cutout])
def test_a_view_is_a_function_of_its_seed(make):
    view = tf.function(make())
    images = tf.constant(IMAGES)
    np.testing.assert_array_equal(view(images, SEED), view(images, SEED))
    assert not np.array_equal(view(images, SEED), view(images, SEED + 1))
