import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from matplotlib import image
from sklearn.linear_model import LogisticRegression

from benchmarks import effect
from benchmarks.effect_methods import (
    Reweighted,
    best_constant,
    by_confidence,
    by_small_loss,
)
from benchmarks.effect_picture import plot
from benchmarks.effect_tasks import (
    flipped,
    make,
    mismatched,
    weakly_labeled,
)
from keras_influence.losses import GivenLabels


def row(method, seed, validation, test, **scores):
    values = {"validation": validation, "test": test, "seconds": 1.0}
    return {"method": method, "seed": seed, **values, **scores}


ROWS = [
    row("supervised only", 0, 0.5, 0.60),
    row("constant weight 0.1", 0, 0.7, 0.65),
    row("constant weight 0.3", 0, 0.6, 0.90),
    row("constant weight 1.0", 0, 0.1, 0.10),
    row("supervised only", 1, 0.5, 0.50),
    row("constant weight 0.1", 1, 0.2, 0.10),
    row("constant weight 0.3", 1, 0.3, 0.20),
    row("constant weight 1.0", 1, 0.4, 0.30),
    row("labels + validation", 0, 1.0, 0.80),
    row("learned, recommended", 0, 1.0, 0.75, **{"AUROC of weight": 0.9}),
    row("learned, recommended", 1, 1.0, 0.55, **{"AUROC of weight": 0.7}),
]


def test_the_constant_is_chosen_on_the_validation_set_by_seed():
    rows = {r["method"]: r for r in effect.table(effect.by_method(ROWS))}
    assert rows["best constant weight"]["test, %"] == "57.5 ± 10.6"
    assert rows["learned, recommended"]["over constant"] == "+7.5"
    assert rows["labels + validation"]["over constant"] == "+15.0"
    assert rows["labels + validation"]["seeds"] == 1
    assert rows["learned, recommended"]["AUROC of weight"] == pytest.approx(0.8)
    assert not any(name.startswith("constant weight 0") for name in rows)


def test_a_grid_that_is_not_done_yet():
    rows = effect.table(effect.by_method(ROWS[:2] + ROWS[-2:]))
    names = [r["method"] for r in rows]
    assert names == ["supervised only", "learned, recommended"]
    assert rows[1]["over constant"] == "-"


def test_no_constant_weight_may_be_best():
    rows = {r["method"]: r for r in ROWS if r["seed"] == 1}
    assert best_constant(rows) == 0.0


def test_labels_of_a_weak_labeler(tfds_dir):
    task = make(
        weakly_labeled("imdb_reviews", 50, sizes=(100, 400)), 0, tfds_dir
    )
    wrong = task.given != task.truth
    np.testing.assert_array_equal(wrong, task.harmful)
    assert 0.2 < wrong.mean() < 0.4
    # It errs by what it sees, so that a classifier can learn the errors.
    errors = LogisticRegression(max_iter=5000)
    errors.fit(task.unlabeled[:2000], task.given[:2000])
    assert errors.score(task.unlabeled[2000:], task.given[2000:]) > 0.8
    # Who taught it is not among those whose labels it gives.
    sizes = [len(task.given), len(task.labeled[0]), len(task.validation[0])]
    assert sum(sizes) == 4000 - 50


@pytest.mark.parametrize("by_class", [False, True])
def test_wrong_labels(by_class, tfds_dir):
    task = make(flipped("fashion_mnist", 0.4, by_class), 0, str(tfds_dir))
    wrong = task.given != task.truth
    assert wrong.mean() == pytest.approx(0.4, abs=1e-3)
    np.testing.assert_array_equal(wrong, task.harmful)
    distances = np.unique((task.given - task.truth)[wrong] % 10)
    assert len(distances) == (1 if by_class else 9)
    assert task.unlabeled.shape[1:] == (14, 14, 1)
    assert 0 <= task.unlabeled.min() < task.unlabeled.max() <= 1


def test_foreign_images(tfds_dir):
    scenario = mismatched("fashion_mnist", 0.6, "FixMatch")
    task = make(scenario, 0, str(tfds_dir))
    assert np.mean(task.truth < 0) == pytest.approx(0.6, abs=0.01)
    for _, y in (task.labeled, task.validation, task.test):
        assert set(y) == set(range(6))


def test_rules_that_need_no_learning():
    losses = tf.constant([3.0, 0.1, 2.0, 0.5])
    np.testing.assert_array_equal(by_small_loss(0.5)(losses, {}), [0, 1, 0, 1])
    np.testing.assert_allclose(by_confidence(losses, {}), np.exp(-losses))
    logits = {"original": tf.constant([[2.0, 0.0], [0.0, 2.0]])}
    loss = Reweighted(GivenLabels(), by_small_loss(0.5), warmup_steps=3)
    plain = loss(logits, [0, 0], step=tf.constant(2))[0]
    kept = loss(logits, [0, 0], step=tf.constant(3))[0]
    np.testing.assert_allclose(kept, plain * [1.0, 0.0])


def test_picture(tmp_path):
    table = effect.table(effect.by_method(ROWS))
    path = tmp_path / "effect.png"
    plot({f"scenario {k}; free": table for k in range(4)}, path)
    assert np.ptp(image.imread(path)) > 0.5


@pytest.mark.slow
def test_a_run_goes_on(tmp_path, tfds_dir):
    rows, summary = tmp_path / "rows.jsonl", tmp_path / "effect.json"
    command = [sys.executable, "-m", "benchmarks.effect", "--seeds", "1"]
    command += ["--data-dir", tfds_dir, "--only", "imdb_reviews, 20"]
    command += ["--rows", rows, "--json", summary]
    subprocess.run(command, check=True, capture_output=True)
    lines = rows.read_text().splitlines()
    rows.write_text("\n".join(lines[:-1]) + "\n")
    output = subprocess.run(
        command, check=True, capture_output=True, text=True
    ).stdout
    again = [json.loads(line) for line in rows.read_text().splitlines()]
    before = [json.loads(line) for line in lines]
    assert [r["method"] for r in again] == [r["method"] for r in before]
    assert again[-1]["test"] == before[-1]["test"]
    assert output.count("imdb_reviews, 20% of labels wrong at random 0") == 1
    (table,) = json.loads(summary.read_text())["tables"].values()
    assert {r["method"] for r in table} >= {"learned, recommended"}
