"""One command on data as people have it: minutes, and what it gains.

    python -m benchmarks.own_data --data-dir PATH [--only images ...]
        [--seeds 3] [--json PATH]

A folder of 2,000 JPEG and PNG files of CIFAR-10, 2,000 IMDb reviews, and the
breast cancer table of scikit-learn, half of whose rows are for testing. A part
of the labels is trusted, of the others 40 % are wrong, and a quarter has none.
Accuracies are cross-checked on some 300 trusted labels, as the command prints
them, and on unseen examples of models that trained on all of these labels.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import keras
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score

from applications.own.experiment import ALIKE, ALONE, VARIANTS, OwnExperiment
from applications.recipe import resolve
from benchmarks import harness
from benchmarks.effect_tasks import load

WRONG = 0.4
# What there would be to win if all wrong labels were known.
RIGHT = "every right label alike"
SUFFIXES = "jpg", "png", "JPG", "PNG"


def labels_of(names: np.ndarray, trusted: int, given: int, random) -> dict:
    """Columns of labels: trusted ones, then some wrong, then none.

    Args:
        names: string array of shape `(n,)`, the true classes.
        trusted: integer, how many are trusted.
        given: integer, how many of the rest have a label.
        random: `numpy.random.Generator`.
    """
    classes = np.unique(names)
    places = np.searchsorted(classes, names)
    other = (places + random.integers(1, len(classes), len(names))) % len(
        classes
    )
    rows = np.arange(len(names))
    wrong = (rows >= trusted) & (random.random(len(names)) < WRONG)
    labels = np.where(wrong, classes[other], names)
    return {
        "label": np.where(rows < trusted + given, labels, ""),
        "trusted": rows < trusted,
    }


def images(folder, random, data_dir):
    """A folder of images of CIFAR-10; settings, and what is for testing."""
    (x, y), (x_test, y_test) = load("cifar10", data_dir)
    rows = random.permutation(len(x))[:2000]
    (folder / "PHOTOS").mkdir()
    files = []
    for k, image in enumerate(x[rows]):
        files.append(f"image {k:04d}.{SUFFIXES[k % 4]}")
        Image.fromarray(image).save(folder / "PHOTOS" / files[-1])
    names = np.array([f"class {label}" for label in y])
    columns = labels_of(names[rows], 300, 1200, random)
    table = pd.DataFrame({"file": files, **columns})
    table[table.label != ""].to_csv(folder / "labels.csv", index=False)
    settings = f"folder={folder}/PHOTOS", f"labels={folder}/labels.csv"
    tests = x_test.astype("float32"), [f"class {label}" for label in y_test]
    return settings, pd.Series(names[rows], files), tests


def reviews(folder, random, data_dir):
    """A file of IMDb reviews."""
    (x, y), (x_test, y_test) = load("imdb_reviews", data_dir)
    rows = random.permutation(len(x))[:2000]
    names = np.array(["negative", "positive"])
    columns = labels_of(names[y[rows]], 300, 1200, random)
    texts = [text.decode() for text in x[rows]]
    pd.DataFrame({"review": texts, **columns}).to_csv(
        folder / "reviews.csv", index=False
    )
    settings = f"file={folder}/reviews.csv", "text=review"
    tests = keras.ops.convert_to_tensor(x_test), names[y_test]
    ids = np.arange(1, 2001).astype(str)
    return settings, pd.Series(names[y[rows]], ids), tests


def table(folder, random, data_dir):
    """The table of breast cancer, half of it."""
    x, y = load_breast_cancer(return_X_y=True, as_frame=True)
    rows = random.permutation(len(x))
    x, names = x.iloc[rows], np.array(["malignant", "benign"])[y.iloc[rows]]
    half = len(x) // 2
    columns = labels_of(names[:half], 40, 200, random)
    x[:half].assign(**columns).to_csv(folder / "table.csv", index=False)
    inputs = {name: x[name][half:].to_numpy("float32")[:, None] for name in x}
    ids = np.arange(1, half + 1).astype(str)
    settings = (f"file={folder}/table.csv",)
    return settings, pd.Series(names[:half], ids), (inputs, names[half:])


KINDS = {"images": images, "texts": reviews, "table": table}


def measure(kind: str, seed: int, data_dir: str | None) -> dict:
    """Runs the command once.

    Args:
        kind: one of `KINDS`.
        seed: integer, seed of all draws.
        data_dir: string, the folder of TensorFlow Datasets, or `None`.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        random = np.random.default_rng(seed)
        settings, truth, (x, expected) = KINDS[kind](folder, random, data_dir)
        options = [part for s in settings for part in ("--set", s)]
        command = [sys.executable, "-m", "applications", "run", f"own_{kind}"]
        start, before = time.perf_counter(), _processor_time()
        subprocess.run(
            [*command, "--output", str(folder / "run"), *options],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        seconds = time.perf_counter() - start
        unseen = {
            f"{variant}, unseen": accuracy
            for variant, accuracy in _unseen(
                kind, settings, seed, truth, x, expected
            )
        }
        run = folder / "run"
        rows = pd.DataFrame(json.loads((run / "results.json").read_text()))
        checked = rows.groupby("variant")["test_accuracy"].mean()
        classes = np.array(json.loads((run / "classes.json").read_text()))
        model = keras.saving.load_model(run / "model.keras")
        predicted = classes[model.predict(x, verbose=0).argmax(1)]
        weights = pd.read_csv(run / "weights.csv", dtype=str).fillna("")
        given = weights[weights["given"] != ""]
        right = given["given"].to_numpy() == truth[given["id"]].to_numpy()
        return {
            **{variant: checked.get(variant) for variant in VARIANTS},
            **unseen,
            "model.keras, unseen": np.mean(predicted == expected),
            "AUROC of label quality": roc_auc_score(
                right, given["label_quality"].astype(float)
            ),
            "seconds": seconds,
            "CPU seconds": _processor_time() - before,
        }


def _unseen(kind, settings, seed, truth, x, expected):
    """The accuracy of the baselines on what the command does not have."""
    experiment = OwnExperiment(resolve(f"own_{kind}", settings), seed)
    data = experiment.data
    names = np.array(data.class_names)
    wrong = names[data.labels] != truth[np.array(data.ids)].to_numpy()
    for name, variant in {ALONE: ALONE, ALIKE: ALIKE, RIGHT: ALIKE}.items():
        if name == RIGHT:
            data.labels[wrong] = -1
        model = experiment.fit(variant, np.flatnonzero(data.trusted), [])
        network = getattr(model, "network", model)
        logits = data.complete(network).predict(x, verbose=0)
        yield name, np.mean(names[logits.argmax(1)] == expected)


def _processor_time():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _spread(runs, name):
    digits = 0 if name.endswith("seconds") else 3
    return harness.spread([run[name] for run in runs], digits)


def main():
    """Measures, prints the table and writes JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data-dir", help="folder of TensorFlow Datasets")
    parser.add_argument("--only", nargs="*", default=KINDS, choices=KINDS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    found = {
        kind: [
            measure(kind, seed, arguments.data_dir)
            for seed in range(arguments.seeds)
        ]
        for kind in arguments.only
    }
    names = next(iter(found.values()))[0]
    rows = [
        {"": name, **{kind: _spread(found[kind], name) for kind in found}}
        for name in names
    ]
    harness.report("Own data", rows, arguments.json)


if __name__ == "__main__":
    main()
