import keras
import numpy as np
import pytest

import keras_influence as ki
from tests.cases.models import (
    CLASSES,
    LOSS,
    UNLABELED,
    data,
    draw,
    fit,
    linear_network,
)


@pytest.mark.parametrize("name", ["recommended", "single_weights", "paper"])
def test_presets_compile_and_learn(name):
    x, y = draw(UNLABELED, 1, noise=0.2)
    y[::2] = (y[::2] + 1) % CLASSES
    labeled = draw(12, 0, noise=0.2)
    keras.utils.set_random_seed(0)
    made = {}
    if name == "recommended":
        made = {"weight_network": ki.WeightNetwork(), "initial_weight": 0.1}
    model = ki.InfluenceModel(linear_network(), UNLABELED, **made)
    model.compile(
        optimizer="sgd",
        loss=LOSS,
        unlabeled_loss=ki.losses.GivenLabels(),
        validation_set=labeled,
        **ki.preset(name, inner_steps=2),
    )
    steps = 200 if name == "recommended" else 40
    fit(model, steps, data(labeled=labeled, unlabeled=(x, y)))
    weights = model.example_weights
    wrong, right = weights[::2].mean(), weights[1::2].mean()
    if name == "paper":
        assert wrong < 0.95 < right
    else:
        assert wrong < 0.2
        assert right > 1.5
    assert np.isfinite(weights).all()


def test_unknown_preset():
    with pytest.raises(ValueError, match="`name` must be one of"):
        ki.preset("best")
