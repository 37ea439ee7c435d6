import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds
from typer.testing import CliRunner

from applications import cost
from applications.__main__ import app
from applications.experiment import Experiment
from applications.presets.images import IMAGES, SOURCES, VARIANTS
from applications.presets.tables import described
from applications.recipe import resolve, sources
from applications.run_state import RunState

BASES = {
    *(f"uda_cifar10_{n}" for n in (250, 1000, 4000)),
    *(f"fixmatch_cifar10_{n}" for n in (40, 250, 1000, 4000)),
    *(f"{m}_svhn_{n}" for m in ("uda", "fixmatch") for n in (250, 1000)),
    *(f"{m}_cifar10_250" for m in ("flexmatch", "freematch", "softmatch")),
    *(f"{m}_cifar10_250" for m in ("mean_teacher", "vat")),
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
    assert set(IMAGES) == BASES
    for name in BASES:
        recipe = IMAGES[name] | {"description": described(IMAGES[name])}
        assert resolve(name, ["variant=learned"]) == recipe
        assert recipe.pop("variants") == ["learned weights"]
        for scale in (None, "small"):
            baseline = resolve(name, ["variant=constant"], scale)
            assert baseline.pop("variants") == ["constant weight"]
        baseline = resolve(name, [" variant = constant "])
        baseline.pop("variants")
        assert baseline == recipe


def test_what_the_authors_did():
    recipe = resolve("fixmatch_cifar10_40", ["max_weight=3", "variant=authors"])
    # A setting counts whatever the order.
    assert recipe["weights"]["max_weight"] == 3
    assert recipe["weights"]["validation_draw"] == 448
    with pytest.raises(ValueError, match=r"'author'\. Did you mean authors"):
        resolve("fixmatch_cifar10_40", ["variant=author"])
    with pytest.raises(ValueError, match="Unknown variant 'authors'"):
        resolve("uda_cifar10_250", ["variant=authors"])
    with pytest.raises(ValueError, match="Unknown setting 'variant'"):
        resolve("digits", ["variant=constant"])


@pytest.mark.parametrize("name", IMAGES)
def test_every_value_has_a_source(name):
    assert set(leaves(IMAGES[name])) == set(SOURCES[name])


def test_sources_of_values_that_were_set():
    settings = ["batch_size=8", "variant=authors"]
    found = sources("fixmatch_cifar10_40", settings, "small")
    assert found["batch_size"] == "--set"
    assert found["network.depth"] == "--scale small"
    assert found["weights.max_weight"] == "S"
    assert found["weight_optimizer.learning_rate"] == "A: section D"
    assert set(sources("digits").values()) == {"this project"}


def test_methods_that_came_after_keep_the_rest():
    fixmatch = resolve("fixmatch_cifar10_250")
    for method in ("flexmatch", "freematch", "softmatch"):
        recipe = resolve(f"{method}_cifar10_250")
        changed = {k for k in recipe if recipe[k] != fixmatch[k]}
        assert changed == {"description", "unlabeled_loss"}


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
    entropy = few["unlabeled_loss"]["entropy_weight"]
    # U19's coefficient, which the weights do not multiply there.
    assert 5 * entropy == pytest.approx(0.1)
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


@pytest.fixture
def svhn_dir(tmp_path, monkeypatch):
    """`svhn_cropped` as TFDS prepares it, of random images."""
    builder = tfds.builder("svhn_cropped", data_dir=tmp_path / "tfds")

    def examples(size):
        rng = np.random.default_rng(size)
        for i in range(size):
            image = rng.integers(0, 256, (32, 32, 3), dtype="uint8")
            yield i, {"id": str(i), "image": image, "label": i % 10}

    monkeypatch.setattr(
        type(builder),
        "_split_generators",
        lambda *_: {"train": examples(100), "test": examples(50)},
    )
    builder.download_and_prepare()
    return str(tmp_path / "tfds")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *["fixmatch_cifar10_250", "uda_cifar10_250", "uda_svhn_250"],
        *["fixmatch_svhn_250", "fashion_mnist_mismatch"],
        *["flexmatch_cifar10_250", "freematch_cifar10_250"],
        *["softmatch_cifar10_250", "mean_teacher_cifar10_250"],
        "vat_cifar10_250",
    ],
)
def test_run_on_images(name, tmp_path, request):
    data = "svhn_dir" if "svhn" in name else "tfds_dir"
    tfds_dir = request.getfixturevalue(data)
    output = tmp_path / "output"
    schedule = ["schedule.warmup_steps=1"] if name.startswith("uda") else []
    settings = [*TINY, *schedule, "variants=learned weights"]
    options = [part for s in settings for part in ("--set", s)]
    result = CliRunner().invoke(
        app,
        [
            *["run", name, "--scale", "small", "--data-dir", tfds_dir],
            *["--output", str(output), *options],
        ],
    )
    assert result.exit_code == 0, result.output
    (row,) = json.loads((output / "results.json").read_text())
    assert 0 <= row["test_accuracy"] < 1
    files = {path.name for path in output.iterdir()}
    assert files >= {"weights.csv", "splits.csv", "config.json", "examples.png"}
    assert ("ct_augment.json" in files) == (not name.startswith(("uda", "vat")))


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
    with RunState(tmp_path, recipe) as progress:
        progress.begin()
        (row,) = Experiment(recipe, 0).run(tmp_path, progress)
    assert row["test_accuracy"] == pytest.approx(np.median(keep.accuracy[-3:]))
    # Evaluated with the averaged weights, which training ends with.
    assert keep.accuracy[-1] == pytest.approx(last[0])


STEP = (
    *("network", "views", "optimizer", "schedule", "weights", "influence"),
    *("weight_optimizer", "unlabeled_loss", "batch_size", "unlabeled_ratio"),
)


def steps():
    """One preset for every kind of training step, baselines among them.

    Presets that differ in nothing but the numbers of labels and steps, the
    draw of the labels and the variants to train take the same step.
    """
    kinds = {}
    for name in IMAGES:
        for variant in VARIANTS[name]:
            recipe = resolve(name, [f"variant={variant}"])
            kind = {part: recipe[part] for part in STEP if part in recipe}
            data = recipe["dataset"]
            kind["data"] = data["source"], data["known_classes"]
            kinds.setdefault(json.dumps(kind), f"{name}-{variant}")
    return list(kinds.values())


def test_no_kind_of_step_is_forgotten():
    sources = ("uda_cifar10", "uda_svhn", "fixmatch_cifar10", "fixmatch_svhn")
    authors = ("fixmatch_cifar10_40-authors", "fixmatch_svhn_250-authors")
    later = ("flexmatch", "freematch", "softmatch", "mean_teacher", "vat")
    mismatch = ("cifar10_mismatch", "fashion_mnist")
    kinds = steps()
    for start in (*sources, *authors, *later, *mismatch):
        assert any(name.startswith(start) for name in kinds)
    assert {"uda_cifar10_250-learned", "uda_svhn_250-learned"} <= set(kinds)


@pytest.mark.slow
@pytest.mark.parametrize("step", steps())
def test_one_full_size_step(step, tmp_path, alone):
    """A plain step and one that updates the weights, on few images."""
    name, _, variant = step.partition("-")
    recipe = without_schedule_warmup(resolve(name, [f"variant={variant}"]))
    recipe |= {"epochs": 1, "steps_per_epoch": 2}
    recipe["weights"] |= {"warmup_steps": 1, "inner_steps": 1}
    shape = cost.KNOWN[recipe["dataset"]["source"]][0]
    experiment = Experiment(recipe, 0, cost.random_task(recipe, shape))
    model = experiment.influence_model()
    views = experiment.views()
    logs = model.fit(
        experiment.batches(views),
        steps_per_epoch=2,
        callbacks=experiment.rates(views, tmp_path),
        verbose=0,
    ).history
    assert np.isfinite(logs["loss"][0])
    assert model.optimizer.iterations == 2
    assert model.weight_optimizer.iterations == 1
    assert logs["updates_skipped"] == [0]


@pytest.mark.parametrize(
    ("curvature", "skipped"),
    [("hessian", 1), ("gauss_newton", 1), ("outer_product", 0)],
)
def test_entropy_makes_the_hessian_indefinite(curvature, skipped):
    settings = [*TINY[:-1], "network=linear", "initial_weight=5"]
    recipe = resolve("uda_svhn_250", settings, "small")
    assert recipe["influence"]["curvature"] == "outer_product"
    recipe["influence"]["curvature"] = curvature
    view = {"name": "weak_augment", "shift": 0}
    recipe["views"] = {"weak": view, "strong": view}
    # Inputs that leave the linear network undecided.
    task = cost.random_task(recipe, (4, 4, 3))
    task.unlabeled, x = (
        np.random.default_rng(0).normal(size=(n, 4, 4, 3))
        for n in (len(task.truth), len(task.labeled[1]))
    )
    task.labeled = x, task.labeled[1]
    task.validation = task.unlabeled, task.truth
    recipe["weights"]["warmup_steps"] = 0
    experiment = Experiment(without_schedule_warmup(recipe), 0, task)
    model = experiment.influence_model()
    batches = experiment.batches(experiment.views())
    logs = model.fit(batches, steps_per_epoch=1, verbose=0).history
    assert logs["updates_skipped"] == [skipped]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(precision, tmp_path):
    settings = [*TINY, f"precision={precision}", "confidence=0"]
    recipe = resolve("fixmatch_cifar10_250", settings, scale="small")
    recipe["variants"] = ["learned weights"]
    experiment = Experiment(recipe, 0, cost.random_task(recipe, (16, 16, 3)))
    network = experiment.influence_model().network
    with RunState(tmp_path, recipe) as progress:
        progress.begin()
        rows = experiment.run(tmp_path, progress)
    assert keras.config.dtype_policy().name == "float32"
    assert network.layers[2].compute_dtype == precision.removeprefix("mixed_")
    assert network.output.dtype == "float32"
    assert rows[0]["weight_std"] > 0


TWO_DEVICES = """
import sys
import keras
import numpy as np
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2)

from applications import cost
from applications.experiment import Experiment
from applications.recipe import resolve

recipe = resolve("fixmatch_cifar10_250", sys.argv[2:], scale="small")
recipe["unlabeled_loss"]["confidence"] = 0.0
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    experiment = Experiment(recipe, 0, cost.random_task(recipe, (16, 16, 3)))
    model = experiment.influence_model()
views = experiment.views()
rates = experiment.rates(views, sys.argv[1])
swap = keras.callbacks.SwapEMAWeights()
model.fit(
    experiment.batches(views), steps_per_epoch=3, callbacks=[*rates, swap],
    validation_data=experiment.task.test, verbose=0)
assert model.weight_optimizer.iterations == 2
assert np.ptp(model.example_weights) > 0
assert (views["strong"].ct_augment.rates.numpy() < 1).any()
for v in [*model.network.weights, model.weighting.values]:
    copies = strategy.experimental_local_results(v.value)
    if v.trainable:
        np.testing.assert_array_equal(*copies)
print("same")
"""


@pytest.mark.slow
def test_two_devices(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES, str(tmp_path), *TINY],
        cwd=pathlib.Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert result.stdout.strip().endswith("same"), result.stderr


def test_only_images_are_measured():
    result = CliRunner().invoke(app, ["show", "digits", "--cost"])
    assert result.exit_code == 2
    message = " ".join(result.output.replace("│", " ").split())
    assert "recipes for images only" in message
