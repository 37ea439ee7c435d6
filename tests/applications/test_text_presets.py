import csv
import json

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from applications import bert, collapse
from applications.__main__ import app
from applications.presets.text import SOURCES, TEXT
from applications.recipe import resolve, sources

TINY = [
    *["dataset.labeled=4", "dataset.validation=4", "dataset.unlabeled=12"],
    *["dataset.min_characters=0", "dataset.sequence_length=8"],
    *["text=review", "label=stars", "trained_layers=0"],
    *["epochs=1", "steps_per_epoch=3", "batch_size=2"],
    *["weights.warmup_steps=1", "schedule.warmup_steps=1", "seeds=0"],
]


def rows(n):
    """Rows with a class, but for every fourth after the first twelve."""
    for k in range(n):
        label = "" if k > 12 and k % 4 == 0 else ["bad", "good"][k % 2]
        film = ["A dreadful bore.", "A splendid film."][k % 2]
        yield {"key": f"r{k}", "review": f"{film} No {k}.", "stars": label}


def write(path, rows, encoding="utf-8"):
    rows = list(rows)
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def run(tmp_path):
    """The command on two small files, with further settings."""
    train = write(tmp_path / "train.csv", rows(40))
    test = write(tmp_path / "test.csv", list(rows(10)))
    files = [f"dataset={train}", f"test_source={test}"]
    files += ["dataset.id=key", f"cache_dir={tmp_path / 'cache'}"]
    output = tmp_path / "run"

    def invoke(*settings):
        settings = [*files, *TINY, *settings]
        options = [part for setting in settings for part in ("--set", setting)]
        arguments = ["run", "uda_text", "--output", str(output), *options]
        return CliRunner().invoke(app, arguments), output

    return invoke


def leaves(recipe, prefix=""):
    for key, value in recipe.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key


@pytest.mark.parametrize("name", TEXT)
def test_every_value_has_a_source(name):
    assert set(leaves(TEXT[name])) == set(SOURCES[name])
    assert sources(name) == SOURCES[name]


def test_the_appendix_numbers():
    recipe = resolve("uda_imdb_20")
    assert recipe["batch_size"] == 8
    assert recipe["batch_size"] * recipe["unlabeled_ratio"] == 32
    assert recipe["epochs"] * recipe["steps_per_epoch"] == 10_000
    assert recipe["optimizer"]["name"] == "Adam"
    assert recipe["optimizer"]["learning_rate"] == 2e-5
    assert recipe["weight_optimizer"]["learning_rate"] == 0.01
    assert recipe["weights"]["warmup_steps"] == 1000
    assert recipe["weights"]["inner_steps"] == 5
    data = recipe["dataset"]
    assert (data["labeled"], data["validation"]) == (20, 20)
    assert recipe["unlabeled_loss"]["annealing"] == "linear"
    constant = resolve("uda_imdb_20", ["variant=constant"])
    assert constant.pop("variants") == ["constant weight"]
    assert constant == {k: v for k, v in recipe.items() if k != "variants"}


def test_the_small_job_compares_at_three_seeds():
    recipe = resolve("uda_imdb_20", scale="small")
    assert len(recipe["seeds"]) == 3
    assert recipe["variants"] == [
        *["supervised only", "constant weight", "learned weights"],
    ]
    assert recipe["dataset"]["preset"] == "minilm"


def test_any_data_set_by_name():
    recipe = resolve("uda_text", ["dataset=ag_news", "text=description"])
    assert recipe["dataset"]["name"] == "texts"
    assert recipe["dataset"]["source"] == "ag_news"
    assert recipe["dataset"]["text"] == "description"


@pytest.mark.slow
def test_run_on_a_csv_file(run, monkeypatch):
    monkeypatch.setattr(collapse, "largest_share", lambda classes: 1.0)
    result, output = run(
        *["variants=learned weights", "epochs=2", "steps_per_epoch=2"]
    )
    assert result.exit_code == 0, result.output
    assert "Warning: at the end of epochs 1 and 2" in result.output
    (row,) = json.loads((output / "results.json").read_text())
    assert 0 <= row["test_accuracy"] <= 1
    assert 0.5 <= row["test_largest_class"] <= 1
    assert row["weight_std"] > 0
    with (output / "weights.csv").open() as file:
        weights = list(csv.DictReader(file))
    with (output / "splits.csv").open() as file:
        ids = [r["id"] for r in csv.DictReader(file) if r["set"] == "unlabeled"]
    names = {row["key"]: row["stars"] for row in rows(40)}
    assert [row["id"] for row in weights] == ids
    assert len(ids) == 12
    assert [row["label"] for row in weights] == [
        names[name] or "unknown" for name in ids
    ]
    # Nobody can say which of the others lead astray.
    assert "harmful" not in weights[0]
    known = sum(row["label"] != "unknown" for row in weights)
    assert 0 <= row["harmful"] <= known < 12
    examples = (output / "examples.md").read_text()
    assert all(f"| {name} |" in examples for name in ids)
    view = keras.saving.load_model(output / "tfidf.keras")
    assert np.max(view.idf) > 0


@pytest.mark.slow
def test_several_seeds_on_real_reviews(tmp_path, tfds_dir):
    settings = [*TINY, "text=text", "label=label", "dataset.unlabeled=200"]
    settings += ["dataset.test=20", f"cache_dir={tmp_path / 'cache'}"]
    settings += ["seeds=0,1", "variants=supervised only,learned weights"]
    options = [part for setting in settings for part in ("--set", setting)]
    result = CliRunner().invoke(
        app,
        [
            *["run", "uda_imdb_20", "--output", str(tmp_path)],
            *["--scale", "small"],
            *["--data-dir", tfds_dir, *options],
        ],
    )
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "results.json").read_text())
    variants = ["supervised only", "learned weights"]
    assert [row["variant"] for row in found] == 2 * variants
    assert [row["seed"] for row in found] == [0, 0, 1, 1]
    for seed in (0, 1):
        files = {path.name for path in (tmp_path / f"seed_{seed}").iterdir()}
        assert files >= {"splits.csv", "weights.csv", "examples.md"}


def test_careless_files(run, tmp_path):
    latin = list(rows(40))
    latin[4]["review"] = "Dénué d'intérêt"
    latin = write(tmp_path / "latin.csv", latin, "latin-1")
    foreign = [row | {"stars": "awful"} for row in rows(10)]
    foreign = write(tmp_path / "foreign.csv", foreign)
    empty = write(tmp_path / "void.csv", (r | {"review": ""} for r in rows(40)))
    for setting, expected in {
        "text=what": "has no column 'what'",
        "label=what": "has no column 'what'",
        f"dataset={latin}": "latin.csv, line 6 is not UTF-8",
        f"test_source={foreign}": "in the test file also ['awful']",
        f"dataset={empty}": "no text that is not empty",
        "dataset=no_such.csv": "No such file",
        "sequence_length=600": "`sequence_length` must be from 3 to 512",
        "dataset.labeled=100": "labelled rows",
        "dataset.unlabeled=900": "remain for `unlabeled`",
        "strong=back_translation": "Set `dataset.translations`",
        "trained_layers=9": "`trained_layers` must be from 0 to 6",
        "network=mlp": "",
    }.items():
        result, output = run(setting)
        message = " ".join(result.output.replace("│", " ").split())
        assert result.exit_code == 2, (setting, result.output)
        assert expected.replace(" ", "") in message.replace(" ", ""), message
        assert not output.exists()


def test_the_package_of_the_small_bert_is_missing(run, monkeypatch):
    monkeypatch.setitem(bert.PACKAGED, "minilm", "not_installed")
    result, _ = run()
    assert result.exit_code == 2
    assert "--no-deps" in result.output


def test_cost_is_of_images():
    result = CliRunner().invoke(app, ["show", "uda_text", "--cost"])
    assert result.exit_code == 2
    assert "recipes for images only" in result.output.replace("\n", " ")
