import keras
import numpy as np
import pytest

import keras_influence as ki
from tests.cases.models import LOSS, compiled, data, draw, fit


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


def test_a_refused_compile_leaves_all_as_it_was():
    model, other = compiled(), compiled(unlabeled_loss=ki.losses.FlexMatch())
    fit(model, 2)
    kept = model.weight_optimizer
    again = {"optimizer": "sgd", "loss": LOSS, "inner_steps": 1}
    for refused, message in (
        ({"weight_optimizer": other.weight_optimizer}, "of another model"),
        (
            {"weight_optimizer": ki.optimizers.MAdam(bounds=(-1, 1))},
            "bounds outside",
        ),
        ({"unlabeled_loss": other.unlabeled_loss}, "another network"),
    ):
        arguments = {"unlabeled_loss": ki.losses.GivenLabels(), **refused}
        with pytest.raises(ValueError, match=message):
            model.compile(**again, **arguments)
        assert model.weight_optimizer is kept
    fit(model, 2, data(start_step=2))
    assert int(kept.iterations) == 4


@pytest.mark.parametrize("weight_network", [None, "recommended"])
def test_weights_set_by_hand_are_kept(weight_network):
    arguments = {"initial_weight": None, "weight_network": weight_network}
    trained, model = (compiled(**arguments) for _ in range(2))
    fit(trained, 3)
    model.set_weights(trained.get_weights())
    model.compile(
        optimizer="sgd",
        loss=LOSS,
        unlabeled_loss=ki.losses.GivenLabels(),
        validation_set=draw(10, 2),
    )
    assert np.ptp(model.example_weights) > 0
    np.testing.assert_array_equal(
        model.example_weights, trained.example_weights
    )


@keras.saving.register_keras_serializable("tests")
class StartsHigh(ki.losses.GivenLabels):
    """A loss whose weights would start above their bound."""

    initial_weight = 5.0


@pytest.mark.parametrize("weight_network", [None, "recommended"])
def test_weights_start_within_their_bound(weight_network):
    arguments = {"initial_weight": None, "weight_network": weight_network}
    low = compiled(max_weight=0.5, **arguments)
    np.testing.assert_allclose(low.example_weights, 0.1)
    with pytest.raises(ValueError, match=r"StartsHigh\(\).*max_weight=2"):
        compiled(unlabeled_loss=StartsHigh(), **arguments)


def test_a_mean_teacher_survives_another_optimizer():
    def views(start_step=0):
        return data(
            unlabeled=draw(20, 1),
            views={"weak": lambda x: x, "strong": lambda x: -x},
            start_step=start_step,
        )

    loss = ki.losses.MeanTeacher()
    model = compiled(unlabeled_loss=loss)
    fit(model, 20, views())
    teacher = loss.state["teacher_0"].numpy()
    model.compile(
        optimizer=keras.optimizers.SGD(0.0),
        loss=LOSS,
        unlabeled_loss=loss,
        inner_steps=None,
    )
    student = model.network.trainable_variables[0].numpy()
    fit(model, 1, views(20))
    expected = teacher + (student - teacher) / 21
    found = loss.state["teacher_0"].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert np.abs(found - student).max() > 0.01
