"""Every method of table A1 by name, after training and inside fit."""

import keras
import numpy as np
import pytest

import keras_influence as ki
from keras_influence.influence.presets import PRESETS


def problem():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 4)).astype("float32")
    y = (x @ rng.normal(size=(4, 3))).argmax(1)
    network = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(6, activation="tanh"),
            keras.layers.Dense(3),
        ]
    )
    return ki.layers.recording_clone(network), x, y


LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def test_the_names_of_the_table():
    assert set(PRESETS) >= {
        "last_layer",
        "larsen",
        "conjugate_gradient",
        "luketina",
        "koh_liang",
        "shaban",
        "lorraine",
    }
    with pytest.raises(ValueError, match="must be one of"):
        ki.Influence.preset("lorrain")


def test_overrides():
    influence = ki.Influence.preset("lorraine", parameters="all")
    assert influence.parameters == "all"
    assert isinstance(influence.solver, ki.solvers.Neumann)


@pytest.mark.parametrize("name", PRESETS)
def test_after_training(name):
    network, x, y = problem()
    scores = ki.influence_scores(
        network,
        (x[:40], y[:40]),
        (x[40:60], y[40:60]),
        loss=LOSS,
        influence=ki.Influence.preset(name),
        batch_size=16,
    )
    assert scores.shape == (40,)
    assert np.isfinite(scores).all()
    assert scores.std() > 0


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name != "lorraine"))
        for name in PRESETS
    ],
)
def test_inside_fit(name):
    network, x, y = problem()
    model = ki.InfluenceModel(
        network, num_unlabeled=40, weight_network=None, initial_weight=1.0
    )
    model.compile(
        optimizer="sgd",
        loss=LOSS,
        unlabeled_loss=ki.losses.GivenLabels(),
        weight_optimizer=ki.optimizers.MAdam(0.1),
        influence=ki.Influence.preset(name),
        validation_set=(x[60:], y[60:]),
        inner_steps=2,
    )
    train = ki.data.semi_supervised(
        (x[40:60], y[40:60]), (x[:40], y[:40]), batch_size=4, unlabeled_ratio=2
    )
    history = model.fit(train, steps_per_epoch=8, verbose=0).history
    assert history["updates_skipped"] == [0.0]
    assert np.isfinite(model.example_weights).all()
    assert np.any(model.example_weights != 1.0)
