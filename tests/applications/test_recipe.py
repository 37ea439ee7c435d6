import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applications.checks import check
from applications.presets import PRESETS, TRAININGS
from applications.recipe import ROOMS, argument, build, resolve


def test_presets_are_plain_and_stay_as_they_are():
    before = copy.deepcopy(PRESETS)
    recipe = resolve("digits", ["epochs=3", "units=8,8", "labeled=20"])
    assert recipe["epochs"] == 3
    assert recipe["network"]["units"] == [8, 8]
    assert recipe["dataset"]["labeled"] == 20
    assert before == PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_names_its_components(name):
    recipe = resolve(name)
    for kind in set(ROOMS) & set(recipe) - {"influence"}:
        assert "name" in recipe[kind]
    assert recipe["description"].endswith(".")


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("max_weight=3", "weights.max_weight", 3.0),
        ("optimizer.learning_rate=1e-3", "optimizer.learning_rate", 1e-3),
        ("nesterov=False", "optimizer.nesterov", False),
        (" batch_size = 4 ", "batch_size", 4),
        ("outer=margin", "influence.outer", "margin"),
        ("solver.damping=0.5", "influence.solver.damping", 0.5),
        ("seeds=1,2", "seeds", [1, 2]),
        ("network=linear", "network", {"name": "linear"}),
        ("solver=ConjugateGradient", "influence.solver.name", None),
        ("optimizer.weight_decay=1e-4", "optimizer.weight_decay", 1e-4),
        ("influence.solver.max_dense=7", "influence.solver.max_dense", 7),
    ],
)
def test_settings(setting, path, value):
    found = resolve("digits", [setting])
    for part in path.split("."):
        found = found[part]
    assert found == value or value is None
    assert type(found) is type(value) or value is None


def test_another_component_and_its_arguments():
    recipe = resolve("digits", ["optimizer=Adam", "optimizer.beta_1=0.5"])
    assert recipe["optimizer"] == {"name": "Adam", "beta_1": 0.5}
    assert build("optimizer", recipe["optimizer"]).beta_1 == 0.5


def test_single_weights_in_place_of_a_network():
    settings = ["weight_network=none", "weight_optimizer=Evidence"]
    recipe = resolve("digits", settings)
    assert recipe["weight_network"] is None
    assert recipe["weight_optimizer"] == {"name": "Evidence"}
    recipe = resolve("digits", ["weight_network.residual=true"])
    assert build("weight_network", recipe["weight_network"]).residual


def test_a_method_of_table_a1_and_its_choices():
    recipe = resolve("digits", ["influence=lorraine", "influence.outer=margin"])
    assert recipe["influence"] == {"name": "lorraine", "outer": "margin"}
    recipe = resolve("digits", ["influence=shaban", "influence.solver=Exact"])
    assert recipe["influence"]["solver"] == {"name": "Exact"}


@given(st.floats(0, 10), st.integers(1, 10**6), st.booleans())
def test_values_round_trip(number, count, flag):
    recipe = resolve(
        "digits",
        [f"wrong_labels={number}", f"test={count}", f"nesterov={flag}"],
    )
    assert recipe["dataset"]["wrong_labels"] == number
    assert recipe["dataset"]["test"] == count
    assert recipe["optimizer"]["nesterov"] is flag


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("epoch=1", "Unknown setting 'epoch'.*epochs"),
        ("zzz=1", "Unknown setting 'zzz'. Known:.*epochs"),
        ("learning_rate=1", "could be optimizer.* or weight_optimizer"),
        ("epochs=two", "`epochs` takes a whole number.*'two'"),
        ("epochs=1.5", "`epochs` takes a whole number.*'1.5'"),
        ("epochs=", "`epochs` takes a whole number"),
        ("max_weight=big", "`max_weight` takes a number.*'big'"),
        ("nesterov=maybe", "true or false.*'maybe'"),
        ("units=8,x", "`units` takes a whole number.*'x'"),
        ("epochs", "takes key=value.*'epochs'"),
        ("=3", "Unknown setting ''"),
        ("weights=3", "group of settings.*weights.initial_weight"),
        ("optimizer.beta_3=1", "Unknown setting 'optimizer.beta_3'"),
        ("optimizer.learning_rat=1", "optimizer.learning_rate"),
    ],
)
def test_careless_settings(setting, message):
    with pytest.raises(ValueError, match=message):
        resolve("digits", [setting])


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(ValueError, match=r"'digitz'\. Did you mean digits"):
        resolve("digitz")
    with pytest.raises(ValueError, match=r"'Addam'\. Did you mean .*Adam"):
        build("optimizer", {"name": "Addam"})


def test_a_component_is_given_what_it_takes_of_what_is_offered():
    component = {"name": "linear"}
    network = build(
        "network", component, input_shape=(3,), classes=2, preset="minilm"
    )
    assert network.output_shape == (None, 2)
    network = build(
        "network", component | {"classes": 4}, input_shape=(3,), classes=2
    )
    assert network.output_shape == (None, 4)


def test_another_optimizer_averages_as_the_one_before():
    recipe = resolve("fixmatch_cifar10_250", ["optimizer=Adam"])
    kept = PRESETS["fixmatch_cifar10_250"]["optimizer"]
    assert recipe["optimizer"] == {
        "name": "Adam",
        "use_ema": kept["use_ema"],
        "ema_momentum": kept["ema_momentum"],
    }
    # Its schedule starts at the rate that it has by default.
    assert argument("optimizer", recipe["optimizer"], "learning_rate") == 0.001
    assert argument("optimizer", kept, "learning_rate") == 0.03
    assert (
        resolve("fixmatch_cifar10_250", ["schedule=none"])["schedule"] is None
    )


@pytest.mark.parametrize(
    ("name", "setting", "path"),
    [
        (
            "uda_cifar10_250",
            "confidence=None",
            ("unlabeled_loss", "confidence"),
        ),
        ("digits", "max_weight=none", ("weights", "max_weight")),
        ("digits", "initial_weight=none", ("weights", "initial_weight")),
        ("digits", "wrong_labels=none", ("dataset", "wrong_labels")),
        ("cifar10_mismatch", "mismatch=none", ("dataset", "mismatch")),
        (
            "cifar10_mismatch",
            "known_classes=none",
            ("dataset", "known_classes"),
        ),
    ],
)
def test_settings_that_can_be_taken_away(name, setting, path):
    group, key = path
    assert PRESETS[name][group][key] is not None
    assert resolve(name, [setting])[group][key] is None


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("fixmatch_cifar10_250", "confidence=none"),
        ("digits", "inner_steps=none"),
        ("digits", "epochs=none"),
    ],
)
def test_settings_that_cannot(name, setting):
    with pytest.raises(ValueError, match="takes a"):
        resolve(name, [setting])


@pytest.mark.parametrize("name", ["digits", "two_moons", "linear"])
def test_variants_of_every_preset(name):
    assert resolve(name)["variants"] == list(TRAININGS)
    settings = ["variants=constant weight, learned weights"]
    variants = resolve(name, settings)["variants"]
    assert variants == ["constant weight", "learned weights"]


def test_descriptions_say_what_is_set():
    for settings, text in (
        ((), "FixMatch; 250 labels of cifar10."),
        (("labeled=400",), "FixMatch; 400 labels of cifar10."),
        (("dataset=stl10",), "FixMatch; 250 labels of stl10."),
        (("dataset=fashion_mnist",), "FixMatch; 250 labels of fashion_mnist."),
        (("dataset=digits",), "FixMatch; some labels of digits."),
    ):
        recipe = resolve("fixmatch_cifar10_250", settings)
        assert recipe["description"] == text


def test_a_group_without_settings():
    with pytest.raises(ValueError, match="`views` is empty here"):
        resolve("digits", ["views=x"])


def test_a_median_of_fewer_than_no_epochs():
    with pytest.raises(ValueError, match=r"median_epochs.*Received: -1"):
        check(resolve("fixmatch_cifar10_250", ["median_epochs=-1"]))
