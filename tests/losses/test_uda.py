import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from keras_influence.losses import UDA


def views(n=200, classes=4):
    weak, strong = np.random.default_rng(0).normal(size=(2, n, classes)) * 2
    return {"weak": weak, "strong": strong}


def softmax(logits):
    return scipy.special.softmax(logits, -1)


@pytest.mark.parametrize("temperature", [None, 0.4, 2.0])
def test_divergence_from_the_sharpened_original(temperature):
    logits = views()
    losses, mask = UDA(temperature=temperature)(logits)
    target = softmax(logits["weak"] / (temperature or 1))
    expected = scipy.stats.entropy(target, softmax(logits["strong"]), axis=-1)
    np.testing.assert_allclose(losses, expected, rtol=1e-10)
    np.testing.assert_array_equal(mask, np.ones(200))


def test_extreme_logits_stay_finite():
    logits = tf.constant([[3e4, 0.0, -3e4]])
    losses, _ = UDA(temperature=0.1)({"weak": logits, "strong": -logits})
    np.testing.assert_allclose(losses, [6e4])


def test_mask_sees_the_original_before_sharpening():
    logits = views()
    _, mask = UDA(temperature=0.1, confidence=0.6)(logits)
    np.testing.assert_array_equal(mask, softmax(logits["weak"]).max(-1) > 0.6)
    assert 20 < np.sum(mask) < 180


def test_confidence_itself_is_not_confident():
    logits = {"weak": np.zeros((1, 2)), "strong": np.zeros((1, 2))}
    _, mask = UDA(confidence=0.5)(logits)
    np.testing.assert_array_equal(mask, [0.0])


def test_gradient_is_that_of_the_cross_entropy():
    logits = {v: tf.constant(x) for v, x in views(5).items()}
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses, _ = UDA(temperature=0.5)(logits)
    gradients = tape.gradient(losses, logits)
    assert gradients["weak"] is None
    expected = softmax(logits["strong"]) - softmax(logits["weak"] / 0.5)
    np.testing.assert_allclose(gradients["strong"], expected, atol=1e-12)


def test_entropy_ignores_the_mask():
    logits = views()
    divergence, confident = UDA(confidence=0.6)(logits)
    losses, mask = UDA(confidence=0.6, entropy_weight=0.1)(logits)
    entropy = scipy.stats.entropy(softmax(logits["weak"]), axis=-1)
    np.testing.assert_allclose(
        mask * losses, confident * divergence + 0.1 * entropy, rtol=1e-10
    )


def test_entropy_pulls_on_the_original_view():
    """Against central differences; the consistency part stays detached."""
    logits = views(3)
    loss = UDA(confidence=1.0, entropy_weight=0.5)
    weak = tf.constant(logits["weak"])
    with tf.GradientTape() as tape:
        tape.watch(weak)
        losses, _ = loss({**logits, "weak": weak})
    gradient = tape.gradient(losses, weak).numpy()
    for i in range(4):
        shift = 1e-5 * np.eye(4)[i]
        ends = [
            np.array(loss({**logits, "weak": logits["weak"] + s})[0])
            for s in (shift, -shift)
        ]
        np.testing.assert_allclose(
            gradient[:, i], (ends[0] - ends[1]) / 2e-5, atol=1e-8
        )


SCHEDULES = {
    "linear": lambda r: r,
    "exp": lambda r: np.exp(5 * (r - 1)),
    "log": lambda r: 1 - np.exp(-5 * r),
}


@pytest.mark.parametrize("form", ["sparse", "column", "one_hot"])
@pytest.mark.parametrize("step", [0, 30, 70, 100, 150])
@pytest.mark.parametrize("annealing", SCHEDULES)
def test_annealing_drops_what_is_known(annealing, step, form):
    logits = np.random.default_rng(0).normal(size=(100, 5)) * 4
    labels = np.arange(100) % 5
    given = {
        "sparse": labels,
        "column": labels[:, None],
        "one_hot": np.eye(5)[labels],
    }[form]
    weights = UDA(annealing=annealing, annealing_steps=100).labeled_weights(
        given, tf.constant(logits), tf.constant(step)
    )
    right = softmax(logits)[np.arange(100), labels]
    schedule = SCHEDULES[annealing](min(step / 100, 1))
    kept = right <= schedule * (1 - 1 / 5) + 1 / 5
    np.testing.assert_allclose(weights, kept / kept.sum(), rtol=1e-10)
    if annealing != "log":
        assert kept.all() == (step >= 100)


def test_annealing_may_drop_every_example():
    logits = tf.constant([[9.0, 0.0], [9.0, 0.0]])
    loss = UDA(annealing="linear", annealing_steps=10)
    weights = loss.labeled_weights(tf.constant([0, 0]), logits, 0)
    np.testing.assert_array_equal(weights, [0.0, 0.0])


def test_annealing_needs_the_step():
    loss = UDA(annealing="linear", annealing_steps=10)
    with pytest.raises(ValueError, match="needs the training step"):
        loss.labeled_weights(np.array([0]), np.zeros((1, 2)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0.0}, "`temperature` must be positive"),
        ({"temperature": -1.0}, "`temperature` must be positive"),
        ({"temperature": np.inf}, "`temperature` must be positive"),
        ({"entropy_weight": -1.0}, "`entropy_weight` must be at least 0"),
        ({"entropy_weight": np.inf}, "`entropy_weight` must be at least 0"),
        ({"entropy_weight": np.nan}, "`entropy_weight` must be at least 0"),
        (
            {"annealing": "log", "annealing_steps": 1.5},
            "`annealing_steps` must be a positive integer",
        ),
        ({"annealing": "cosine"}, "`annealing` must be one of"),
        ({"annealing": "log"}, "`annealing_steps` must be a positive"),
        (
            {"annealing": "log", "annealing_steps": -1},
            "`annealing_steps` must be a positive",
        ),
    ],
)
def test_arguments_outside_their_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        UDA(**arguments)
