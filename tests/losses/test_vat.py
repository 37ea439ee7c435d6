import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from keras_influence.losses import VAT

EPSILON, XI = 0.7, 0.2


def linear(classes):
    network = keras.Sequential([keras.Input((6,)), keras.layers.Dense(classes)])
    random = np.random.default_rng(3)
    for variable in network.trainable_variables:
        variable.assign(random.normal(size=variable.shape))
    return network


def unit(d):
    return d / np.linalg.norm(d, axis=-1, keepdims=True)


@pytest.mark.parametrize("iterations", [1, 3])
def test_the_published_algorithm(iterations):
    network = linear(4)
    kernel, bias = (v.numpy() for v in network.trainable_variables)
    x = np.random.default_rng(0).normal(size=(5, 6)).astype("float32")
    loss = VAT(EPSILON, XI, iterations, entropy_weight=0.3, seed=2)
    views, _ = loss.prepare(network, {"original": x}, None, step=7)

    def logs(x):
        return scipy.special.log_softmax(x @ kernel + bias, -1)

    # The gradient of KL(p(x) ‖ p(x + r)) is W (p(x + r) - p(x)).
    d = unit(tf.random.stateless_normal(x.shape, (2, 7)).numpy())
    p = np.exp(logs(x))
    for _ in range(iterations):
        d = unit((np.exp(logs(x + XI * EPSILON * d)) - p) @ kernel.T)
    adversarial = x + EPSILON * d
    np.testing.assert_allclose(views["adversarial"], adversarial, atol=1e-4)
    losses, mask = loss({name: network(x) for name, x in views.items()})
    expected = np.sum(p * (logs(x) - logs(adversarial)), -1)
    expected -= 0.3 * np.sum(p * logs(x), -1)
    np.testing.assert_allclose(losses, expected, rtol=1e-3)
    np.testing.assert_array_equal(mask, np.ones(5))


def test_it_finds_the_only_direction_of_two_classes():
    network = linear(2)
    x = 0.2 * np.random.default_rng(0).normal(size=(8, 6)).astype("float32")
    views, _ = VAT(EPSILON).prepare(network, {"original": x}, None, 0)
    kernel = network.trainable_variables[0].numpy()
    found = unit(views["adversarial"].numpy() - x)
    found = found @ unit(kernel[:, 0] - kernel[:, 1])
    np.testing.assert_allclose(np.abs(found), np.ones(8), rtol=1e-4)


def test_inputs_that_change_nothing():
    network = linear(2)
    network.trainable_variables[0].assign(np.zeros((6, 2)))
    x = np.ones((3, 6), "float32")
    views, _ = VAT(EPSILON).prepare(network, {"original": x}, None, 0)
    np.testing.assert_array_equal(views["adversarial"], x)


def test_no_gradient_flows_through_the_original_view():
    logits = {
        "original": tf.constant([[1.0, 3.0]]),
        "adversarial": tf.constant([[0.5, 0.0]]),
    }
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses, _ = VAT(EPSILON)(logits)
    gradients = tape.gradient(losses, logits)
    assert gradients["original"] is None
    assert np.abs(gradients["adversarial"]).min() > 0


def test_what_cannot_be_changed_a_little():
    network, x = linear(2), np.ones((3, 6), "float32")
    for views, message in (
        ({"a": x, "b": x}, "choose it with the argument `view`"),
        ({"adversarial": x}, "choose it with the argument `view`"),
        ({"a": x.astype("int32")}, "one tensor of floats.*int32"),
        ({"a": {"b": x}}, "one tensor of floats"),
    ):
        with pytest.raises(ValueError, match=message):
            VAT(EPSILON).prepare(network, views, None, 0)
    with pytest.raises(ValueError, match="needs the view 'c'"):
        VAT(EPSILON, view="c").prepare(network, {"a": x}, None, 0)
    with pytest.raises(ValueError, match="which `prepare` makes"):
        VAT(EPSILON)({"a": np.zeros((3, 2), "float32")})


@pytest.mark.parametrize(
    "arguments",
    [
        *[{"epsilon": 0}, {"epsilon": float("inf")}, {"xi": -1}],
        *[{"iterations": 0}, {"iterations": 1.0}, {"entropy_weight": -1}],
    ],
)
def test_arguments_out_of_range(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        VAT(**{"epsilon": EPSILON, **arguments})
