import csv
import json

import pytest
from typer.testing import CliRunner

from applications.__main__ import app
from applications.presets import PRESETS

TINY = {
    "digits": ["units=8", "inner_steps=1", "influence=luketina"],
    "digits_fixmatch": ["filters=4", "inner_steps=1", "confidence=0.1"],
    "fashion_mnist": ["filters=4", "inner_steps=1"],
    "two_moons": ["inner_steps=1", "test=50"],
    "linear": ["inner_steps=1", "test=50"],
}


def invoke(*arguments, settings=()):
    settings = [part for setting in settings for part in ("--set", setting)]
    arguments = [str(argument) for argument in arguments]
    return CliRunner().invoke(app, [*arguments, *settings])


def message(result):
    """The error without the frame that is drawn around it."""
    return " ".join(result.output.replace("│", " ").split())


def test_list_names_every_preset():
    output = invoke("list").output
    assert all(name in output for name in PRESETS)


def test_show_is_the_recipe_as_json():
    result = invoke("show", "digits", settings=["epochs=3"])
    assert json.loads(result.output) == {**PRESETS["digits"], "epochs": 3}


@pytest.mark.parametrize(
    "name",
    [
        *["digits", "linear"],
        pytest.param("digits_fixmatch", marks=pytest.mark.slow),
        pytest.param("fashion_mnist", marks=pytest.mark.slow),
        pytest.param("two_moons", marks=pytest.mark.slow),
    ],
)
def test_run(name, tmp_path, tfds_dir):
    result = invoke(
        *["run", name, "--output", tmp_path, "--data-dir", tfds_dir],
        settings=[
            *["epochs=2", "steps_per_epoch=4", "warmup_steps=2"],
            *["batch_size=4", "unlabeled_ratio=2", *TINY[name]],
        ],
    )
    assert result.exit_code == 0, result.output
    for variant in ("supervised only", "labels + validation"):
        assert f"{variant}, seed {PRESETS[name]['seeds'][0]}" in result.output
    assert "Epoch 2/2" in result.output
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [row["variant"] for row in rows] == [
        *["supervised only", "labels + validation"],
        *["constant weight", "learned weights"],
    ]
    assert all(0 <= row["test_accuracy"] <= 1 for row in rows)
    assert rows[2]["weight_min"] == rows[2]["weight_max"]
    assert rows[3]["weight_std"] > 0
    with (tmp_path / "weights.csv").open() as file:
        weights = [float(row["weight"]) for row in csv.DictReader(file)]
    assert sum(weights) / len(weights) == pytest.approx(rows[3]["weight_mean"])
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["recipe"]["epochs"] == 2
    assert set(config["versions"]) >= {"keras", "tensorflow", "python"}
    planar = name in ("two_moons", "linear")
    pictures = {"weights", "history", "boundary" if planar else "examples"}
    assert {path.stem for path in tmp_path.glob("*.png")} == pictures


@pytest.mark.slow
def test_several_seeds(tmp_path):
    result = invoke(
        *["run", "linear", "--output", tmp_path],
        settings=[
            *["epochs=1", "steps_per_epoch=2", "warmup_steps=0", "test=50"],
            *["inner_steps=1", "seeds=3,5"],
        ],
    )
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [row["seed"] for row in rows] == [3] * 4 + [5] * 4
    assert "±" in result.output
    assert (tmp_path / "seed_3" / "boundary.png").exists()
    assert (tmp_path / "seed_5" / "weights.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "digit"], "Unknown preset 'digit'. Did you mean digits"),
        (["show", "digit"], "Unknown preset 'digit'. Did you mean digits"),
        (["run", "digits", "--set", "epoch=1"], "Did you mean epochs"),
        (["run", "digits", "--data-dir", "/no/such"], "does not exist"),
        (["runn", "digits"], "No such command 'runn'"),
    ],
)
def test_careless_commands(arguments, expected):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert expected in message(result)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("epochs=0", "`epochs` must be positive"),
        ("warmup_steps=5000", "`weights.warmup_steps` must be less than"),
        ("labeled=5000", "labeled=5000"),
        ("validation=0", "validation"),
        ("test=5000", "test_size=5000"),
        ("wrong_labels=2", "`wrong_labels` must be a share"),
        ("network=mpl", "Unknown network 'mpl'. Did you mean mlp"),
        ("optimizer=SDG", "Unknown optimizer 'SDG'. Did you mean SGD"),
        ("unlabeled_loss=FixMatch", "weak"),
        ("unlabeled_ratio=0", "unlabeled_ratio"),
        ("batch_size=0", "batch_size"),
        ("inner_steps=0", "inner_steps"),
        ("damping=-1", "damping"),
        ("curvature=hesian", "curvature"),
        ("outer=margn", "outer"),
        ("influence=lorain", "'lorraine'"),
    ],
)
def test_a_recipe_that_does_not_fit_fails_before_training(
    setting, expected, tmp_path
):
    result = invoke("run", "digits", "--output", tmp_path, settings=[setting])
    assert result.exit_code == 2, result.output
    assert expected in message(result)
    assert "Epoch" not in result.output
    assert not list(tmp_path.iterdir())


def test_output_that_is_a_file(tmp_path):
    path = tmp_path / "results"
    path.write_text("mine")
    result = invoke("run", "digits", "--output", path)
    assert result.exit_code == 2
    assert "--output" in message(result)
    assert path.read_text() == "mine"
