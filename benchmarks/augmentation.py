"""Images per second of the augmentation pipelines.

    python -m benchmarks.augmentation [--rounds 7] [--json PATH]

Compares, interleaved, batches of 448 uint8 images of 32 x 32 pixels through

- this library's layers in a parallel `tf.data` map;
- the same recipes in Pillow and numpy, in one process a core, as the authors
  of UDA and FixMatch ran them (benchmarks/pillow_recipes.py);
- the nearest stock Keras layers in a parallel `tf.data` map. Theirs are other
  recipes: one operation for a whole batch, a box inside the image.

Then, one after the other, all of a preset's input pipeline (labelled images,
weak and strong views) and its training step on WRN-28-2, with batches of
8 + 56 and 8 + 40 images.
"""

import argparse
import multiprocessing
import os

import keras
import numpy as np
import tensorflow as tf

from applications.cost import random_task
from applications.experiment import Experiment
from applications.recipe import resolve
from benchmarks import harness, pillow_recipes
from keras_influence.augmentation import CTAugment, RandAugment, WeakAugment

BATCH, BATCHES, CORES = 448, 8, os.cpu_count()
IMAGES = np.random.default_rng(0).integers(
    0, 256, (BATCH, 32, 32, 3), dtype=np.uint8
)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", default=None)
    arguments = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(CORES) as pool:
        rows = [
            row
            for pipeline, methods in pipelines(pool).items()
            for row in compared(pipeline, methods, arguments.rounds)
        ]
    fed = [
        against_training(name, arguments.rounds)
        for name in ("uda_cifar10_4000", "fixmatch_cifar10_4000")
    ]
    tables = {
        f"Augmentation, {CORES} cores": rows,
        f"Input and training step, WRN-28-2, {CORES} cores": fed,
    }
    for title, table in tables.items():
        harness.print_table(title, table)
    harness.write_json(arguments.json, tables, rounds=arguments.rounds)


def pipelines(pool):
    weak, strong = WeakAugment(), CTAugment()
    keras_weak = [
        keras.layers.RandomFlip("horizontal"),
        keras.layers.RandomTranslation(0.125, 0.125, interpolation="nearest"),
    ]
    keras_strong = [
        keras.layers.RandAugment(value_range=(0, 255), num_ops=2),
        keras.layers.RandomErasing(1.0, scale=0.25),
    ]
    return {
        "weak": {
            "keras_influence": through(weak),
            "Pillow": in_processes(pool, pillow_weak),
            "stock Keras": through(*keras_weak),
        },
        "UDA strong (RandAugment, weak)": {
            "keras_influence": through(RandAugment(variant="uda"), weak),
            "Pillow": in_processes(pool, pillow_uda),
            "stock Keras": through(*keras_strong, *keras_weak),
        },
        "FixMatch strong (weak, RandAugment)": {
            "keras_influence": through(weak, RandAugment(variant="fixmatch")),
            "Pillow": in_processes(pool, pillow_fixmatch),
            "stock Keras": through(*keras_weak, *keras_strong),
        },
        "FixMatch strong (weak, CTAugment)": {
            "keras_influence": through(weak, strong),
            "Pillow": in_processes(pool, pillow_ct),
            "stock Keras": through(*keras_weak, *keras_strong),
        },
    }


def compared(pipeline, methods, rounds):
    seconds = harness.interleave(methods, rounds)
    relative = harness.ratios(seconds, "Pillow")
    return [
        {
            "pipeline": pipeline,
            "method": name,
            "images/s": round(BATCH * BATCHES / np.median(values)),
            "x Pillow": 1.0 / relative[name],
        }
        for name, values in seconds.items()
    ]


def against_training(name, rounds):
    """How fast a preset's images come, and how fast they are trained on."""
    recipe = resolve(name, ["batch_size=8"])
    experiment = Experiment(recipe, 0, random_task(recipe, (32, 32, 3)))
    # Not interleaved: while one ran, the other would fill its buffers.
    batches = iter(experiment.batches(experiment.views()))
    read = harness.interleave(
        {"input": lambda: [next(batches) for _ in range(4 * BATCHES)]}, rounds
    )["input"]
    batch = next(batches)
    model = experiment.influence_model(learned=False)
    train = model.make_train_function()
    data = iter(tf.data.Dataset.from_tensors(batch).repeat())
    step = harness.interleave({"step": lambda: train(data)}, rounds)["step"]
    images = len(batch["labeled"][1]) + 2 * len(batch["unlabeled"]["index"])
    delivered = images * 4 * BATCHES / np.median(read)
    consumed = images / np.median(step)
    return {
        "preset": name,
        "images a step": images,
        "input images/s": round(delivered),
        "step images/s": round(consumed),
        "input / step": delivered / consumed,
    }


def through(*layers):
    """Runs the batches through Keras layers in a `tf.data` map."""

    def augment(images):
        for layer in layers:
            images = layer(images, training=True)
        return images

    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False
    data = tf.data.Dataset.from_tensors(IMAGES).repeat()
    data = data.map(augment, num_parallel_calls=CORES).with_options(options)
    batches = iter(data)
    # As many may be ready before the clock starts: do them in addition.
    return lambda: [next(batches) for _ in range(BATCHES + CORES)]


def in_processes(pool, recipe):
    """Runs the batches through a recipe for one image, in processes."""
    tasks = [(recipe, seed) for seed in range(BATCHES)]
    return lambda: pool.starmap(augment_batch, tasks, chunksize=1)


def augment_batch(recipe, seed):
    rng = np.random.default_rng(seed)
    return np.stack([recipe(image, rng) for image in IMAGES])


def pillow_weak(image, rng):
    image = image[:, ::-1] if rng.uniform() < 0.5 else image
    y, x = rng.integers(0, 9, 2)
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)), mode="reflect")
    return padded[y : y + 32, x : x + 32]


def pillow_rand_augment(image, rng, variant):
    draws = rng.uniform(size=(2, 6)).tolist()
    fill = (127, 127, 127)
    image = pillow_recipes.rand_augment(image, variant, draws, fill)
    return cut(image, rng)


def pillow_uda(image, rng):
    return pillow_weak(pillow_rand_augment(image, rng, "uda"), rng)


def pillow_fixmatch(image, rng):
    return pillow_rand_augment(pillow_weak(image, rng), rng, "fixmatch")


def pillow_ct(image, rng):
    draws = rng.uniform(size=(2, 5)).tolist()
    return cut(pillow_recipes.ct_augment(pillow_weak(image, rng), draws), rng)


def cut(image, rng):
    y, x = rng.integers(0, 32, 2)
    image = image.copy()
    image[max(0, y - 8) : y + 8, max(0, x - 8) : x + 8] = 127
    return image


if __name__ == "__main__":
    main()
