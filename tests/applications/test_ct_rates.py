import json

import keras
import numpy as np
import pytest

from applications.ct_rates import CTAugmentRates
from applications.image_views import ct_augment

X = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3)).astype("uint8")
ALWAYS_0, ALWAYS_1 = np.array([99.0, 0.0]), np.array([0.0, 99.0])


def network(bias, average, use_ema=True, run_eagerly=True):
    """Predicts one class now, and another with the averaged weights."""
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(2, kernel_initializer="zeros"),
        ]
    )
    optimizer = keras.optimizers.SGD(0.0, use_ema=use_ema)
    model.compile(optimizer, run_eagerly=run_eagerly)
    model.optimizer.build(model.trainable_variables)
    model.layers[-1].bias.assign(bias)
    if use_ema:
        averages = model.optimizer._model_variables_moving_average
        averages[-1].assign(average)
    return model


def learn(model, labels, directory, steps=3):
    view = ct_augment()
    callback = CTAugmentRates(view, (X, labels), directory, batch_size=8)
    callback.set_model(model)
    callback.on_train_begin()
    for step in range(steps):
        callback.on_train_batch_end(step)
    callback.on_train_end()
    return view.ct_augment.rates.numpy()


def test_the_averaged_network_judges(tmp_path):
    labels = np.zeros(20, "int64")
    rates = learn(network(ALWAYS_1, ALWAYS_0), labels, tmp_path)
    np.testing.assert_allclose(rates, 1.0, rtol=1e-6)
    rates = learn(network(ALWAYS_0, ALWAYS_1), labels, tmp_path)
    assert rates.min() < 0.995


def test_without_an_average_the_network_itself_judges(tmp_path):
    model = network(ALWAYS_0, None, use_ema=False)
    rates = learn(model, np.zeros(20, "int64"), tmp_path)
    np.testing.assert_allclose(rates, 1.0, rtol=1e-6)


def test_a_probe_moves_depth_operations_an_image(tmp_path):
    model = network(ALWAYS_1, ALWAYS_1)
    rates = learn(model, np.zeros(20, "int64"), tmp_path, steps=1)
    # Every wrong probe multiplies the rates of two operations by 0.99.
    visits = np.log(rates) / np.log(0.99)
    assert visits.sum() == pytest.approx(8 * 2 * 2, abs=0.01)


def test_probes_leave_the_network_alone(tmp_path):
    model = network(ALWAYS_0, ALWAYS_1)
    before = [v.numpy() for v in model.variables]
    learn(model, np.zeros(20, "int64"), tmp_path)
    for v, old in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(v.numpy(), old)


def test_rates_are_written(tmp_path):
    model = network(ALWAYS_1, ALWAYS_1, run_eagerly=False)
    rates = learn(model, np.zeros(20, int), tmp_path)
    written = json.loads((tmp_path / "ct_augment.json").read_text())
    assert len(written) == 19
    assert len(written["posterize"][0]) == 8
    assert min(written["autocontrast"][0]) == pytest.approx(
        rates[0, 0].min(), abs=1e-4
    )


def test_rates_are_saved_with_the_model(tmp_path):
    model = network(ALWAYS_1, ALWAYS_1)
    rates = learn(model, np.zeros(20, int), tmp_path)
    model.save_weights(tmp_path / "model.weights.h5")
    other, view = network(ALWAYS_1, ALWAYS_1), ct_augment()
    CTAugmentRates(view, (X, X[:, 0, 0, 0]), tmp_path).set_model(other)
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(view.ct_augment.rates, rates)


def test_probes_are_those_of_the_step(tmp_path):
    rates = []
    for step in (0, 7, 7):
        model = network(ALWAYS_1, ALWAYS_1)
        model.optimizer.iterations.assign(step)
        rates.append(learn(model, np.zeros(20, int), tmp_path, steps=1))
    np.testing.assert_array_equal(rates[1], rates[2])
    assert np.any(rates[0] != rates[1])
