import numpy as np
import pytest
import scipy.stats

from keras_influence.augmentation import WeakAugment


def views(image, shift, flips):
    """Every view of one image: pad by reflection, crop, mirror before."""
    h, w = image.shape[:2]
    return [
        np.pad(
            source, ((shift, shift), (shift, shift), (0, 0)), mode="reflect"
        )[y : y + h, x : x + w]
        for source in ([image, image[:, ::-1]] if flips else [image])
        for y in range(2 * shift + 1)
        for x in range(2 * shift + 1)
    ]


@pytest.mark.parametrize(("flip", "shift"), [(True, 1), (False, 4), (True, 0)])
def test_every_view_is_equally_likely(flip, shift):
    image = np.random.default_rng(0).uniform(size=(11, 10, 1))
    expected = np.stack(views(image, shift, flip))
    images = np.repeat(image[None], 100 * len(expected), 0)
    actual = np.array(WeakAugment(flip, shift)(images, seed=(1, 2)))
    same = np.all(actual[:, None] == expected, axis=(2, 3, 4))
    assert np.all(same.sum(1) == 1)
    pvalue = (
        1.0 if len(expected) == 1 else scipy.stats.chisquare(same.sum(0)).pvalue
    )
    assert pvalue > 1e-3


def test_shift_must_be_smaller_than_the_images():
    with pytest.raises(ValueError, match="shift=4, images of shape"):
        WeakAugment()(np.zeros((2, 4, 8, 3)))


def test_negative_shift_is_refused():
    with pytest.raises(ValueError, match="shift=-1"):
        WeakAugment(shift=-1)


@pytest.mark.parametrize("wrong", [1.5, "2", None])
def test_what_must_be_an_integer(wrong):
    with pytest.raises(ValueError, match="`shift` must be an integer"):
        WeakAugment(shift=wrong)
