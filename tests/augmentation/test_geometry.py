import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from PIL import Image

from keras_influence.augmentation import geometry
from tests.cases.pillow import (
    assert_same_levels,
    images,
    pillow,
    random_images,
    settings,
)

MATRICES = {
    "shear_x": lambda v: (1, v, 0, 0, 1, 0),
    "shear_y": lambda v: (1, 0, 0, v, 1, 0),
    "translate_x": lambda v: (1, 0, v, 0, 1, 0),
    "translate_y": lambda v: (1, 0, 0, 0, 1, v),
}


def transformed(name):
    return lambda image, value: image.transform(
        image.size, Image.AFFINE, MATRICES[name](value), Image.NEAREST
    )


def assert_same_pixels(actual, expected):
    """Under 1 % of the pixels may differ."""
    different = np.any(np.asarray(actual) != expected, axis=-1)
    assert different.mean() < 0.01


@pytest.mark.parametrize("name", list(MATRICES))
@settings
@hypothesis.given(images=images, value=st.floats(-1.0, 1.0, width=32))
def test_affine_operations_agree_with_pillow(name, images, value):
    largest = 0.3 if "shear" in name else 12.0
    values = np.linspace(value, -value, len(images), dtype="float32") * largest
    expected = pillow(transformed(name), images, values)
    assert_same_pixels(getattr(geometry, name)(images, values), expected)


@pytest.mark.parametrize("name", list(MATRICES))
def test_magnitudes_of_randaugment_agree_to_the_pixel(name):
    values = np.arange(-9, 10) * (0.03 if "shear" in name else 1)
    images = random_images((len(values), 32, 32, 3))
    expected = pillow(transformed(name), images, values)
    actual = getattr(geometry, name)(images, values)
    assert_same_levels(actual, expected, tolerance=0)


@pytest.mark.parametrize("size", [(32, 32), (28, 28), (17, 30)])
def test_whole_degrees_agree_to_the_pixel(size):
    degrees = np.arange(-45, 46)
    images = random_images((len(degrees), *size, 3))
    expected = pillow(lambda x, d: x.rotate(int(d)), images, degrees)
    actual = geometry.rotate(images, degrees)
    assert_same_levels(actual, expected, tolerance=0)


@pytest.mark.parametrize("method", range(6))
@settings
@hypothesis.given(images=images, margin=st.floats(0.0, 0.25, width=32))
def test_rescale_agrees_with_pillow(method, images, margin):
    names = ["LANCZOS", "BICUBIC", "BILINEAR", "BOX", "HAMMING", "NEAREST"]
    resample = getattr(Image.Resampling, names[method])
    margins = np.linspace(margin, 0.25 - margin, len(images), dtype="float32")

    def rescaled(image, margin):
        w, h = image.size
        margin = float(margin)
        box = (margin * w, margin * h, w * (1 - margin), h * (1 - margin))
        return image.crop(box).resize(image.size, resample)

    expected = pillow(rescaled, images, margins)
    methods = np.full(len(images), method, "int32")
    actual = geometry.rescale(images, margins, methods)
    if method in (3, 5):
        assert_same_pixels(actual, expected)
    else:
        assert_same_levels(actual, expected)
