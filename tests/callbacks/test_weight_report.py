import csv

import numpy as np
import pytest
from PIL import Image

from keras_influence.callbacks import WeightReport


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_table_has_every_example_in_order(influence_fit, tmp_path):
    labels = np.arange(24) % 3
    harmful = np.arange(24) > 20
    ids = [f"example {k}" for k in range(24)]
    report = WeightReport(
        tmp_path, example_ids=ids, labels=labels, harmful=harmful
    )
    model = influence_fit(report)
    rows = read(tmp_path / "weights.csv")
    assert [int(row["index"]) for row in rows] == list(range(24))
    weights = np.array([row["weight"] for row in rows], "float32")
    np.testing.assert_array_equal(weights, model.example_weights)
    assert [row["id"] for row in rows] == ids
    assert [int(row["label"]) for row in rows] == labels.tolist()
    assert [row["harmful"] == "True" for row in rows] == harmful.tolist()


def test_harmful_may_be_judged_when_training_ends(fit, tmp_path):
    report = WeightReport(
        tmp_path, harmful=lambda model: model.example_weights < 20
    )
    model = fit(report)
    harmful = [row["harmful"] for row in read(tmp_path / "weights.csv")]
    np.testing.assert_array_equal(
        np.array(harmful) == "True", model.example_weights < 20
    )
    assert len(set(harmful)) == 2


def test_table_without_knowledge(fit, tmp_path):
    fit(WeightReport(tmp_path))
    assert list(read(tmp_path / "weights.csv")[0]) == ["index", "weight"]


@pytest.mark.parametrize(
    "shape", [(8, 8), (8, 8, 1), (8, 8, 3)], ids=["grey", "one", "rgb"]
)
def test_pictures_of_images(fit, tmp_path, shape):
    images = np.random.default_rng(0).uniform(-1, 1, (24, *shape))
    fit(WeightReport(tmp_path / "new" / "folder", inputs=images))
    for name in ("weights", "history", "examples"):
        with Image.open(tmp_path / "new" / "folder" / f"{name}.png") as image:
            assert image.size[0] >= 600
            assert len(image.getcolors(maxcolors=1 << 20)) > 10


def test_no_picture_of_inputs_that_are_no_images(fit, tmp_path):
    fit(WeightReport(tmp_path, inputs=np.zeros((24, 4))))
    assert not (tmp_path / "examples.png").exists()


def test_ends_of_texts(influence_fit, tmp_path):
    texts = [f"Review {k}\nis | long. " + "word " * 100 * k for k in range(24)]
    texts = [f"{text}end {k}" for k, text in enumerate(texts)]
    report = WeightReport(
        tmp_path,
        inputs=texts,
        example_ids=[f"r{k}" for k in range(24)],
        labels=["good"] * 24,
    )
    weights = influence_fit(report).example_weights
    lines = (tmp_path / "examples.md").read_text().splitlines()
    assert lines[0] == "# Most weighted"
    half = lines.index("# Least weighted")
    for rows, extreme in (
        (lines[4:half], weights.max()),
        (
            lines[half + 4 :],
            weights.min(),
        ),
    ):
        rows = [row for row in rows if row]
        assert len(rows) == 20
        weight, name, label, *text = rows[0].strip("| ").split(" | ")
        number = int(name[1:])
        assert float(weight) == pytest.approx(extreme, abs=1e-3)
        assert float(weight) == pytest.approx(weights[number], abs=1e-3)
        assert label == "good"
        assert text[-1].endswith(f"end {number}")
        assert len(text[-1]) < 320
    assert any(r"is \| long." in line for line in lines)
    assert not (tmp_path / "examples.png").exists()


@pytest.mark.parametrize("harmful", [np.zeros(24), np.ones(24)])
def test_all_good_or_all_harmful(fit, tmp_path, harmful):
    fit(WeightReport(tmp_path, harmful=harmful))
    assert (tmp_path / "history.png").exists()


@pytest.mark.parametrize("name", ["inputs", "example_ids", "labels", "harmful"])
def test_wrong_lengths_fail_before_training(fit, tmp_path, name):
    report = WeightReport(tmp_path, **{name: np.zeros(23)})
    with pytest.raises(ValueError, match=f"`{name}` must have.*24.*23 rows"):
        fit(report)
    assert report.model.optimizer.iterations == 0
