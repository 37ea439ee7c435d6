import numpy as np
import pytest

from applications import image_views

X = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3)).astype("uint8")
SEED = np.array([1, 2], "int32")


@pytest.mark.parametrize(
    "view",
    [
        image_views.weak_augment(),
        image_views.rand_augment(fill=[100.5, 50.25, 10.0], cutout=8),
        image_views.rand_augment(variant="fixmatch"),
        image_views.ct_augment(),
    ],
)
def test_views_are_functions_of_the_seed(view):
    first, again = view(X, SEED).numpy(), view(X, SEED).numpy()
    np.testing.assert_array_equal(first, again)
    assert first.shape == X.shape
    assert first.dtype == "float32"
    assert np.any(view(X, SEED + 1).numpy() != first)
    assert first.min() >= 0
    assert first.max() <= 255


def test_uda_blanks_with_exactly_the_mean():
    fill = np.array([100.5, 50.25, 10.125], "float32")
    view = image_views.rand_augment(shift=0, fill=fill.tolist(), cutout=8)
    blank = np.all(view(X, SEED).numpy() == fill, axis=-1)
    assert np.mean(np.any(blank, axis=(1, 2))) == 1


def test_weak_views_draw_independently():
    weak = image_views.weak_augment()
    strong = image_views.rand_augment(num_ops=0, cutout=0)
    same = weak(X, SEED).numpy() == strong(X, SEED).numpy()
    assert np.mean(np.all(same, axis=(1, 2, 3))) < 0.2


def test_svhn_is_not_mirrored():
    view = image_views.weak_augment(flip=False, shift=0)
    np.testing.assert_array_equal(view(X, SEED), X)
