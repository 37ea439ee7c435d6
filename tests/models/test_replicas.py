import pathlib
import subprocess
import sys

import pytest

TWO_REPLICAS = """
import sys
import numpy as np, tensorflow as tf, keras
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2)
import keras_influence as ki
from tests.cases.models import (
    UNLABELED, compiled, data, draw, fit, linear_network, network,
    quiet_network)

def train(strategy, build, learning_rate, steps, **arguments):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model = compiled(
            build(), weight_optimizer=ki.optimizers.MAdam(learning_rate),
            initial_weight=0.5, metrics=["accuracy"], **arguments)
    logs = fit(model, steps)
    return model, logs

def penalized():
    return linear_network(kernel_regularizer=keras.regularizers.L2(0.1))

one = tf.distribute.get_strategy()
two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

# The same global batches give the same gradient of the network.
single, logs = train(one, penalized, 0.0, 3)
double, more = train(two, penalized, 0.0, 3)
for a, b in zip(single.network.weights, double.network.weights):
    copies = two.experimental_local_results(b.value)
    assert len(copies) == 2
    for copy in copies:
        np.testing.assert_allclose(a, copy, rtol=1e-5, atol=1e-6)
for name in ("loss", "labeled_loss", "unlabeled_loss", "accuracy"):
    np.testing.assert_allclose(logs[name], more[name], rtol=1e-5)

# Weights of the examples of both replicas move, the same on each.
model, logs = train(two, network, 0.05, 3, inner_steps=2)
assert logs["updates_skipped"] == 0
assert model.weight_optimizer.iterations == 1
index = [b["unlabeled"]["index"].numpy() for b in data().take(2)][1]
moved = np.flatnonzero(model.example_weights != 0.5)
assert set(moved) == set(index), (moved, index)
copies = two.experimental_local_results(model.weighting.values.value)
np.testing.assert_array_equal(*copies)
model.evaluate(*draw(8, 5), verbose=0)

# So do those that a network gives, its own, and what it has as evidence.
with two.scope():
    model = compiled(
        network(), weight_network=ki.WeightNetwork(residual=True),
        mean_weight=0.5)
logs = fit(model, 4)
assert logs["updates_skipped"] == 0
assert np.ptp(model.example_weights) > 0.01
for variable in model.weighting.weights:
    copies = two.experimental_local_results(variable.value)
    np.testing.assert_array_equal(*copies, err_msg=variable.path)

def without_an_input():
    return keras.Sequential(
        [keras.layers.Dense(5, "tanh"), keras.layers.Dense(3)])

# The same global batches and one solution: the same weights, of any kind.
def learn(strategy, kind):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        arguments = {"built": quiet_network, **kind()}
        model = compiled(
            arguments.pop("built")(), initial_weight=0.5,
            optimizer=keras.optimizers.SGD(0.1, momentum=0.9), **arguments)
    logs = fit(model, 12)
    return model, logs

kinds = [
    # Enough validation examples for features to be used again.
    lambda: {"weight_network": ki.WeightNetwork(),
             "validation_set": draw(40, 2)},
    lambda: {"weight_optimizer": ki.optimizers.MAdam(0.05)},
    lambda: {"weight_optimizer": ki.optimizers.Evidence()},
    lambda: {"influence": ki.Influence.preset(
        "larsen", parameters="last_layer")},
    lambda: {"built": without_an_input, "validation_set": draw(40, 2)},
]
for kind in kinds[:int(sys.argv[1])]:
    single, logs = learn(one, kind)
    double, more = learn(two, kind)
    assert np.ptp(single.example_weights) > 0.01
    np.testing.assert_allclose(
        double.example_weights, single.example_weights, atol=1e-5)
    for a, b in zip(single.network.weights, double.network.weights):
        np.testing.assert_allclose(a, b, atol=1e-5)
    for name in ("hypergradient_norm", "weight_mean", "loss"):
        np.testing.assert_allclose(logs[name], more[name], rtol=1e-4)

# A number that is not finite on one of them: no part of the step is done.
def spoil(step, batch):
    x, y = batch["labeled"]
    last = (step == 2) & (tf.range(tf.shape(x)[0]) == tf.shape(x)[0] - 1)
    return {**batch, "labeled": (tf.where(last[:, None], np.nan, x), y)}

class Watch(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        model = self.model
        self.seen.append([v.numpy() for v in [
            *model.network.variables, *model.weighting.variables]])

def scaled():
    return keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.1), initial_scale=8.0)

for optimizer in (lambda: keras.optimizers.SGD(0.1), scaled):
    ends = []
    for strategy in (one, two):
        with strategy.scope():
            keras.utils.set_random_seed(0)
            model = compiled(
                quiet_network(), optimizer=optimizer(), inner_steps=1,
                initial_weight=0.5, weight_network="recommended")
        watch = Watch()
        watch.seen = []
        logs = fit(model, 5, data().enumerate().map(spoil), callbacks=[watch])
        for name in ("steps_skipped", "updates_skipped", "skipped_not_finite"):
            assert logs[name] == 1, (name, logs)
        for before, after in zip(watch.seen[1], watch.seen[2]):
            np.testing.assert_array_equal(before, after)
        ends.append(watch.seen[4])
    for a, b in zip(*ends):
        np.testing.assert_allclose(a, b, atol=1e-5)
print("same")
"""


@pytest.mark.parametrize("kinds", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_two_replicas_learn_as_one(kinds):
    result = subprocess.run(
        [sys.executable, "-c", TWO_REPLICAS, str(kinds)],
        cwd=pathlib.Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert result.stdout.strip().endswith("same"), result.stderr
