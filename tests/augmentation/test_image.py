"""What every image augmentation layer promises."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_influence.augmentation import (
    CTAugment,
    Cutout,
    RandAugment,
    WeakAugment,
)
from tests.cases.pillow import random_images

LAYERS = {
    "weak": lambda **kwargs: WeakAugment(**kwargs),
    "cutout": lambda **kwargs: Cutout(6, **kwargs),
    "rand": lambda **kwargs: RandAugment(1, **kwargs),
    "ct": lambda **kwargs: CTAugment(1, **kwargs),
}
# One operation an image, since building their graphs takes the time here.
IMAGES = random_images((40, 20, 16, 3))
SEED = np.array([7, 8], "int32")


@pytest.fixture(params=list(LAYERS))
def make(request):
    return LAYERS[request.param]


def equal(a, b):
    return np.array_equal(np.array(a), np.array(b))


def test_result_is_a_function_of_images_and_seed(make):
    expected = make()(IMAGES, seed=SEED)
    assert equal(make()(IMAGES, seed=SEED), expected)
    assert equal(make()(IMAGES, seed=(7, 8)), expected)
    assert not equal(make()(IMAGES, seed=SEED + 1), expected)


def test_graph_agrees_with_eager(make):
    layer = make()
    graph = tf.function(
        lambda x, s: layer(x, seed=s),
        input_signature=[
            tf.TensorSpec((None, None, None, 3), tf.uint8),
            tf.TensorSpec((2,), tf.int32),
        ],
    )
    assert equal(graph(IMAGES, SEED), layer(IMAGES, seed=SEED))


@pytest.mark.parametrize("name", ["weak", "cutout"])
def test_compiles_with_xla(name):
    layer = LAYERS[name]()
    compiled = tf.function(lambda s: layer(IMAGES, seed=s), jit_compile=True)
    assert equal(compiled(SEED), compiled(SEED))
    assert not equal(compiled(SEED), compiled(SEED + 1))


def test_every_call_without_a_seed_draws_anew(make):
    layer = make(seed=3)
    first, second = layer(IMAGES), layer(IMAGES)
    assert not equal(first, second)
    assert equal(make(seed=3)(IMAGES), first)


def test_set_random_seed_fixes_the_draws(make):
    keras.utils.set_random_seed(5)
    first = make()(IMAGES)
    keras.utils.set_random_seed(5)
    assert equal(make()(IMAGES), first)


def test_every_image_is_drawn_for(make):
    views = np.array(make()(np.repeat(IMAGES[:1], 40, 0)))
    assert len(np.unique(views.reshape(40, -1), axis=0)) > 25


def test_parallel_pipeline_never_repeats_a_draw(make):
    layer = make()
    data = tf.data.Dataset.from_tensors(IMAGES).repeat(60)
    data = data.map(layer, num_parallel_calls=4)
    assert data.element_spec.shape[1:] == (20, 16, 3)
    views = np.stack([batch.numpy() for batch in data]).reshape(60, -1)
    assert len(np.unique(views, axis=0)) == 60


def test_pipeline_with_seeds_repeats_itself(make):
    layer = make()
    seeds = tf.data.Dataset.random(1).batch(2, drop_remainder=True)
    images = tf.data.Dataset.from_tensor_slices(IMAGES).batch(16)
    data = tf.data.Dataset.zip(images, seeds).map(
        lambda x, seed: layer(x, seed=seed), num_parallel_calls=2
    )
    for first, second in zip(data, data, strict=True):
        assert equal(first, second)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int32", "float16", "bfloat16", "float32", "float64"]
)
def test_dtype_is_kept(make, dtype):
    layer = make()
    views = layer(keras.ops.cast(IMAGES, dtype), seed=SEED)
    assert keras.backend.standardize_dtype(views.dtype) == dtype
    gap = np.array(keras.ops.cast(views, "float32"))
    gap -= np.array(layer(IMAGES, seed=SEED))
    # Mid-gray is 127.5, whole levels in integers; bfloat16 rounds it to 128.
    assert np.abs(gap).max() <= 1.0


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_precision_policy_changes_nothing(make, policy):
    images = IMAGES.astype("float32")
    expected = make()(images, seed=SEED)
    actual = make(dtype=policy)(images, seed=SEED)
    assert actual.dtype == expected.dtype
    assert equal(actual, expected)


@pytest.mark.parametrize("name", ["rand", "ct"])
def test_value_range_is_a_change_of_units(name):
    images = IMAGES.astype("float32")
    expected = LAYERS[name]()(images, seed=SEED)
    layer = LAYERS[name](value_range=(-1, 1))
    actual = layer(images / 127.5 - 1, seed=SEED)
    np.testing.assert_allclose((actual + 1) * 127.5, expected, atol=1e-3)


@pytest.mark.parametrize("shape", [(0, 12, 12, 3), (3, 12, 9, 1)])
def test_unusual_shapes(make, shape):
    images = np.ones(shape, "uint8")
    assert make()(images).shape == shape


def test_inference_leaves_images_alone(make):
    assert equal(make()(IMAGES, training=False), IMAGES)


@pytest.mark.parametrize(
    "layer",
    [
        WeakAugment(False, 2, seed=4),
        Cutout(6, (1, 2, 3), seed=4),
        RandAugment(1, "fixmatch", 4, (1, 2, 3), (0, 100), seed=4),
        CTAugment(1, 0.9, 0.5, 4, (0, 100), seed=4),
    ],
    ids=lambda layer: layer.name,
)
def test_every_argument_is_saved(layer, tmp_path):
    model = keras.Sequential([keras.Input((20, 16, 3)), layer])
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    names = set(inspect.signature(type(layer)).parameters) - {"kwargs"}
    for name in names:
        assert equal(getattr(restored.layers[0], name), getattr(layer, name))
    images = IMAGES.astype("float32")
    assert equal(restored(images, training=True), model(images, training=True))
    assert equal(model.predict(images, verbose=0), images)


def test_trains_inside_a_model(make):
    layers = keras.layers
    model = keras.Sequential(
        [make(), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(2)]
    )
    model.compile("sgd", "mse")
    images = IMAGES.astype("float32")
    history = model.fit(images, np.zeros((40, 2)), batch_size=16, verbose=0)
    assert np.isfinite(history.history["loss"][0])


def test_an_image_without_a_batch_is_refused(make):
    with pytest.raises(ValueError, match=r"`map` after `batch`"):
        make()(IMAGES[0])


def test_a_seed_is_two_integers(make):
    with pytest.raises(ValueError, match=r"seed of shape \(3,\)"):
        make()(IMAGES, seed=(1, 2, 3))


@pytest.mark.parametrize("low", [0, -1])
@pytest.mark.parametrize("name", ["rand", "ct"])
def test_fractions_are_no_gray_levels(name, low):
    images = (low + IMAGES / 255 * (1 - low)).astype("float32")
    with pytest.raises(tf.errors.InvalidArgumentError, match="`value_range`"):
        LAYERS[name]()(images)
    LAYERS[name](value_range=(low, 1))(images)
    # What is dark, or has no fractions, may well be gray levels.
    LAYERS[name]()(1.5 * np.maximum(images, 0))
    LAYERS[name]()(np.round(np.maximum(images, 0)))


def test_integers_are_gray_levels():
    with pytest.raises(ValueError, match=r"value_range=\(0, 1\)"):
        RandAugment(value_range=(0, 1))(IMAGES)


def test_levels_above_white_are_white():
    """As those of floats are."""
    levels = np.array([-3, 0, 255, 256, 300, 4095]).reshape(1, 1, 6, 1)
    layer = RandAugment(num_ops=0, cutout=0)
    found = [np.array(layer(levels.astype(t))) for t in ("int16", "float32")]
    np.testing.assert_array_equal(found[0].ravel(), [0, 0, 255, 255, 255, 255])
    np.testing.assert_array_equal(*found)
