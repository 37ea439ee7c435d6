import pathlib

import keras
import numpy as np
import pytest

import keras_influence as ki
from tests.cases.models import (
    LOSS,
    UNLABELED,
    VALIDATION,
    assert_same,
    compiled,
    data,
    draw,
    fit,
    network,
    state,
)

CADENCE = {"inner_steps": 2, "warmup_steps": 1, "validation_draw": 4}
V = draw(VALIDATION, 2)
REUSED = {"validation_set": draw(40, 2), "validation_draw": 8}


def test_a_saved_model_is_the_same(tmp_path):
    model = compiled(
        initial_weight=0.5,
        max_weight=3.0,
        unlabeled_loss=ki.losses.GivenLabels(0.1),
        influence=ki.Influence(outer="margin", solver=ki.solvers.Exact(0.2)),
        metrics=["accuracy"],
        **CADENCE,
    )
    fit(model, 5)
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert_same(state(model), state(copy))
    assert copy.weight_optimizer.iterations == 2
    x, y = draw(9, 5)
    np.testing.assert_array_equal(
        model.predict(x, verbose=0), copy.predict(x, verbose=0)
    )
    assert copy.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
    assert copy.weighting.bounds == (0.0, 3.0)
    assert copy.weight_optimizer.bounds == (0.0, 3.0)
    assert vars(copy.schedule) == vars(model.schedule)
    assert copy.validation_draw == model.validation_draw
    assert copy.unlabeled_loss.label_smoothing == 0.1
    assert copy.influence.get_config() == model.influence.get_config()
    assert copy.loss.get_config() == model.loss.get_config()
    assert copy.optimizer.get_config() == model.optimizer.get_config()


def test_the_validation_set_is_set_anew(tmp_path):
    model = compiled()
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"model\.validation_set = \(x, y\)"):
        fit(copy, 1)
    copy.validation_set = V
    assert fit(copy, 1)["updates_skipped"] == 0
    assert copy.weight_optimizer.iterations == 1


def test_mixed_precision_is_saved(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = compiled()
    finally:
        keras.config.set_dtype_policy("float32")
    fit(model, 2)
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(copy.optimizer, keras.optimizers.LossScaleOptimizer)
    assert_same(state(model), state(copy))


@pytest.mark.slow
def test_weights_are_saved(tmp_path):
    model, copy = compiled(), compiled()
    fit(model, 3)
    model.save_weights(tmp_path / "model.weights.h5")
    copy.load_weights(tmp_path / "model.weights.h5")
    assert_same(state(model), state(copy))


def test_a_weight_an_example_from_the_start(tmp_path):
    initial = np.linspace(0, 2, 20)
    model = compiled(initial_weight=initial)
    np.testing.assert_allclose(model.example_weights, initial, rtol=1e-6)
    fit(model, 1)
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model.example_weights, copy.example_weights)
    np.testing.assert_allclose(copy.weighting.initial_weight, initial)


@pytest.mark.parametrize("num_unlabeled", [19, 21])
def test_weights_of_another_size(num_unlabeled, tmp_path):
    compiled().save_weights(tmp_path / "model.weights.h5")
    model = compiled(num_unlabeled=num_unlabeled)
    with pytest.raises(ValueError, match=f"num_unlabeled={num_unlabeled}"):
        model.load_weights(tmp_path / "model.weights.h5")


loads_old_files = pytest.mark.skipif(
    [int(n) for n in keras.__version__.split(".")[:2]] < [3, 15],
    reason="Keras 3.15 wrote the files, which earlier ones do not read.",
)


def build(**arguments):
    # Seeds of layers come from here, as from a script that starts anew.
    keras.utils.set_random_seed(0)
    return compiled(network(), **{**CADENCE, **arguments})


@pytest.mark.parametrize(
    ("way", "judging"),
    [
        ("model", {"validation_set": V}),
        # Enough examples for their features to be used again.
        ("model", REUSED),
        pytest.param("weights", {"validation_set": V}, marks=pytest.mark.slow),
        pytest.param("weights", REUSED, marks=pytest.mark.slow),
    ],
)
def test_resumed_training_is_bit_for_bit_the_same(way, judging, tmp_path):
    whole, killed = build(**judging), build(**judging)
    fit(whole, 7)
    fit(killed, 4)
    keras.utils.set_random_seed(7)
    if way == "model":
        killed.save(tmp_path / "model.keras")
        resumed = keras.models.load_model(tmp_path / "model.keras")
        assert_same(state(killed), state(resumed))
        # Saved once more before it knows what judges.
        resumed.save(tmp_path / "again.keras")
        resumed = keras.models.load_model(tmp_path / "again.keras")
        resumed.validation_set = judging["validation_set"]
    else:
        killed.save_weights(tmp_path / "model.weights.h5")
        resumed = compiled(**{**CADENCE, **judging})
        resumed.load_weights(tmp_path / "model.weights.h5")
    fit(resumed, 3, data(start_step=4))
    assert_same(state(whole), state(resumed))
    assert whole.weight_optimizer.iterations == 3


class Kill(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations == 5:
            raise KeyboardInterrupt


def test_backup_and_restore(tmp_path):
    whole, killed = build(), build()
    fit(whole, 3, epochs=3)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        fit(killed, 3, epochs=3, callbacks=[backup, Kill()])
    resumed = build()
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    # The second epoch was not finished.
    fit(resumed, 3, data(start_step=3), epochs=3, callbacks=[backup])
    assert_same(state(whole), state(resumed))


SAVED_BY_0_1 = pathlib.Path(__file__).parent / "saved"


@loads_old_files
def test_single_weights_that_version_0_1_saved():
    path = SAVED_BY_0_1 / "single_by_0_1.keras"
    with pytest.warns(UserWarning, match="no past steps"):
        model = keras.models.load_model(path)
    np.testing.assert_allclose(model.example_weights[0], 0.8762762, rtol=1e-6)
    assert repr(model.influence) == "Unrolled(parameters='last_layer')"
    assert repr(model.weight_optimizer).startswith("MAdam(learning_rate=")
    assert model.optimizer.iterations == 8
    labeled, unlabeled = ((x, y % 2) for x, y in (draw(8, 0), draw(24, 1)))
    model.validation_set = labeled
    fit(model, 2, data(labeled=labeled, unlabeled=unlabeled))
    assert np.isfinite(model.example_weights).all()


@loads_old_files
def test_predicted_weights_that_version_0_1_saved():
    with pytest.raises(ValueError, match=r"version 0\.1 .* load it there"):
        keras.models.load_model(SAVED_BY_0_1 / "predicted_by_0_1.keras")


class Plain(keras.Model):
    """A network that nothing builds before its first batch."""

    def __init__(self):
        super().__init__()
        self.head = keras.layers.Dense(3)

    def call(self, inputs):
        return self.head(inputs)


@pytest.mark.parametrize(
    "built", [Plain, lambda: keras.Sequential([keras.layers.Dense(3)])]
)
def test_a_network_that_fit_builds_is_saved(built, tmp_path):
    model, path = compiled(built()), tmp_path / "a.weights.h5"
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    fit(model, 2, callbacks=[backup])
    assert model.built
    model.save_weights(path)
    other = compiled(built())
    fit(other, 1)
    other.load_weights(path)
    np.testing.assert_array_equal(other.example_weights, model.example_weights)
    for a, b in zip(other.weights, model.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def uncompiled():
    return ki.InfluenceModel(network(), UNLABELED)


def test_a_model_that_is_not_compiled(tmp_path):
    """A new one, and one that was trained."""
    trained = compiled(metrics=["accuracy"])
    fit(trained, 3)
    trained.save(tmp_path / "trained.keras")
    loaded = keras.models.load_model(tmp_path / "trained.keras", compile=False)
    for model in (uncompiled(), loaded):
        model.save(tmp_path / "model.keras")
        copy = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(
            model.example_weights, copy.example_weights
        )
        assert not copy.compiled
        assert not keras.models.clone_model(model).compiled
    assert np.ptp(loaded.example_weights) > 0


def start(model, unlabeled_loss):
    model.compile("sgd", LOSS, unlabeled_loss, validation_set=V)
    return model.example_weights[0]


def through_a_file(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return keras.models.load_model(tmp_path / "model.keras")


@pytest.mark.parametrize(
    "remade",
    [
        lambda model, tmp_path: model,
        lambda model, tmp_path: keras.models.clone_model(model),
        through_a_file,
    ],
)
def test_weights_start_where_the_loss_says(remade, tmp_path):
    """Until something is learned."""
    given, pseudo = ki.losses.GivenLabels(), ki.losses.PseudoLabel()
    model = remade(uncompiled(), tmp_path)
    assert start(model, given) == np.float32(0.1)
    model = remade(model, tmp_path)
    assert start(model, pseudo) == 1.0
    chosen = remade(ki.InfluenceModel(network(), 9, 0.7), tmp_path)
    assert start(chosen, given) == np.float32(0.7)


@pytest.mark.parametrize("compiles", [True, False])
def test_what_was_learned_does_not_start_anew(compiles, tmp_path):
    model = uncompiled()
    start(model, ki.losses.GivenLabels())
    fit(model, 3)
    learned = model.example_weights
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=compiles)
    for changed in (model, loaded):
        for _ in range(2):
            start(changed, ki.losses.PseudoLabel())
            np.testing.assert_array_equal(changed.example_weights, learned)
