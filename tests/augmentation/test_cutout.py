import numpy as np
import pytest
import scipy.stats

from keras_influence.augmentation import Cutout
from keras_influence.augmentation.cutout import cutout


@pytest.mark.parametrize("size", [0, 1, 4, 5, 20])
def test_square_at_every_center_is_clipped_at_the_border(size):
    h, w = 7, 5
    centers = np.array([(y, x) for y in range(h) for x in range(w)])
    images = np.random.default_rng(0).uniform(size=(h * w, h, w, 3))
    expected = images.copy()
    for image, (y, x) in zip(expected, centers - size // 2, strict=True):
        image[max(0, y) : max(0, y + size), max(0, x) : max(0, x + size)] = 7
    actual = cutout(images, size, (centers + 0.5) / (h, w), 7)
    np.testing.assert_array_equal(actual, expected)


def test_centers_are_uniform():
    images = np.zeros((8000, 4, 4, 1), "uint8")
    places = np.argwhere(np.array(Cutout(1, fill=9)(images, seed=(0, 1))) == 9)
    assert len(places) == 8000
    counts = np.bincount(places[:, 1] * 4 + places[:, 2], minlength=16)
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_fill_is_one_color():
    images = np.ones((2, 4, 4, 3), "float32")
    cut = Cutout(16, fill=(0.1, 0.2, 0.3))(images)
    expected = np.broadcast_to(np.float32([0.1, 0.2, 0.3]), images.shape)
    np.testing.assert_array_equal(cut, expected)


def test_fill_needs_one_value_a_channel():
    with pytest.raises(ValueError, match=r"one per channel \(3 here\)"):
        Cutout(fill=(0, 0))(np.ones((2, 4, 4, 3)))


def test_negative_size_is_refused():
    with pytest.raises(ValueError, match="size=-1"):
        Cutout(-1)


@pytest.mark.parametrize("wrong", [1.5, "2", None])
def test_what_must_be_an_integer(wrong):
    with pytest.raises(ValueError, match="`size` must be an integer"):
        Cutout(size=wrong)
