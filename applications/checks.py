"""Recipes whose numbers cannot be, or contradict each other."""

import numpy as np

from applications.task import Task


def check(recipe: dict) -> None:
    """Refuses numbers that cannot be, and what is named twice.

    Args:
        recipe: dict, as `resolve` gives it.

    Raises:
        ValueError: if it has no steps, none that learns weights, or names a
            seed or a variant twice.
    """
    for name in ("epochs", "steps_per_epoch", "batch_size", "unlabeled_ratio"):
        if not recipe.get(name, 1) > 0:
            raise ValueError(
                f"`{name}` must be positive. Received: {recipe[name]}."
            )
    if recipe.get("median_epochs", 0) < 0:
        raise ValueError(
            "`median_epochs` must not be negative; 0 takes the network as it "
            f"is in the end. Received: {recipe['median_epochs']}."
        )
    for name in ("seeds", "variants"):
        values = recipe.get(name, ())
        if len(set(values)) < len(values):
            raise ValueError(
                f"`{name}` must name each one once. Received: {values}."
            )
    if "weights" in recipe:
        _check_warmup(recipe)


def _check_warmup(recipe):
    steps = recipe["epochs"] * recipe["steps_per_epoch"]
    warmup_steps = recipe["weights"]["warmup_steps"]
    if warmup_steps >= steps:
        raise ValueError(
            "`weights.warmup_steps` must be less than `epochs` times "
            f"`steps_per_epoch`, here {steps}, or no weight is ever learned. "
            f"Received: {warmup_steps}."
        )


def check_task(task: Task) -> None:
    """Refuses data on which results cannot be compared.

    Args:
        task: `Task`, the data.

    Raises:
        ValueError: if there is nothing to validate or to test on, or the
            labels that train are without a class which is judged.
    """
    for name in ("validation", "test"):
        if not len(getattr(task, name)[1]):
            raise ValueError(
                f"`dataset.{name}` must be positive: the results are "
                f"compared on the {name} set. Received: 0."
            )
    judged = np.union1d(task.validation[1], task.test[1])
    missing = judged[judged > task.labeled[1].max()]
    if len(missing):
        raise ValueError(
            "The labels that train have none of classes that are judged: "
            "raise `labeled` or, for images, set `balanced=true`. Received: "
            f"none of {[task.name(label) for label in missing.tolist()]}"
        )
