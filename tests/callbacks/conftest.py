import keras
import numpy as np
import pytest

import keras_influence as ki


class CountingModel(keras.Model):
    """A model whose weights after `k` steps are `k` times their index."""

    def __init__(self, num_examples):
        super().__init__()
        self.num_examples = num_examples
        self.dense = keras.layers.Dense(1)

    def call(self, x):
        return self.dense(x)

    @property
    def example_weights(self):
        return float(self.optimizer.iterations) * np.arange(self.num_examples)


@pytest.fixture
def fit():
    """A function that trains a `CountingModel`, or goes on with one."""

    def fit(callback, steps=5, epochs=1, num_examples=24, model=None, **kwargs):
        if model is None:
            model = CountingModel(num_examples)
            model.compile(**{"optimizer": "sgd", "loss": "mse", **kwargs})
        x = np.ones((2 * steps, 3))
        model.fit(*(x, x[:, :1], 2, epochs), verbose=0, callbacks=[callback])
        return model

    return fit


@pytest.fixture
def influence_fit():
    """A function that trains 24 example weights for 6 steps."""

    def fit(callback):
        x = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
        y = (x[:, 0] > 0).astype("int64")
        network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        model = ki.InfluenceModel(
            network, num_unlabeled=24, weight_network=None, initial_weight=1.0
        )
        model.compile(
            optimizer="sgd",
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            unlabeled_loss=ki.losses.GivenLabels(),
            weight_optimizer=ki.optimizers.MAdam(0.01),
            validation_set=(x[8:16], y[8:16]),
            inner_steps=1,
        )
        train = ki.data.semi_supervised(
            (x[:8], y[:8]), (x[16:], y[16:]), batch_size=8, unlabeled_ratio=1
        )
        model.fit(train, steps_per_epoch=6, verbose=0, callbacks=[callback])
        return model

    return fit
