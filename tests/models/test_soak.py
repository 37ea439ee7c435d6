"""Thousands of updates: memory and time of a step stay flat."""

import resource

import keras
import numpy as np
import pytest

import keras_influence as ki
from tests.cases.models import compiled, data, draw, linear_network

STEPS, EPOCHS = 500, 10


class Memory(keras.callbacks.Callback):
    """The most memory that the process had, at the end of every epoch."""

    def __init__(self):
        super().__init__()
        self.most = []

    def on_epoch_end(self, epoch, logs=None):
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self.most.append(usage.ru_maxrss / 1024)


@pytest.mark.slow
@pytest.mark.parametrize("weight_network", [None, "recommended"])
def test_5000_updates(weight_network):
    model = compiled(linear_network(), weight_network=weight_network)
    memory = Memory()
    logs = model.fit(
        data(),
        epochs=EPOCHS,
        steps_per_epoch=STEPS,
        verbose=0,
        callbacks=[memory],
    ).history
    assert model.weight_optimizer.iterations == STEPS * EPOCHS
    assert sum(logs["updates_skipped"]) == 0
    assert np.isfinite(model.example_weights).all()
    # The first epoch traces; after it nothing grows but the allocator's rest.
    assert memory.most[-1] - memory.most[1] < 30


@pytest.mark.slow
def test_200_times_influence_scores():
    network = linear_network()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    train, validation = draw(12, 0), draw(8, 1)
    first, seen = None, []
    for call in range(200):
        scores = ki.influence_scores(network, train, validation, loss=loss)
        first = scores if first is None else first
        np.testing.assert_array_equal(scores, first)
        if call % 50 == 49:
            usage = resource.getrusage(resource.RUSAGE_SELF)
            seen.append(usage.ru_maxrss / 1024)
    assert seen[-1] - seen[0] < 60
