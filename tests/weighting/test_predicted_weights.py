import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_influence.weighting import (
    Examples,
    PredictedWeights,
    WeightNetwork,
)

SIZE = 6
LOSSES = tf.constant([0.5, -1.0, 2.0])
EXAMPLES = Examples(index=np.array([4, 0, 2]), losses=LOSSES, mask=tf.ones(3))


def linear(residual=False, signals="loss"):
    """`f(signals) = 2·signal`."""
    layer = keras.layers.Dense(1, use_bias=False)
    layer.build((None, 1))
    layer.set_weights([np.array([[2.0]])])
    return WeightNetwork(signals, layer, residual)


def made(network, **arguments):
    arguments = {"initial_weight": 0.3, "max_weight": 1.5, **arguments}
    weighting = PredictedWeights(network, SIZE, **arguments)
    weighting.build((None, 8))
    return weighting


def expected(outputs):
    """`1.5 max(0, 1.1 sigmoid(outputs + start) - 0.1)`, and 0.3 at 0."""
    start = np.log(0.3 / 0.8)
    sigmoid = 1 / (1 + np.exp(-(np.asarray(outputs) + start)))
    return 1.5 * np.maximum(1.1 * sigmoid - 0.1, 0)


def test_weights_are_a_sigmoid_from_the_start():
    found = made(linear())(EXAMPLES)
    np.testing.assert_allclose(found, expected(2 * LOSSES), rtol=1e-5)
    silent = EXAMPLES._replace(losses=tf.zeros(3))
    np.testing.assert_allclose(made(linear())(silent), 0.3, rtol=1e-5)


def test_a_weight_of_0_comes_back():
    weighting = made(linear())
    examples = EXAMPLES._replace(losses=tf.fill(3, -2.0))
    with tf.GradientTape() as tape:
        weights = weighting(examples)
    np.testing.assert_array_equal(weights, 0.0)
    [slope] = tape.gradient(weights, weighting.trainable_variables)
    # As if nothing were cut, by 1.5 · 1.1 · sigmoid' · loss.
    sigmoid = 1 / (1 + np.exp(4) * 0.8 / 0.3)
    each = 1.5 * 1.1 * sigmoid * (1 - sigmoid) * -2.0
    np.testing.assert_allclose(np.squeeze(slope), 3 * each, rtol=1e-4)


def test_a_number_of_ones_own_adds_before_the_sigmoid():
    weighting = made(linear(residual=True))
    weighting.residuals.assign(np.array([0, 2]), np.array([1.0, -3.0]))
    outputs = 2 * LOSSES + [0.0, 1.0, -3.0]
    np.testing.assert_allclose(weighting(EXAMPLES), expected(outputs), 1e-5)
    assert len(weighting.trainable_variables) == 2


def test_evidence_is_that_of_the_example():
    weighting = made(linear(signals="evidence"))
    np.testing.assert_allclose(weighting(EXAMPLES), 0.3, rtol=1e-5)
    for _ in range(4):
        weighting.after_update(EXAMPLES, tf.constant([1.0, -1.0, 0.0]))
    found = weighting(EXAMPLES)
    np.testing.assert_allclose(
        found, expected(2 * np.arcsinh([2, -2, 0])), rtol=1e-5
    )
    assert len(weighting.trainable_variables) == 1


def test_the_mean_loss_remembers():
    """What the last steps saw, and this one."""
    weighting = made(linear(signals="mean_loss"))
    np.testing.assert_allclose(weighting(EXAMPLES), expected(2 * LOSSES), 1e-5)
    weighting.after_step(EXAMPLES, tf.ones(3))
    none = EXAMPLES._replace(losses=tf.zeros(3))
    # The second loss counts a quarter more than the first, and so on.
    np.testing.assert_allclose(
        weighting(none), expected(2 * LOSSES / (1 + 1.25)), rtol=1e-5
    )
    weighting.after_step(none, tf.ones(3))
    np.testing.assert_allclose(
        weighting(none), expected(2 * LOSSES / (1 + 1.25 + 1.25**2)), rtol=1e-5
    )


def test_labels_of_clearly_lower_mean_loss_take_the_highest_weights():
    """Below half of it, counted from the lowest where that is negative."""
    # Mean losses of 0.5, -1.0 and 1.0, so that the network errs about two.
    examples = EXAMPLES._replace(losses=tf.constant([1.3, -2.6, 3.4]))
    layer = keras.layers.Dense(1, use_bias=False)
    layer.build((None, 2))
    layer.set_weights([np.array([[1.0], [-2.0]])])
    weighting = made(WeightNetwork(("loss", "mean_loss"), layer))
    weighting.after_step(EXAMPLES._replace(losses=-LOSSES), tf.ones(3))
    found = []
    for label in (None, np.array([0, 1, 1])):
        with tf.GradientTape() as tape:
            weights = weighting(examples._replace(label=label))
        [slopes] = tape.gradient(weights, weighting.trainable_variables)
        found.append((weights, slopes))
    (own, slopes), (weights, same) = found
    np.testing.assert_allclose(own, expected([0.3, -0.6, 1.4]), rtol=1e-5)
    _, middle, high = np.sort(own)
    np.testing.assert_allclose(
        weights, np.minimum(own, [middle, high, middle]), rtol=1e-6
    )
    # The derivative goes on as if there were no limit.
    np.testing.assert_array_equal(slopes, same)


@given(
    st.lists(
        st.tuples(
            st.integers(-50, 200) | st.just(float("nan")),
            st.floats(-3, 3, width=16),
            st.integers(-1, 2),
        ),
        min_size=1,
    )
)
def test_the_limit_is_that_of_the_documents(drawn):
    """`λ_u ← min(λ_u, λ₍ₖ₎)`, `k - 1` labels having less than half of `L_u`.

    Half is counted from the lowest where that is negative.
    """
    losses, outputs, labels = (
        np.array(part) for part in zip(*drawn, strict=True)
    )
    count = len(losses)
    layer = keras.layers.Dense(1, use_bias=False)
    layer.build((None, 2))
    layer.set_weights([np.array([[1.0], [0.0]])])
    signals = lambda examples: tf.constant(outputs, "float32"), "mean_loss"
    weighting = PredictedWeights(WeightNetwork(signals, layer), count, 0.3)
    weighting.build((None, 8))
    examples = Examples(
        index=np.arange(count),
        losses=tf.constant(losses, "float32"),
        mask=tf.ones(count),
    )
    own = weighting(examples).numpy()
    known = (labels >= 0) & np.isfinite(losses)
    ordered = np.sort(own[known])[::-1]
    lowest = min(losses[known], default=0)
    losses = losses - min(lowest, 0)
    limits = np.full(count, np.inf)
    for u in np.flatnonzero(known):
        lower = np.count_nonzero(losses[known] < losses[u] / 2)
        limits[u] = ordered[lower]
    found = weighting(examples._replace(label=labels))
    # What float32 keeps of a weight less a part of it.
    np.testing.assert_allclose(found, np.minimum(own, limits), atol=1e-6)


NUMBERS = np.array([-1, 0, -1, 1, 1])


@pytest.mark.parametrize("counts", [0.0, 1.0])
@pytest.mark.parametrize(
    "label",
    [NUMBERS, NUMBERS[:, None], np.eye(3)[NUMBERS] * (NUMBERS >= 0)[:, None]],
)
def test_examples_without_a_label_take_no_place(label, counts):
    """Their loss is 0, and no other weight is to pay for it.

    Nor where a loss counts them, by a label of the network's own.
    """
    with_labels = Examples(
        index=np.array([4, 0, 2]),
        losses=tf.constant([0.5, 2.0, 1.0]),
        mask=tf.ones(3),
        label=np.array([0, 1, 1]),
    )
    beside = Examples(
        index=np.array([1, 4, 3, 0, 2]),
        losses=tf.constant([0.0, 0.5, 0.0, 2.0, 1.0]),
        mask=tf.constant([counts, 1.0, counts, 1.0, 1.0]),
        label=label,
    )
    found = []
    for examples in (with_labels, beside):
        weighting = made(linear(signals="mean_loss"))
        for _ in range(2):
            weights = weighting(examples)
            weighting.after_step(examples, weights)
        found.append((weights.numpy(), weighting.quality()))
    (alone, quality), (weights, others) = found
    np.testing.assert_allclose(weights[[1, 3, 4]], alone, rtol=1e-6)
    np.testing.assert_allclose(others, quality, rtol=1e-6)
    np.testing.assert_array_equal(np.isnan(others), [0, 1, 0, 1, 0, 1])


def test_weights_that_start_alike_have_no_limit():
    weighting = made(WeightNetwork())
    examples = EXAMPLES._replace(
        logits={"weak": tf.zeros((3, 2))},
        prediction=tf.zeros((3, 2)),
        label=np.array([0, 1, 1]),
    )
    np.testing.assert_allclose(weighting(examples), 0.3, rtol=1e-6)


def test_quality_where_losses_are_negative():
    """From 0 to 1, in the order of the losses, as many doubted as before."""
    index, weights = np.arange(4), tf.constant([2.0, 2.0, 0.0, 0.0])
    found = []
    for lowest in (0.0, -0.2):
        weighting = PredictedWeights(linear(signals="mean_loss"), 4, 0.3)
        weighting.build((None, 8))
        losses = lowest + tf.constant([0.0, 0.1, 0.3, 0.7])
        examples = Examples(index=index, losses=losses)
        weighting.after_step(examples, weights)
        found.append(weighting.quality())
    np.testing.assert_allclose(*found, rtol=1e-5)
    np.testing.assert_array_equal(found[1] < 0.5, [0, 0, 1, 1])


def test_as_many_are_doubted_as_have_low_weights():
    """Those with the highest mean losses; no more is said of the unseen."""
    weighting = made(linear(signals="mean_loss"))
    index = np.array([5, 1, 4, 0])
    losses = tf.constant([0.2, 3.0, 0.0, 1.0])
    examples = Examples(index=index, losses=losses)
    for weights, doubted in (
        ([1.0, 1.0, 1.0, 1.0], []),
        ([0.1, 1.0, 1.0, 1.0], [1]),
        ([0.1, 1.0, 0.1, 1.0], [1, 0]),
        ([0.0, 0.0, 0.1, 0.0], [1, 0, 5]),
    ):
        weighting.after_step(examples, tf.constant(weights))
        quality = weighting.quality()
        np.testing.assert_array_equal(np.isnan(quality), [0, 0, 1, 1, 0, 0])
        np.testing.assert_array_equal(np.argsort(quality)[:4], [1, 0, 5, 4])
        assert set(np.flatnonzero(quality < 0.5)) == set(doubted)
        assert np.nanmin(quality) >= 0
        assert np.nanmax(quality) <= 1


def test_nothing_is_said_of_what_was_not_seen():
    quality = made(linear(signals="mean_loss")).quality()
    np.testing.assert_array_equal(quality, np.full(SIZE, np.nan))


def test_without_mean_losses_the_weight_says_all():
    weighting = made(linear())
    weighting.after_step(EXAMPLES, tf.constant([0.0, 0.75, 1.5]))
    quality = weighting.quality()
    half = np.mean([0.0, 0.75, 1.5, 0.3, 0.3, 0.3]) / 2
    weights = np.array([0.0, 0.75, 1.5])
    np.testing.assert_allclose(
        quality[[4, 0, 2]], weights / (weights + half), rtol=1e-6
    )


def test_the_weights_that_an_example_had_last():
    weighting = made(linear())
    np.testing.assert_allclose(weighting.values, np.full(SIZE, 0.3))
    weighting.after_step(EXAMPLES, tf.constant([1.0, 1.2, 1.4]))
    last = [1.2, 0.3, 1.4, 0.3, 1.0, 0.3]
    np.testing.assert_allclose(weighting.values, last)


def test_starting_elsewhere():
    weighting = made(linear())
    weighting.start(0.75)
    np.testing.assert_allclose(weighting.values, 0.75)
    silent = EXAMPLES._replace(losses=tf.zeros(3))
    np.testing.assert_allclose(weighting(silent), 0.75, rtol=1e-5)


def test_nothing_kept_of_single_examples():
    weighting = PredictedWeights(linear())
    weighting.build((None, 8))
    weighting.start(0.5)
    weighting.after_step(EXAMPLES, LOSSES)
    weighting.after_update(EXAMPLES, LOSSES)
    silent = EXAMPLES._replace(losses=tf.zeros(3))
    np.testing.assert_allclose(weighting(silent), 0.5, rtol=1e-5)
    with pytest.raises(ValueError, match="keeps no weights"):
        _ = weighting.values


@pytest.mark.parametrize(
    "network",
    [linear(True), linear(False, "evidence"), linear(False, "mean_loss")],
)
def test_what_needs_the_number_of_examples(network):
    with pytest.raises(ValueError, match="num_unlabeled=None"):
        PredictedWeights(network)


@pytest.mark.parametrize(
    "arguments",
    [
        {"initial_weight": 0.0},
        {"initial_weight": 1.5},
        {"initial_weight": np.ones(SIZE)},
        {"initial_weight": "1"},
        {"max_weight": None},
        {"max_weight": np.inf},
    ],
)
def test_weights_outside_their_range(arguments):
    with pytest.raises(ValueError, match="between 0 and it"):
        made(linear(), **arguments)


def test_configuration():
    weighting = made(linear(residual=True))
    copy = PredictedWeights.from_config(weighting.get_config())
    assert copy.get_config() == weighting.get_config()
    assert copy.residuals is not None
