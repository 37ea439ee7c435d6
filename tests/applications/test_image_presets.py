import json

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from applications import cost
from applications.__main__ import app
from applications.experiment import Experiment
from applications.presets.images import IMAGES, SOURCES
from applications.recipe import resolve, sources

BASES = {
    *(f"uda_cifar10_{n}" for n in (250, 1000, 4000)),
    *(f"fixmatch_cifar10_{n}" for n in (40, 250, 1000, 4000)),
    *(f"{m}_svhn_{n}" for m in ("uda", "fixmatch") for n in (250, 1000)),
    *("cifar10_mismatch", "fashion_mnist_mismatch"),
}
TINY = [
    *["epochs=1", "steps_per_epoch=3", "weights.warmup_steps=1"],
    *["inner_steps=1", "batch_size=4", "dataset.test=50"],
    *["dataset.unlabeled=60", "dataset.validation=20", "labeled=12"],
    *["validation_draw=20", "network.depth=10"],
]


def leaves(recipe, prefix=""):
    for key, value in recipe.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def without_schedule_warmup(recipe):
    if "warmup_steps" in recipe["schedule"]:
        recipe["schedule"]["warmup_steps"] = 1
    return recipe


def test_every_preset_has_its_baseline():
    fixmatch = {n for n in BASES if n.startswith("fixmatch")}
    names = BASES | {f"{n}_constant" for n in BASES}
    assert set(IMAGES) == names | {f"{n}_authors" for n in fixmatch}
    for name in BASES:
        baseline = dict(IMAGES[f"{name}_constant"])
        assert baseline.pop("variants") == ["constant weight"]
        ignored = ("variants", "description")
        assert {k: v for k, v in baseline.items() if k not in ignored} == {
            k: v for k, v in IMAGES[name].items() if k not in ignored
        }


@pytest.mark.parametrize("name", IMAGES)
def test_every_value_has_a_source(name):
    assert set(leaves(IMAGES[name])) == set(SOURCES[name])


def test_sources_of_values_that_were_set():
    recipe = resolve("fixmatch_cifar10_40", ["batch_size=8"], scale="small")
    found = sources("fixmatch_cifar10_40", recipe)
    assert found["batch_size"] == found["network.depth"] == "set"
    assert found["weight_optimizer.learning_rate"] == "A: section D"
    assert sources("digits", resolve("digits")) == {}


def test_the_appendix_numbers():
    uda, fixmatch = resolve("uda_cifar10_4000"), resolve("fixmatch_svhn_250")
    few = resolve("uda_svhn_250")
    for recipe, unlabeled in ((uda, 320), (fixmatch, 448)):
        assert recipe["batch_size"] == 64
        assert recipe["batch_size"] * recipe["unlabeled_ratio"] == unlabeled
        assert recipe["dataset"]["validation"] == 1024
        assert recipe["weight_optimizer"]["learning_rate"] == 0.01
    assert uda["epochs"] * uda["steps_per_epoch"] == 400_000
    assert fixmatch["epochs"] * fixmatch["steps_per_epoch"] == 2**20
    assert uda["weights"]["warmup_steps"] == 20_000
    assert uda["weights"]["inner_steps"] == 100
    assert fixmatch["weights"]["inner_steps"] == 512
    assert uda["weights"]["initial_weight"] == 1
    assert few["weights"]["initial_weight"] == 5
    assert few["network"]["weight_decay"] == 7e-4
    assert not fixmatch["views"]["strong"]["flip"]


def test_another_data_set_by_name():
    recipe = resolve("fixmatch_cifar10_250", ["dataset=stl10"])
    assert recipe["dataset"]["source"] == "stl10"
    assert recipe["dataset"]["labeled"] == 250
    recipe = resolve("fixmatch_cifar10_250", ["dataset=digits"])
    assert recipe["dataset"] == {"name": "digits"}


def test_unknown_scales():
    with pytest.raises(ValueError, match=r"'smal'\. Did you mean small"):
        resolve("uda_cifar10_250", scale="smal")
    assert resolve("digits", scale="small") == resolve("digits")


@pytest.mark.parametrize(
    "name",
    [
        "fixmatch_cifar10_250",
        pytest.param("uda_cifar10_250", marks=pytest.mark.slow),
        pytest.param("fashion_mnist_mismatch", marks=pytest.mark.slow),
    ],
)
def test_run_on_real_images(name, tmp_path, tfds_dir):
    schedule = ["schedule.warmup_steps=1"] if name.startswith("uda") else []
    settings = [*TINY, *schedule, "variants=learned weights"]
    options = [part for s in settings for part in ("--set", s)]
    result = CliRunner().invoke(
        app,
        [
            *["run", name, "--scale", "small", "--data-dir", tfds_dir],
            *["--output", str(tmp_path), *options],
        ],
    )
    assert result.exit_code == 0, result.output
    (row,) = json.loads((tmp_path / "results.json").read_text())
    assert 0 < row["test_accuracy"] < 1
    files = {path.name for path in tmp_path.iterdir()}
    assert files >= {"weights.csv", "splits.csv", "config.json", "examples.png"}
    assert ("ct_augment.json" in files) == (not name.startswith("uda"))


class Keep(keras.callbacks.Callback):
    """Keeps the test accuracy of every epoch."""

    def __init__(self):
        super().__init__()
        self.accuracy = []

    def on_epoch_end(self, epoch, logs=None):
        self.accuracy.append(logs["val_accuracy"])


def test_the_result_is_the_median_of_averaged_weights(monkeypatch, tmp_path):
    recipe = resolve("digits")
    recipe |= {"epochs": 4, "steps_per_epoch": 10, "median_epochs": 3}
    recipe |= {"variants": ["constant weight"]}
    recipe["weights"]["warmup_steps"] = 0
    recipe["optimizer"] |= {"use_ema": True, "ema_momentum": 0.9}
    keep, last, row_of = Keep(), [], Experiment._row

    def spy(self, variant, network):
        row = row_of(self, variant, network)
        last.append(row["test_accuracy"])
        return row

    monkeypatch.setattr(Experiment, "_row", spy)
    monkeypatch.setattr(Experiment, "rates", lambda *_: [keep])
    (row,) = Experiment(recipe, 0).run(tmp_path)
    assert row["test_accuracy"] == pytest.approx(np.median(keep.accuracy[-3:]))
    # Evaluated with the averaged weights, which training ends with.
    assert keep.accuracy[-1] == pytest.approx(last[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", sorted(n for n in IMAGES if not n.endswith("_constant"))
)
def test_one_full_size_step(name, tmp_path):
    recipe = without_schedule_warmup(resolve(name))
    recipe |= {"epochs": 1, "steps_per_epoch": 2}
    recipe["weights"] |= {"warmup_steps": 1, "inner_steps": 1}
    shape = (28, 28, 1) if name.startswith("fashion") else (32, 32, 3)
    experiment = Experiment(recipe, 0, cost.random_task(recipe, shape))
    model = experiment.influence_model()
    views = experiment.views()
    history = model.fit(
        experiment.batches(views),
        steps_per_epoch=2,
        callbacks=experiment.rates(views, tmp_path),
        verbose=0,
    ).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.slow
def test_the_cost_of_a_run(tmp_path):
    result = CliRunner().invoke(
        app,
        ["show", "fashion_mnist_mismatch", "--scale", "small", "--cost"],
    )
    assert result.exit_code == 0, result.output
    measured = json.loads(result.stdout)["cost"]
    assert measured["device"]
    assert measured["step_seconds"] > 0
    steps = measured["hours"] * 3600 / measured["step_seconds"]
    assert steps >= 300
    assert measured["memory_gib"] > 0.1


def test_only_images_are_measured():
    result = CliRunner().invoke(app, ["show", "digits", "--cost"])
    assert result.exit_code == 2
    message = " ".join(result.output.replace("│", " ").split())
    assert "recipes for images only" in message
