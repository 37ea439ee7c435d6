"""Random images, and Pillow's answer to compare with."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
from PIL import Image


def random_images(shape=(4, 12, 12, 3), seed=0):
    """Images of every contrast, from one constant color to full range."""
    rng = np.random.default_rng(seed)
    ends = np.sort(rng.integers(0, 256, (2, shape[0], 1, 1, shape[-1])), 0)
    noise = rng.uniform(size=shape) ** rng.uniform(0.2, 5.0)
    return np.round(ends[0] + (ends[1] - ends[0]) * noise).astype("uint8")


# The first call of an operation is slow.
settings = hypothesis.settings(deadline=None, max_examples=30)

shapes = st.tuples(
    st.integers(1, 4),
    st.integers(5, 33),
    st.integers(5, 33),
    st.sampled_from([1, 3]),
)
images = st.builds(random_images, shapes, st.integers(0, 10**6))


def pillow(operation, images, *arguments):
    """`operation(image, *row of the arguments)` on every image, stacked."""
    results = []
    for image, *row in zip(images, *arguments, strict=True):
        image = Image.fromarray(
            image.squeeze(-1) if image.shape[-1] == 1 else image
        )
        results.append(np.asarray(operation(image, *row)))
    return np.reshape(results, images.shape)


def assert_same_levels(actual, expected, tolerance=1):
    """Gray levels agree; `tolerance` levels may lie between them."""
    actual = np.asarray(actual)
    assert actual.dtype == np.uint8
    gap = np.abs(actual.astype(int) - expected.astype(int))
    assert gap.max(initial=0) <= tolerance
