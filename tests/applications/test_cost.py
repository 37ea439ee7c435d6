import pytest

from applications import cost
from applications.experiment import Experiment
from applications.recipe import resolve

TINY = [
    *["epochs=1", "steps_per_epoch=3", "weights.warmup_steps=1"],
    *["inner_steps=1", "batch_size=4", "dataset.test=50"],
    *["dataset.unlabeled=60", "dataset.validation=20", "labeled=12"],
    "validation_draw=20",
]


def test_the_cost_of_a_run(monkeypatch):
    quick = ["strong=weak_augment", "network=linear", "influence=luketina"]
    recipe = resolve("uda_cifar10_1000", [*TINY, *quick], scale="small")
    recipe |= {"epochs": 2, "steps_per_epoch": 500}
    recipe["weights"] |= {"warmup_steps": 400, "inner_steps": 10}
    models, make = [], Experiment.influence_model

    def spy(self):
        models.append(make(self))
        return models[-1]

    monkeypatch.setattr(Experiment, "influence_model", spy)
    measured = cost.measure(recipe)
    # The one before is the rehearsal's.
    assert models[-1].weight_optimizer.iterations == 2
    assert measured["device"]
    plain, update = measured["step_seconds"], measured["update_seconds"]
    assert plain > 0
    expected = 1000 * plain + 60 * max(update - plain, 0)
    assert measured["hours"] * 3600 == pytest.approx(expected, abs=20)
    assert measured["memory_gib"] > 0.1


def test_the_cost_of_images_of_another_size(monkeypatch):
    recipe = resolve("fixmatch_cifar10_250", ["dataset=stl10"], "small")
    shapes = []
    monkeypatch.setattr(
        cost,
        "_step_seconds",
        lambda _, task: shapes.append(task.unlabeled.shape[1:]) or (1.0, 2.0),
    )
    cost.measure(recipe)
    assert shapes == [(96, 96, 3)]
    recipe["dataset"]["source"] = "cifar100"
    assert cost.random_task(recipe, (8, 8, 3)).truth.max() == 99
    recipe["dataset"]["source"] = "/some/folder"
    with pytest.raises(ValueError, match=r"knows the images.*/some/folder"):
        cost.measure(recipe)
