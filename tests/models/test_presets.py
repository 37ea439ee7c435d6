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
    made = {"initial_weight": 1.0} if name == "single_weights" else {}
    made |= ki.preset(name, of="model")
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


def test_what_is_left_out_is_recommended():
    """Bit for bit what the preset does by name."""
    weights, solvers = [], []
    for named in (False, True):
        keras.utils.set_random_seed(0)
        built, of_model, of_compile = linear_network(), {}, {}
        if named:
            of_model = ki.preset("recommended", of="model", initial_weight=0.1)
            of_compile = ki.preset("recommended")
        model = ki.InfluenceModel(built, UNLABELED, **of_model)
        model.compile(
            loss=LOSS,
            unlabeled_loss=ki.losses.GivenLabels(),
            validation_set=draw(12, 0),
            **of_compile,
        )
        fit(model, 6, data())
        weights.append(model.example_weights)
        solvers.append(model.influence.solver.get_config())
    np.testing.assert_array_equal(*weights)
    assert np.ptp(weights[0]) > 0
    # A head this small is solved by Cholesky, whatever the tolerance.
    assert solvers[0] == solvers[1]


@pytest.mark.parametrize(
    ("unlabeled_loss", "start"),
    [(ki.losses.GivenLabels(), 0.1), (ki.losses.PseudoLabel(), 1.0)],
)
@pytest.mark.parametrize("weight_network", ["recommended", None])
@pytest.mark.parametrize("mean_weight", [None, 0.5])
def test_weights_start_where_the_loss_says(
    unlabeled_loss, start, weight_network, mean_weight
):
    model = ki.InfluenceModel(
        linear_network(),
        UNLABELED,
        weight_network=weight_network,
        mean_weight=mean_weight,
    )
    model.compile(loss=LOSS, unlabeled_loss=unlabeled_loss)
    np.testing.assert_allclose(model.example_weights, start)
    copy = ki.InfluenceModel.from_config(model.get_config())
    np.testing.assert_allclose(copy.example_weights, start)


def test_papers_settings_are_exact():
    arguments = ki.preset("paper")
    assert repr(arguments["weight_optimizer"]) == "MAdam()"
    assert arguments["inner_steps"] == 100
    assert arguments["influence"].parameters == "last_layer"
    assert arguments["influence"].curvature == "hessian"
    assert isinstance(arguments["influence"].solver, ki.solvers.Exact)


@pytest.mark.parametrize("arguments", [("best",), ("paper", "fit")])
def test_unknown_preset(arguments):
    with pytest.raises(ValueError, match="`name` must be one of"):
        ki.preset(*arguments)
