import hypothesis
import hypothesis.strategies as st
import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from benchmarks.pillow_recipes import BINS, ct_augment
from keras_influence.augmentation import CTAugment
from tests.cases.pillow import random_images


@pytest.mark.parametrize("depth", [1, 2])
def test_probe_agrees_with_a_transcription_in_pillow(depth):
    count = 1000
    images = random_images((count, 18, 20, 3), seed=depth)
    probes, drawn = CTAugment(depth).probe(images, seed=(5, 6))
    draws = tf.random.stateless_uniform((count, depth, 5), (5, 6)).numpy()
    expected = np.stack(
        [ct_augment(images[i], draws[i].tolist()) for i in range(count)]
    )
    gap = np.abs(np.array(probes).astype(int) - expected).max(axis=-1)
    different = np.mean(gap > 1, axis=(1, 2)) >= 0.01
    # A second operation may magnify the one level of the first.
    assert np.mean(different) <= (0.0 if depth == 1 else 0.002)
    operations = draws[..., 0] * 19
    np.testing.assert_array_equal(drawn["operations"], operations.astype(int))
    sizes = np.array([(*b, 1, 1)[:2] for b in BINS.values()])
    bins = draws[..., 1:3] * sizes[drawn["operations"]] * 0.999
    np.testing.assert_array_equal(drawn["bins"], bins.astype(int))


def test_rates_start_at_one_and_are_readable():
    rates = CTAugment().named_rates
    assert {name: [len(r) for r in rates[name]] for name in rates} == BINS
    assert all(
        np.all(r == 1.0) for parameter in rates.values() for r in parameter
    )


@hypothesis.settings(deadline=None, max_examples=30)
@hypothesis.given(
    seed=st.integers(0, 10**6),
    count=st.integers(0, 12),
    depth=st.integers(1, 3),
    decay=st.floats(0.1, 0.99),
)
def test_update_equals_one_step_after_the_other(seed, count, depth, decay):
    rng = np.random.default_rng(seed)
    layer = CTAugment(depth, decay=decay)
    start = rng.uniform(size=layer.rates.shape).astype("float32")
    layer.rates.assign(start)
    # Few distinct operations, so that probes meet in a bin.
    drawn = {
        "operations": rng.integers(9, 12, (count, depth), "int32"),
        "bins": rng.integers(0, 2, (count, depth, 2), "int32"),
    }
    labels = rng.integers(0, 4, count)
    probabilities = rng.dirichlet(np.ones(4), count)
    layer.update(drawn, labels, probabilities)

    expected, names = start.copy(), list(BINS)
    for i in range(count):
        error = np.abs(probabilities[i] - np.eye(4)[labels[i]]).sum()
        for j in range(depth):
            operation = int(drawn["operations"][i, j])
            for k, _ in enumerate(BINS[names[operation]]):
                cell = operation, k, int(drawn["bins"][i, j, k])
                expected[cell] *= decay
                expected[cell] += (1 - decay) * (1 - error / 2)
    for i, (name, bins) in enumerate(BINS.items()):
        for k, size in enumerate(bins):
            actual = layer.named_rates[name][k]
            np.testing.assert_allclose(actual, expected[i, k, :size], rtol=1e-5)


def test_update_works_in_a_compiled_function():
    eager, compiled = CTAugment(), CTAugment()
    _, drawn = eager.probe(random_images((8, 6, 6, 3)), (0, 1))
    arguments = drawn, np.arange(8) % 3, np.full((8, 3), 1 / 3, "float32")
    eager.update(*arguments)
    tf.function(compiled.update, jit_compile=True)(*arguments)
    assert np.any(np.array(eager.rates) != 1.0)
    np.testing.assert_allclose(eager.rates, compiled.rates, rtol=1e-6)


def test_predictions_that_are_not_finite_are_passed_over():
    layer, other = CTAugment(), CTAugment()
    _, drawn = layer.probe(random_images((4, 6, 6, 3)), (0, 1))
    probabilities = np.full((4, 2), 0.5, "float32")
    probabilities[2] = np.nan
    layer.update(drawn, [0, 1, 0, 1], probabilities)
    kept = {
        "operations": drawn["operations"].numpy()[[0, 1, 3]],
        "bins": drawn["bins"].numpy()[[0, 1, 3]],
    }
    other.update(kept, [0, 1, 1], probabilities[[0, 1, 3]])
    np.testing.assert_array_equal(layer.rates, other.rates)


def test_update_refuses_one_hot_labels():
    layer = CTAugment()
    _, drawn = layer.probe(random_images((2, 6, 6, 3)))
    with pytest.raises(ValueError, match=r"labels of shape \(n,\)"):
        layer.update(drawn, np.eye(2), np.eye(2))


def gray_of_constant_images(layer, count):
    images = np.full((count, 8, 8, 3), 100, "uint8")
    return np.array(layer(images))[:, 4, 4, 0]


def test_bins_are_drawn_in_proportion_above_the_threshold():
    layer = CTAugment(depth=1, cutout=0)
    rates = np.ones(layer.rates.shape, "float32")
    # Of brightness' bins: 0 and 1 above the threshold, 2 just below it.
    rates[2, 0] = 0.0
    rates[2, 0, :3] = [0.99, 0.84, 0.78]
    layer.rates.assign(rates)
    gray = gray_of_constant_images(layer, 60000)
    # Only brightness makes this image darker than 60, but for black corners.
    dark = gray[(gray > 0) & (gray < 60)]
    # Bin 0 goes from 10 to 21.2, bin 1 to 32.4; the level 21 is in both.
    counts = [np.sum(dark < 21), np.sum(dark > 21)]
    assert dark.max() == 32
    expected = np.array([1.0 * 11.0, 0.85 * 10.353])
    expected *= sum(counts) / sum(expected)
    assert scipy.stats.chisquare(counts, expected).pvalue > 1e-3


def test_mid_gray_square_is_cut_out_last():
    images = np.full((200, 32, 32, 3), 255, "uint8")
    views = np.array(CTAugment(depth=1, cutout=16)(images))
    cut = np.sum(np.all(views == 127, axis=-1), axis=(1, 2))
    assert cut.min() >= 8 * 8


def test_a_pipeline_sees_updated_rates():
    layer = CTAugment(depth=1, cutout=0)
    images = tf.constant(np.full((2000, 8, 8, 3), 100, "uint8"))
    batches = iter(tf.data.Dataset.from_tensors(images).repeat().map(layer))

    def dimmed():
        gray = next(batches)[:, 4, 4, 0]
        return np.mean((gray > 22) & (gray < 60))

    assert dimmed() > 0.005
    lowest = np.zeros(layer.rates.shape, "float32")
    lowest[..., 0] = 1.0
    layer.rates.assign(lowest)
    for _ in range(16):  # What tf.data has prefetched on its own account.
        next(batches)
    assert dimmed() == 0.0


def test_probe_is_ready_for_a_pipeline():
    layer = CTAugment(depth=1)
    labels = np.arange(8)
    data = tf.data.Dataset.from_tensor_slices(
        (random_images((8, 9, 9, 3)), labels)
    )
    data = data.batch(4).map(lambda x, y: (*layer.probe(x), y))
    for probes, drawn, labels in data:
        assert probes.shape == (4, 9, 9, 3)
        layer.update(drawn, labels, np.full((4, 8), 1 / 8))
    assert np.any(np.array(layer.rates) < 1.0)


def test_rates_are_saved_and_restored_with_a_model(tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 3)), CTAugment()])
    rates = np.random.default_rng(0).uniform(size=model.layers[0].rates.shape)
    model.layers[0].rates.assign(rates)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(restored.layers[0].rates, np.float32(rates))
    assert not model.trainable_weights


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 0}, "depth=0"),
        ({"cutout": -1}, "cutout=-1"),
        ({"decay": 1.0}, "decay=1.0"),
        ({"threshold": 1.5}, "threshold=1.5"),
        ({"value_range": (255, 0)}, r"value_range=\(255, 0\)"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        CTAugment(**arguments)


@pytest.mark.parametrize("wrong", [1.5, "2", None])
def test_what_must_be_an_integer(wrong):
    with pytest.raises(ValueError, match="`depth` must be an integer"):
        CTAugment(depth=wrong)
