import keras
import numpy as np
import pytest

import keras_influence as ki


@keras.saving.register_keras_serializable("tests")
def first_logit(labels, logits):
    return logits[:, 0]


@pytest.mark.parametrize(
    "influence",
    [
        ki.Influence(),
        ki.Influence("all", "gauss_newton", outer="margin"),
        ki.Influence(["a", "b"], "outer_product", ki.solvers.Exact(0.5)),
        ki.Influence(curvature=None, outer=first_logit),
        ki.Influence(solver=ki.solvers.ConjugateGradient(7, 1e-3, 0.2)),
    ],
)
def test_serialization(influence):
    config = keras.saving.serialize_keras_object(influence)
    copy = keras.saving.deserialize_keras_object(config)
    assert isinstance(copy, ki.Influence)
    assert (copy.parameters, copy.curvature, copy.outer) == (
        influence.parameters,
        influence.curvature,
        influence.outer,
    )
    assert type(copy.solver) is type(influence.solver)
    assert copy.solver.get_config() == influence.solver.get_config()


def test_layers_are_known_by_name():
    layer = keras.layers.Dense(2, name="logits")
    assert ki.Influence([layer, "other"]).parameters == ["logits", "other"]


def test_defaults():
    solver = ki.Influence().solver
    assert isinstance(solver, ki.solvers.Exact)
    assert solver.damping == 0.01
    assert solver.relative_to == "largest_eigenvalue"
    influence = ki.Influence(curvature=None)
    assert isinstance(influence.solver, ki.solvers.Identity)
    assert influence.steps == 0  # no step of training is kept


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parameters": "last"}, "'last_layer', 'all' or a list"),
        ({"curvature": "fisher"}, "`curvature` must be one of"),
        ({"solver": "exact"}, "`solver` must be a solver"),
        ({"outer": "accuracy"}, "`outer` must be 'loss', 'margin'"),
        (
            {"curvature": None, "solver": ki.solvers.Exact()},
            "must be `Identity",
        ),
    ],
)
def test_arguments_outside_their_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        ki.Influence(**arguments)


def test_the_sign_of_the_influence():
    """An example equal to a validation example helps, mislabelled it hurts."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    x = np.random.normal(size=(20, 2)).astype("float32")
    y = (x[:, 0] > 0).astype(int)
    train = np.concatenate([x[:1], x]), np.concatenate([1 - y[:1], y])
    for outer in ("loss", "margin"):
        scores = ki.influence_scores(
            model,
            train,
            (x[:1], y[:1]),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            influence=ki.Influence(outer=outer),
        )
        assert scores[1] < 0 < scores[0]


@pytest.mark.parametrize(
    "curvature",
    [
        pytest.param("hessian", marks=pytest.mark.slow),
        "gauss_newton",
        pytest.param("ekfac", marks=pytest.mark.slow),
    ],
)
def test_every_curvature_has_an_estimate_of_its_own(curvature):
    """Of a network that is not linear, so that no two are alike."""
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
    y = np.arange(12) % 2
    network = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, "tanh"),
            keras.layers.Dense(2),
        ]
    )
    recording = ki.layers.recording_clone(network)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def scores(name):
        influence = ki.Influence("all", name, ki.solvers.Exact(1.0))
        return ki.influence_scores(
            recording, (x, y), (x, y), loss=loss, influence=influence
        )

    names = {"hessian", "gauss_newton", "outer_product", "ekfac"}
    for other in names - {curvature}:
        assert np.abs(scores(curvature) - scores(other)).max() > 1e-5
