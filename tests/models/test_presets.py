import keras
import numpy as np
import pytest
from model_case import CLASSES, LOSS, UNLABELED, data, draw, fit, linear_network

import keras_influence as ki


@pytest.mark.parametrize("name", ["recommended", "paper"])
def test_presets_compile_and_learn(name):
    x, y = draw(UNLABELED, 1, noise=0.2)
    y[::2] = (y[::2] + 1) % CLASSES
    labeled = draw(12, 0, noise=0.2)
    keras.utils.set_random_seed(0)
    model = ki.InfluenceModel(linear_network(), UNLABELED)
    model.compile(
        optimizer="sgd",
        loss=LOSS,
        unlabeled_loss=ki.losses.GivenLabels(),
        validation_set=labeled,
        **ki.preset(name, inner_steps=2),
    )
    fit(model, 40, data(labeled=labeled, unlabeled=(x, y)))
    weights = model.example_weights
    assert weights[::2].mean() < 0.95 < weights[1::2].mean()
    if name == "recommended":
        assert weights[::2].mean() < 0.2
        assert weights[1::2].mean() > 1.5
    assert np.isfinite(weights).all()


def test_unknown_preset():
    with pytest.raises(ValueError, match="`name` must be one of"):
        ki.preset("best")
