import keras
import numpy as np
import pytest
import tensorflow as tf

from applications.wide_resnet import wide_resnet


@pytest.mark.parametrize(
    ("variant", "parameters"), [("uda", 1_467_610), ("fixmatch", 1_469_642)]
)
def test_wrn_28_2_has_the_published_size(variant, parameters):
    network = wide_resnet(variant=variant)
    sizes = [np.prod(v.shape) for v in network.trainable_variables]
    assert sum(sizes) == parameters


@pytest.mark.parametrize("variant", ["uda", "fixmatch"])
def test_weight_decay_acts_on_exactly_its_variables(variant):
    network = wide_resnet(
        (8, 8, 3), depth=10, width=1, variant=variant, weight_decay=5e-4
    )
    for v in network.trainable_variables:
        v.assign(keras.random.normal(v.shape, seed=1))
    # No data loss: only the decay has a gradient.
    with tf.GradientTape() as tape:
        loss = sum(network.losses)
    variables = [v.value for v in network.trainable_variables]
    gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
    for v, gradient in zip(network.trainable_variables, gradients, strict=True):
        decay = 5e-4 if variant == "uda" or v.name == "kernel" else 0.0
        np.testing.assert_allclose(gradient, decay * v.numpy(), rtol=1e-5)


def test_without_weight_decay_there_is_no_loss():
    assert wide_resnet((8, 8, 3), depth=10, width=1).losses == []


@pytest.mark.parametrize(
    ("mean", "deviation"), [(127.5, 127.5), ([10.0, 20.0, 30.0], [2, 4, 8])]
)
def test_images_are_normalised_first(mean, deviation):
    network = wide_resnet(
        (8, 8, 3), depth=10, width=1, mean=mean, deviation=deviation
    )
    x = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("uint8")
    np.testing.assert_allclose(
        network.layers[1](x), (x - np.array(mean)) / deviation, atol=1e-4
    )


def test_momentum_can_be_set():
    layers = wide_resnet((8, 8, 3), depth=10, momentum=0.5).layers
    momenta = [layer.momentum for layer in layers if hasattr(layer, "momentum")]
    assert momenta
    assert set(momenta) == {0.5}


def test_saved_networks_decay_as_before(tmp_path):
    network = wide_resnet(
        (8, 8, 3), 4, depth=10, width=1, variant="uda", weight_decay=1e-2
    )
    network.save(tmp_path / "network.keras")
    restored = keras.saving.load_model(tmp_path / "network.keras")
    assert float(sum(restored.losses)) == pytest.approx(
        float(sum(network.losses))
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"depth": 12}, "depth=12"), ({"variant": "wrn"}, "variant='wrn'")],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        wide_resnet(**arguments)
