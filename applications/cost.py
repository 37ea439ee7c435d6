"""What a run will take, from a few measured steps on random images."""

import resource
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf

from applications.experiment import Experiment
from applications.task import Task

# Shape of an image and number of classes, of well-known data sets.
KNOWN = {
    "cifar10": ((32, 32, 3), 10),
    "cifar100": ((32, 32, 3), 100),
    "fashion_mnist": ((28, 28, 1), 10),
    "mnist": ((28, 28, 1), 10),
    "stl10": ((96, 96, 3), 10),
    "svhn_cropped": ((32, 32, 3), 10),
}


class _Clock(keras.callbacks.Callback):
    """Seconds from step to step: data and the callbacks before it included."""

    def on_train_begin(self, logs=None):
        self.times = []
        self.start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        # An accelerator may still be at work.
        self.model.optimizer.iterations.numpy()
        now = time.perf_counter()
        self.times.append(now - self.start)
        self.start = now


def measure(recipe: dict, shape: tuple | None = None) -> dict:
    """Runs four steps of a recipe for images: what it takes on this machine.

    The second and the fourth step update the weights; the first two compile.

    Args:
        recipe: dict, as `applications.recipe.resolve` gives it.
        shape: tuple `(height, width, channels)` of an image. Defaults to
            `None`: that of the recipe's data set.

    Returns:
        dict with `"device"`, `"step_seconds"`, `"update_seconds"` (a step that
        updates the weights), `"hours"` of one training with learned weights
        and `"memory_gib"` at its peak: of one device or, without an
        accelerator, of the process. Hours are without the evaluations, memory
        without the data set.

    Raises:
        ValueError: if the recipe is not one for images, or of a data set whose
            images are not known without reading it.
    """
    source = recipe["dataset"].get("source")
    if recipe["dataset"]["name"] != "images":
        raise ValueError("`--cost` measures recipes for images only.")
    if source not in KNOWN:
        raise ValueError(
            f"`--cost` knows the images of {', '.join(KNOWN)}. For others, "
            "let a few steps run: `--set epochs=1 --set steps_per_epoch=9`. "
            f"Received: {source!r}."
        )
    shape = shape or KNOWN[source][0]
    steps = recipe["epochs"] * recipe["steps_per_epoch"]
    weights = recipe["weights"]
    updates = (steps - weights["warmup_steps"]) // weights["inner_steps"]
    plain, update = _step_seconds(recipe, random_task(recipe, shape))
    hours = (steps * plain + updates * max(update - plain, 0)) / 3600
    return {
        "device": _device(),
        "step_seconds": round(plain, 4),
        "update_seconds": round(update, 4),
        "hours": round(hours, 2),
        "memory_gib": round(_peak_memory() / 2**30, 2),
    }


def random_task(recipe: dict, shape: tuple) -> Task:
    """Random images in place of the recipe's data.

    Args:
        recipe: dict, as `applications.recipe.resolve` gives it.
        shape: tuple `(height, width, channels)`.
    """
    random = np.random.default_rng(0)
    known = recipe["dataset"]["known_classes"]
    _, classes = KNOWN[recipe["dataset"]["source"]]
    if known is not None:
        classes = len(known)

    def examples(size):
        x = random.integers(0, 256, (size, *shape)).astype("uint8")
        return x, np.arange(size) % classes

    unlabeled, truth = examples(2000)
    return Task(
        labeled=examples(max(classes, recipe["dataset"]["labeled"])),
        validation=examples(recipe["dataset"]["validation"]),
        test=examples(100),
        unlabeled=unlabeled,
        truth=truth,
    )


def _step_seconds(recipe, task):
    """Seconds of a plain step and of one that updates the weights."""
    every_other = {"inner_steps": 2, "warmup_steps": 0}
    recipe = recipe | {"weights": recipe["weights"] | every_other}
    experiment = Experiment(recipe, 0, task)
    model = experiment.influence_model()
    views = experiment.views()
    clock = _Clock()
    with tempfile.TemporaryDirectory() as directory:
        rates = experiment.rates(views, directory)
        model.fit(
            experiment.batches(views),
            epochs=1,
            steps_per_epoch=4,
            callbacks=[*rates, clock],
            verbose=0,
        )
    return clock.times[2:]


def _device():
    devices = tf.config.list_physical_devices("GPU")
    if not devices:
        return "CPU"
    details = tf.config.experimental.get_device_details(devices[0])
    return details.get("device_name", "GPU")


def _peak_memory():
    if tf.config.list_physical_devices("GPU"):
        return tf.config.experimental.get_memory_info("GPU:0")["peak"]
    # Linux counts in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
