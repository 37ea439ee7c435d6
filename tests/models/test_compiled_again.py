import numpy as np

import keras_influence as ki
from tests.cases.models import LOSS, compiled, draw, fit


def test_compiling_again_keeps_the_weights():
    model = compiled(metrics=["accuracy"])
    fit(model, 3)
    before = model.example_weights
    count = len(model.metrics)
    model.compile(
        optimizer="adam",
        loss=LOSS,
        unlabeled_loss=ki.losses.GivenLabels(),
        validation_set=draw(10, 2),
        inner_steps=1,
        metrics=["accuracy"],
    )
    np.testing.assert_array_equal(model.example_weights, before)
    assert len(model.metrics) == count
    logs = fit(model, 2)
    assert logs["weight_mean"] > 0
    assert (model.example_weights != before).any()


def test_compiling_again_leaves_no_layers_behind():
    model = compiled(validation_set=draw(40, 2))
    layers, variables = [v.name for v in model.layers], len(model.variables)
    assert "validation_features" in layers
    again = {"optimizer": "sgd", "loss": LOSS, "inner_steps": 1}
    for _ in range(2):
        model.compile(**again, unlabeled_loss=ki.losses.GivenLabels())
    assert [v.name for v in model.layers] == layers
    assert len(model.variables) == variables
    model.compile(
        **again,
        unlabeled_loss=ki.losses.GivenLabels(),
        influence=ki.Unrolled(2, parameters="last_layer"),
    )
    assert [v.name for v in model.layers] == [*layers[:-1], "past_steps"]
