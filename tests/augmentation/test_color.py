import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from keras_influence.augmentation import color
from tests.cases.pillow import (
    assert_same_levels,
    images,
    pillow,
    random_images,
    settings,
)

factors = st.lists(st.floats(0.0, 2.0, width=32), min_size=4, max_size=4).map(
    lambda values: np.array(values, "float32")
)


@pytest.mark.parametrize("name", ["autocontrast", "equalize", "invert"])
@settings
@hypothesis.given(images=images)
def test_parameterless_operations_agree_with_pillow(name, images):
    expected = pillow(getattr(ImageOps, name), images)
    assert_same_levels(getattr(color, name)(images), expected, tolerance=0)


def test_every_stretch_agrees_with_pillow():
    levels = np.arange(256, dtype="uint8").reshape(1, 16, 16, 1)
    low, high = np.triu_indices(256, 1)
    images = np.clip(levels, *(x.reshape(-1, 1, 1, 1) for x in (low, high)))
    images = images.astype("uint8")
    assert_same_levels(
        color.autocontrast(images),
        pillow(ImageOps.autocontrast, images),
        tolerance=0,
    )


@pytest.mark.parametrize("name", ["brightness", "color", "contrast"])
@settings
@hypothesis.given(images=images, factors=factors)
def test_enhancers_agree_with_pillow(name, images, factors):
    enhancer = getattr(ImageEnhance, name.title())
    factors = factors[: len(images)]
    expected = pillow(lambda x, f: enhancer(x).enhance(f), images, factors)
    assert_same_levels(getattr(color, name)(images, factors), expected)


@settings
@hypothesis.given(images=images, amounts=factors)
def test_blend_agrees_with_pillow(images, amounts):
    amounts, ends = amounts[: len(images)], images[::-1]
    expected = pillow(
        lambda x, end, amount: Image.blend(x, Image.fromarray(end), amount),
        images,
        ends.squeeze(-1) if ends.shape[-1] == 1 else ends,
        amounts,
    )
    assert_same_levels(color.blend(images, ends, amounts), expected)


@pytest.mark.parametrize(
    ("name", "values"), [("posterize", range(1, 9)), ("solarize", range(257))]
)
def test_every_setting_agrees_with_pillow(name, values):
    images = random_images((len(values), 9, 7, 3))
    expected = pillow(getattr(ImageOps, name), images, values)
    actual = getattr(color, name)(images, np.array(values))
    assert_same_levels(actual, expected, tolerance=0)


def test_equalize_leaves_few_pixels_alone():
    images = random_images((3, 4, 4, 3))
    assert_same_levels(
        color.equalize(images), pillow(ImageOps.equalize, images), tolerance=0
    )


def test_two_channels_are_refused():
    with pytest.raises(ValueError, match="1 or 3 channels"):
        color.color(np.zeros((1, 4, 4, 2), "uint8"), [1.0])
