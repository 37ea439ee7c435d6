import dataclasses

import numpy as np
import pytest
from matplotlib import image

from benchmarks import long_training
from benchmarks.effect import load


def row(method, seed, test, **scores):
    own = {"scenario": "a", "steps": 100, "method": method, "seed": seed}
    curve = np.linspace(test + 0.1, test, 10).tolist()
    return {**own, "test": test, "curve": curve, "seconds": 2.0, **scores}


ROWS = [
    row("trusted labels only", 0, 0.5),
    row("trusted labels only", 1, 0.6),
    row("recommended", 0, 0.7, doubted=90, harmful=100),
]


def test_means_over_seeds():
    trusted, recommended = long_training.table(ROWS)
    assert trusted["test, %"] == "55.0 ± 7.1"
    assert trusted["peak, %"] == pytest.approx(65)
    assert trusted["seeds"] == 2
    assert trusted["doubted / wrong"] is None
    assert recommended["doubted / wrong"] == "90 / 100"
    assert recommended["CPU seconds"] == 2


def test_a_picture(tmp_path):
    long_training.plot(ROWS, tmp_path / "curves.png")
    assert image.imread(tmp_path / "curves.png").std() > 0.01


def test_trainings_are_long_unless_short():
    for long, short in zip(
        long_training.scenarios(),
        long_training.scenarios(short=True),
        strict=True,
    ):
        assert long.has_given_labels
        assert long.steps > 2 * short.steps
        assert dataclasses.replace(long, steps=short.steps) == short


@pytest.mark.slow
def test_what_is_done_is_not_done_again(tmp_path, tfds_dir):
    pytest.importorskip("cleanlab")
    path = tmp_path / "rows.jsonl"
    path.touch()
    [scenario] = [
        dataclasses.replace(s, steps=40)
        for s in long_training.scenarios()
        if s.name.startswith("imdb_reviews, 40")
    ]
    for chosen in (["meta", "recommended"], ["recommended", "cleanlab"]):
        long_training.measure([scenario], chosen, [0], tfds_dir, path)
    rows = load(path)
    names = ["meta-weight-net", "recommended", "cleanlab"]
    assert [r["method"] for r in rows] == names
    assert all(len(r["curve"]) == 10 for r in rows)
    assert all(0.5 < r["AUROC of label quality"] <= 1 for r in rows[1:])
