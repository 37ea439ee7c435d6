import csv

import numpy as np
import pandas as pd
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
    quality = np.array([row["label_quality"] for row in rows], "float64")
    np.testing.assert_allclose(quality, model.label_quality)
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


class Labelled:
    """Rows found by their label alone, as in pandas, but no array."""

    def __init__(self, values, index):
        self.rows = dict(zip(index, values, strict=True))

    def __len__(self):
        return len(self.rows)

    def __iter__(self):
        return iter(self.rows.values())

    def __getitem__(self, label):
        return self.rows[label]


@pytest.mark.parametrize("series", [pd.Series, Labelled])
@pytest.mark.parametrize("shift", [0, 100])
def test_rows_are_taken_by_place(influence_fit, tmp_path, series, shift):
    rows = np.random.default_rng(1).permutation(24) + shift
    report = WeightReport(
        tmp_path,
        inputs=series([f"text {row}" for row in rows], index=rows),
        example_ids=series([f"id{row}" for row in rows], index=rows),
        labels=series(rows, index=rows),
        harmful=pd.Series(rows % 2 == 0, index=rows),
    )
    weights = influence_fit(report).example_weights
    table = read(tmp_path / "weights.csv")
    assert [row["id"] for row in table] == [f"id{row}" for row in rows]
    assert [int(row["label"]) for row in table] == rows.tolist()
    assert [row["harmful"] == "True" for row in table] == [
        row % 2 == 0 for row in rows
    ]
    lines = (tmp_path / "examples.md").read_text().splitlines()
    lines = [line.strip("| ").split(" | ") for line in lines if "id" in line]
    lines = [line for line in lines if line[0] != "weight"]
    assert len(lines) == 40
    place = {f"id{row}": i for i, row in enumerate(rows)}
    for weight, name, label, text in lines:
        i = place[name]
        assert float(weight) == pytest.approx(weights[i], abs=6e-4)
        assert (label, text) == (str(rows[i]), f"text {rows[i]}")


def test_lengths_that_differ_fail_at_once(tmp_path):
    with pytest.raises(ValueError, match=r"`labels` must have.*24.*23 rows"):
        WeightReport(tmp_path, inputs=["a"] * 24, labels=np.zeros(23))


@pytest.mark.parametrize(
    "harmful",
    [["yes"] * 24, np.zeros((24, 2)), {"a": 1}, 3, "no", [3, 7]],
)
def test_harmful_that_is_no_row_of_booleans(tmp_path, harmful):
    with pytest.raises(ValueError, match="`harmful` must be"):
        WeightReport(tmp_path, harmful=harmful)


@pytest.mark.parametrize("inputs", [{"a": np.zeros(24)}, "texts", 7])
def test_inputs_that_are_no_rows(tmp_path, inputs):
    with pytest.raises(ValueError, match="`inputs` must be an array or a list"):
        WeightReport(tmp_path, inputs=inputs)


def test_one_column_is_a_row_of_values(fit, tmp_path):
    column = np.arange(24)[:, None]
    fit(WeightReport(tmp_path, labels=column, harmful=column > 3))
    rows = read(tmp_path / "weights.csv")
    assert [int(row["label"]) for row in rows] == list(range(24))
    assert [row["harmful"] for row in rows][3:5] == ["False", "True"]


def failing(model):
    raise KeyError("labels")


@pytest.mark.parametrize(
    "judge", [lambda model: np.zeros(23), lambda model: ["no"] * 24, failing]
)
def test_a_wrong_judgement_does_not_cost_the_training(fit, tmp_path, judge):
    report = WeightReport(tmp_path, harmful=judge)
    with pytest.warns(UserWarning, match="`harmful` must return one boolean"):
        fit(report)
    assert list(read(tmp_path / "weights.csv")[0]) == ["index", "weight"]


def test_texts_of_bytes(fit, tmp_path):
    fit(WeightReport(tmp_path, inputs=[b"plain text"] * 24))
    assert "| plain text |" in (tmp_path / "examples.md").read_text()


def test_texts_of_data_are_escaped(fit, tmp_path):
    texts = ["<script>alert(1)</script>", "![x](http://a.b/c.png)", "a|b\nc"]
    texts = [*texts, "=1+1", "caf\ud800", None, *["fine"] * 18]
    report = WeightReport(
        tmp_path, inputs=texts, example_ids=texts, labels=[-1] * 24
    )
    fit(report)
    rows = read(tmp_path / "weights.csv")
    assert rows[0]["id"] == texts[0]
    assert rows[3]["id"] == "'=1+1"
    assert rows[3]["label"] == "-1"
    shown = (tmp_path / "examples.md").read_text()
    assert not any(part in shown for part in ("<script>", "![", "http://"))
    assert shown.count("\n") == 2 * (1 + 1 + 2 + 20 + 1) - 1


def test_labels_that_matplotlib_would_take_for_formulas(fit, tmp_path):
    labels = ["$x^", "two\nlines", "y" * 200, "caf\ud800", *"a" * 20]
    images = np.random.default_rng(0).uniform(size=(24, 8, 8))
    fit(WeightReport(tmp_path, inputs=images, labels=labels))
    assert (tmp_path / "examples.png").exists()


def test_images_of_several_sizes_are_not_drawn(fit, tmp_path):
    images = [np.zeros((8, 8 + k % 2)) for k in range(24)]
    fit(WeightReport(tmp_path, inputs=images))
    assert not (tmp_path / "examples.png").exists()
    assert (tmp_path / "weights.png").exists()
