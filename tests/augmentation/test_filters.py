import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from PIL import ImageEnhance, ImageFilter

from keras_influence.augmentation import filters
from tests.cases.pillow import assert_same_levels, images, pillow, settings


@pytest.mark.parametrize("name", ["blur", "smooth"])
@settings
@hypothesis.given(images=images)
def test_filters_agree_with_pillow(name, images):
    kernel = getattr(ImageFilter, name.upper())
    expected = pillow(lambda x: x.filter(kernel), images)
    assert_same_levels(getattr(filters, name)(images), expected)


@settings
@hypothesis.given(images=images, factor=st.floats(0.0, 2.0, width=32))
def test_sharpness_agrees_with_pillow(images, factor):
    factors = np.linspace(factor, 2.0 - factor, len(images), dtype="float32")
    expected = pillow(
        lambda x, f: ImageEnhance.Sharpness(x).enhance(f), images, factors
    )
    # One level of the smoothed image counts |1 - factor| times, at most once.
    assert_same_levels(filters.sharpness(images, factors), expected)
