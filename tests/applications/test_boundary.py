import types

import keras
import numpy as np
import pytest

from applications import datasets
from applications.boundary import DecisionBoundary, grid, plot_boundaries

TASK = datasets.two_strips(
    seed=0, labeled=4, validation=8, test=10, unlabeled=30
)


def train(steps=20):
    """Runs the callback on a network that is sure of `x[0] > 1`."""
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    network.layers[0].set_weights(
        [np.array([[0, 50], [0, 0]]), np.array([50, 0])]
    )
    model = types.SimpleNamespace(network=network, optimizer=None)
    boundary = DecisionBoundary(TASK)
    boundary.set_model(model)
    boundary.set_params({"epochs": 2, "steps": steps // 2})
    for step in range(1, steps + 1):
        model.optimizer = types.SimpleNamespace(iterations=step)
        model.example_weights = np.full(30, step / steps)
        boundary.on_train_batch_end(0)
    return boundary.snapshots


def test_snapshots_are_spread_over_the_training():
    snapshots = train()
    assert [snapshot.step for snapshot in snapshots] == [1, 2, 6, 20]
    assert [s.weights[0] for s in snapshots] == [0.05, 0.1, 0.3, 1.0]


@pytest.mark.filterwarnings("error")
def test_the_boundary_is_the_networks():
    x, _ = np.meshgrid(*grid(TASK))
    clear = np.abs(x - 1) > 0.2
    probabilities = train()[-1].probabilities
    np.testing.assert_array_equal(probabilities[clear] > 0.5, (x > 1)[clear])


def test_panels_show_weights_and_steps():
    snapshots = train()
    figure = plot_boundaries(TASK, {"a": snapshots, "b": snapshots}, 2.0)
    titles = [axes.get_title() for axes in figure.axes[:8]]
    assert titles == ["step 1", "step 2", "step 6", "step 20"] * 2
    shades = [
        c.get_array()[0]
        for c in figure.axes[3].collections
        if c.get_array() is not None and len(c.get_array()) == 30
    ]
    assert shades == [1.0]
