import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from keras_influence.weighting.signals import SIGNALS, Examples, observe

random = np.random.default_rng(0)
LOGITS = random.normal(size=(5, 3)).astype("float32")
EXAMPLES = Examples(
    index=np.arange(5),
    losses=tf.constant(random.uniform(size=5)),
    prediction=tf.constant(LOGITS),
    features=tf.constant(random.normal(size=(5, 2))),
    evidence=tf.constant(random.normal(size=5)),
    mean_loss=tf.constant(random.uniform(size=5)),
)
P = scipy.special.softmax(LOGITS, -1)
EXPECTED = {
    "loss": EXAMPLES.losses[:, None],
    "confidence": P.max(-1)[:, None],
    "entropy": scipy.stats.entropy(P, axis=-1)[:, None],
    "features": EXAMPLES.features,
    "evidence": np.arcsinh(EXAMPLES.evidence[:, None]),
    "mean_loss": EXAMPLES.mean_loss[:, None],
}


@pytest.mark.parametrize("name", SIGNALS)
def test_one_signal(name):
    found = observe([name], EXAMPLES)
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, EXPECTED[name], rtol=1e-5)


def test_signals_side_by_side_and_of_the_users_own():
    def double(examples):
        return 2 * examples.losses

    found = observe(["features", double, "entropy"], EXAMPLES)
    columns = EXPECTED["features"], 2 * EXPECTED["loss"], EXPECTED["entropy"]
    np.testing.assert_allclose(found, np.concatenate(columns, -1), rtol=1e-5)


def test_what_is_not_finite_is_zero():
    losses = tf.constant([1.0, np.nan, np.inf, -np.inf, 2.0])
    found = observe(["loss"], EXAMPLES._replace(losses=losses))
    np.testing.assert_array_equal(found[:, 0], [1.0, 0.0, 0.0, 0.0, 2.0])


def test_no_gradient_flows_through():
    logits = tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        examples = EXAMPLES._replace(prediction=logits)
        found = observe(["confidence", "entropy"], examples)
    assert tape.gradient(found, logits) is None


@pytest.mark.parametrize(
    "signal",
    [
        lambda examples: tf.reduce_mean(examples.losses),
        lambda examples: examples.prediction,
        lambda examples: examples.prediction[..., None],
    ],
)
def test_a_signal_that_is_no_number_an_example(signal):
    with pytest.raises(ValueError, match=r"in `signals` must return .* \(n,\)"):
        observe(["loss", signal], EXAMPLES)


def test_a_signal_in_a_column():
    both = observe([lambda e: e.losses, lambda e: e.losses[:, None]], EXAMPLES)
    np.testing.assert_array_equal(both[:, 0], both[:, 1])
