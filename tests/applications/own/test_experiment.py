import csv
import html
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_wine
from typer.testing import CliRunner

from applications.__main__ import app
from applications.own.experiment import FINAL, VARIANTS

QUICK = [
    *["folds=2", "epochs=1", "batch_size=8", "unlabeled_ratio=2"],
    "variants=learned weights",
]
COMPARED = VARIANTS[0], VARIANTS[2]
ALL = [*QUICK[:-1], f"variants={','.join(COMPARED)}"]
FILES = {
    *("classes.json", "config.json", "model.keras", "report.html"),
    *("results.json", "run.json", "suspects.csv", "weights.csv"),
}

LOADED = """
import sys
sys.modules["keras_influence"] = sys.modules["applications"] = None
import keras, numpy as np
model = keras.saving.load_model(sys.argv[1])
inputs = {inputs}
logits = model.predict(inputs, verbose=0)
assert logits.shape[0] == 2, logits.shape
print(logits.argmax(1).tolist())
"""


def invoke(name, output, *settings):
    settings = [
        part for setting in settings for part in ("--set", str(setting))
    ]
    return CliRunner().invoke(
        app, ["run", name, "--output", str(output), *settings]
    )


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def classes_of(model, inputs):
    """What a process without this library gets from the model."""
    result = subprocess.run(
        [sys.executable, "-c", LOADED.format(inputs=inputs), str(model)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def trust(n, trusted, given):
    """Columns: some rows trusted, some with other labels, some with none."""
    return pd.DataFrame(
        {
            "trusted": np.arange(n) < trusted,
            "known": np.arange(n) < trusted + given,
        }
    )


@pytest.fixture
def wine(tmp_path):
    x, y = load_wine(return_X_y=True, as_frame=True)
    rows = np.random.RandomState(0).permutation(len(y))
    frame = x.iloc[rows, :4].reset_index(drop=True)
    marks = trust(len(y), 40, 80)
    labels = np.array(["barolo", "grignolino", "barbera"])[y.iloc[rows]]
    frame["wine"] = np.where(marks["known"], labels, "")
    frame["trusted"] = marks["trusted"]
    frame["where"] = np.where(frame["alcohol"] > 13, "north", "south")
    path = tmp_path / "wine.csv"
    frame.to_csv(path, index=False)
    return path


def test_a_table(wine, tmp_path):
    output = tmp_path / "run"
    result = invoke("own_table", output, f"file={wine}", "label=wine", *ALL)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == f"Report: {output / 'report.html'}"
    names = {path.name for path in output.iterdir()}
    assert names == FILES | {"predictions.csv"}
    rows = json.loads((output / "results.json").read_text())
    assert [row["variant"] for row in rows] == [
        *[variant for variant in COMPARED for _ in range(2)],
        FINAL,
    ]
    weights = read(output / "weights.csv")
    assert [int(row["id"]) for row in weights] == list(range(41, 179))
    given = [row["given"] for row in weights]
    assert given.count("") == 58
    suspects = read(output / "suspects.csv")
    assert all(row["given"] != row["predicted"] for row in suspects)
    order = [round(float(row["label_quality"]), 2) for row in suspects]
    assert order == sorted(order)
    predictions = read(output / "predictions.csv")
    assert [int(row["id"]) for row in predictions] == list(range(121, 179))
    page = html.unescape((output / "report.html").read_text())
    assert "40 trusted labels of 3 classes, 80 others, and 58 examples" in page
    assert VARIANTS[0] in page
    assert "from the trusted labels alone" in result.output
    table = pd.read_csv(wine)
    inputs = {
        name: table[name].iloc[[120, 121]].to_numpy()[:, None].tolist()
        for name in [*table.columns[:4], "where"]
    }
    # The rows of the table are predicted as the run predicted them.
    code = (
        f"{{k: keras.ops.convert_to_tensor(v) for k, v in {inputs!r}.items()}}"
    )
    classes = json.loads((output / "classes.json").read_text())
    assert [classes[k] for k in classes_of(output / "model.keras", code)] == [
        row["predicted"] for row in predictions[:2]
    ]
    again = invoke("own_table", output, f"file={wine}", "label=wine", *ALL)
    assert "Done before" in again.output


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on(wine, tmp_path, monkeypatch):
    from applications.own import experiment

    settings = [f"file={wine}", "label=wine", *QUICK]
    whole = invoke("own_table", tmp_path / "whole", *settings)
    assert whole.exit_code == 0, whole.output
    with monkeypatch.context() as context:

        def stop(*arguments, **named):
            raise OSError("No space left")

        context.setattr(experiment.results, "write", stop)
        stopped = invoke("own_table", tmp_path / "run", *settings)
        assert stopped.exit_code == 2
        assert "No space left" in stopped.output
    again = invoke("own_table", tmp_path / "run", *settings)
    assert again.exit_code == 0, again.output
    assert "2 of 2" not in again.output
    for name in ("weights.csv", "suspects.csv", "predictions.csv"):
        before, after = (tmp_path / run / name for run in ("whole", "run"))
        assert before.read_bytes() == after.read_bytes()


@pytest.mark.slow
def test_images(tmp_path):
    x, y = load_digits(return_X_y=True)
    folder = tmp_path / "photos"
    folder.mkdir()
    marks = trust(150, 60, 60)
    rows = []
    for k in range(150):
        name = f"{k}.{('png', 'PNG', 'jpg')[k % 3]}"
        image = Image.fromarray((x[k] * 15).reshape(8, 8).astype("uint8"))
        image.resize((16 + k % 4, 16)).save(folder / name)
        if marks["known"][k]:
            rows.append((name, f"digit {y[k]}", marks["trusted"][k]))
    (folder / "broken.jpg").write_bytes(b"none")
    frame = pd.DataFrame(rows, columns=["file", "label", "trusted"])
    frame.to_parquet(tmp_path / "labels.parquet")
    output = tmp_path / "run"
    result = invoke(
        *("own_images", output, f"folder={folder}", "width=4", "flip=false"),
        *(f"labels={tmp_path / 'labels.parquet'}", *QUICK),
    )
    assert result.exit_code == 0, result.output
    assert "Left out: broken.jpg" in result.output
    assert read(output / "skipped.csv")[0]["id"] == "broken.jpg"
    assert len(read(output / "predictions.csv")) == 30
    page = (output / "report.html").read_text()
    assert page.count('src="data:image/png') == 24
    found = classes_of(
        output / "model.keras", "np.zeros((2, 31, 17, 3), 'uint8')"
    )
    assert len(found) == 2


@pytest.mark.slow
def test_texts(tmp_path):
    marks = trust(60, 20, 20)
    frame = pd.DataFrame(
        {
            "review": [
                f"<b>a {'good' if k % 2 else 'bad'}</b> film {k}"
                for k in range(60)
            ],
            "mood": np.where(
                marks["known"], np.where(np.arange(60) % 2, "up", "down"), ""
            ),
            "trusted": marks["trusted"],
        }
    )
    frame.to_csv(tmp_path / "a.csv", index=False)
    output = tmp_path / "run"
    result = invoke(
        *("own_texts", output, f"file={tmp_path / 'a.csv'}", "text=review"),
        *("label=mood", *QUICK),
    )
    assert result.exit_code == 0, result.output
    page = (output / "report.html").read_text()
    assert "&lt;b&gt;a " in page
    assert "<b>" not in page
    found = classes_of(
        output / "model.keras",
        "keras.ops.convert_to_tensor(['a good', 'a bad'])",
    )
    assert len(found) == 2


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("own_images", [], "`folder` must be a folder"),
        ("own_texts", [], "--set file=data.csv"),
        ("own_table", ["file=/no/such.csv"], "No such file"),
        ("own_table", ["file={wine}"], "has no column 'label'"),
        ("own_table", ["file={wine}", "label=wine", "folds=99"], "`folds`"),
        ("own_table", ["batch_size=0"], "`batch_size` must be positive"),
        ("own_table", ["unlabeled_ratio=0"], "`unlabeled_ratio` must be"),
        ("own_table", ["seeds=1,1"], "`seeds` must name each one once"),
        ("own_table", ["file={wine}", "label=wine", "epochs=0"], "`epochs`"),
        (
            "own_table",
            ["file={wine}", "label=wine", "variants=learned"],
            "Did you mean learned weights",
        ),
        (
            "own_table",
            ["file={wine}", "label=wine", "network=/no/such.keras"],
            "such.keras",
        ),
        (
            "own_table",
            ["file={wine}", "label=wine", "network=no_such_module:make"],
            "no_such_module",
        ),
        (
            "own_table",
            ["file={wine}", "label=wine", "inner_steps=0"],
            "`inner_steps`",
        ),
        (
            "own_table",
            ["file={wine}", "label=wine", "confidence=2"],
            "`confidence`",
        ),
    ],
)
def test_careless_commands(wine, tmp_path, name, settings, expected):
    output = tmp_path / "run"
    settings = [setting.format(wine=wine) for setting in settings]
    result = invoke(name, output, *settings)
    assert result.exit_code == 2, result.output
    assert expected in " ".join(result.output.replace("│", " ").split())
    assert not output.exists()
