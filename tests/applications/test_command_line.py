import contextlib
import csv
import html
import json
import re

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as options
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from applications.__main__ import app
from applications.checks import check
from applications.presets import PRESETS, TRAININGS
from applications.recipe import paths, resolve
from applications.report import WORDS
from applications.run_state import Lock

TINY = {
    "digits": ["units=8", "inner_steps=1", "influence=luketina"],
    "digits_fixmatch": ["filters=4", "inner_steps=1", "confidence=0.1"],
    "digits_flexmatch": ["filters=4", "inner_steps=1"],
    "digits_freematch": ["filters=4", "inner_steps=1"],
    "digits_softmatch": ["filters=4", "inner_steps=1"],
    "digits_mean_teacher": ["filters=4", "inner_steps=1"],
    "digits_vat": ["filters=4", "inner_steps=1"],
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


def test_list_and_its_search():
    output = invoke("list").output
    assert "your own data" in output
    assert "digits" in output
    found = invoke("list", "--search", "FLEX").output
    assert "flexmatch_cifar10_250" in found
    assert "digits_flexmatch" in found
    assert "uda" not in found
    nothing = invoke("list", "--search", "flexmach")
    assert nothing.exit_code == 2
    assert "Did you mean" in message(nothing)


def test_show_explains():
    result = invoke("show", "digits", settings=["epochs=3"])
    assert result.output.startswith("digits: Handwritten digits;")
    assert "which to trust" in result.output
    assert re.search(r"epochs +3 +--set", result.output)
    output = invoke("show", "fixmatch_cifar10_250").output
    assert "learned, constant, authors" in output
    assert "F: FixMatch's public code" in output


def test_show_refuses_what_run_does():
    for name in ("digits", "own_table"):
        result = invoke("show", name, settings=["epochs=0"])
        assert result.exit_code == 2
        assert "`epochs` must be positive" in result.output


def test_show_as_json():
    result = invoke("show", "digits", "--json", settings=["epochs=3"])
    shown = json.loads(result.output)
    found = shown.pop("sources")
    variants = list(TRAININGS)
    assert shown == {**PRESETS["digits"], "epochs": 3, "variants": variants}
    assert found["epochs"] == "--set"
    assert found["batch_size"] == "this project"


@pytest.mark.parametrize(
    ("name", "now"),
    [
        ("uda_cifar10_250_constant", "uda_cifar10_250 --set variant=constant"),
        ("fixmatch_svhn_250_authors", "--set variant=authors"),
        ("uda_imdb_20_small", "uda_imdb_20 --scale small"),
    ],
)
def test_names_that_are_axes_now(name, now):
    result = invoke("run", name)
    assert result.exit_code == 2
    assert now in message(result)


@pytest.mark.parametrize(
    "name",
    [
        "digits",
        pytest.param("linear", marks=pytest.mark.slow),
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in TINY
            if name.startswith("digits_") and name != "digits_fixmatch"
        ),
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
    last = result.output.splitlines()[-1]
    assert last == f"Report: {tmp_path / 'report.html'}"
    page = html.unescape((tmp_path / "report.html").read_text())
    assert f"applications run {name} --set epochs=2" in page
    assert f"--data-dir {tfds_dir}" in page
    if not rows[3]["harm_known"]:
        assert "<dd>harmful</dd>" not in page
    assert f"{rows[3]['test_accuracy']:.1%}" in page
    assert all(WORDS[row["variant"]] in page for row in rows)


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
        ("unlabeled_loss=UnlabeledLoss", "Unknown unlabeled_loss"),
        ("weight_optimizer=RowOptimizer", "Unknown weight_optimizer"),
        ("optimizer=Optimizer", "Unknown optimizer"),
        ("optimizer=get", "Unknown optimizer"),
        ("weight_network=Influence", "Unknown weight_network"),
        ("solver=Solver", "Unknown solver"),
        ("dataset=Task", "Unknown dataset"),
        ("optimizer.learning_rate=nan", "takes a number"),
        ("optimizer.beta=1", "optimizer.name"),
        ("batch_size=1" + "0" * 30, "out-of-range"),
        ("seeds=0,0", "`seeds` must name each one once"),
        ("seeds=-1", "Got -1"),
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


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


QUICK = ["epochs=1", "steps_per_epoch=2", "warmup_steps=0", "inner_steps=1"]
LINEAR = [*QUICK, "test=50", "influence=luketina"]
DIGITS = [*QUICK, "units=4", "influence=luketina"]


@pytest.fixture
def supervised(monkeypatch):
    """Presets with one quick variant."""
    for name in ("digits", "linear"):
        quick = PRESETS[name] | {"variants": ["supervised only"]}
        monkeypatch.setitem(PRESETS, name, quick)


def test_a_finished_folder(tmp_path, monkeypatch):
    variants = {"variants": ["learned weights"]}
    for name in ("digits", "linear"):
        monkeypatch.setitem(PRESETS, name, PRESETS[name] | variants)
    first = invoke("run", "digits", "--output", tmp_path, settings=DIGITS)
    assert first.exit_code == 0, first.output
    (tmp_path / "notes.txt").write_text("mine")
    before = files(tmp_path)
    again = invoke("run", "digits", "--output", tmp_path, settings=DIGITS)
    assert again.exit_code == 0
    assert "Epoch" not in again.output
    table = first.output.partition("digits  ")[2]
    assert table
    assert again.output.endswith(table)
    other = invoke("run", "linear", "--output", tmp_path, settings=LINEAR)
    assert other.exit_code == 2
    assert "holds a run of another recipe" in message(other)
    assert "--overwrite" in message(other)
    assert files(tmp_path) == before
    other = invoke(
        *["run", "linear", "--output", tmp_path, "--overwrite"],
        settings=LINEAR,
    )
    assert other.exit_code == 0, other.output
    assert {path.name for path in tmp_path.iterdir()} == {
        *("boundary.png", "config.json", "history.png", "notes.txt"),
        *("report.html", "results.json", "run.json", "weights.csv"),
        "weights.png",
    }


def test_a_folder_in_which_another_process_works(tmp_path, supervised):
    lock = Lock(tmp_path / "run.pid")
    result = invoke("run", "digits", "--output", tmp_path, settings=DIGITS)
    lock.release()
    assert result.exit_code == 2
    assert "is at work in" in message(result)
    assert "Epoch" not in result.output


def test_a_folder_without_the_data_set(tmp_path):
    data, output = tmp_path / "data", tmp_path / "output"
    (data / "mnist" / "1.0.0").mkdir(parents=True)
    (data / "mnist" / "1.0.0" / "dataset_info.json").touch()
    for name in ("fashion_mnist", "uda_cifar10_250", "uda_text"):
        result = invoke("run", name, "--data-dir", data, "--output", output)
        assert result.exit_code == 2, result.output
        assert "holds no data set" in message(result)
        assert "Found there: mnist" in message(result)
        assert not output.exists()


def test_images_of_two_sizes(tmp_path):
    for split in ("train", "test"):
        for label in "ab":
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            for k in range(3):
                Image.new("RGB", (8, 8)).save(folder / f"{k}.png")
    Image.new("RGB", (9, 7)).save(tmp_path / "test" / "b" / "9.png")
    output = tmp_path / "output"
    result = invoke(
        *["run", "uda_cifar10_250", "--output", output],
        settings=[f"dataset={tmp_path}"],
    )
    assert result.exit_code == 2
    # The terminal breaks lines within paths.
    text = "".join(message(result).split())
    assert "has8x8pixels" in text
    assert "b/9.pnghas7x9." in text
    assert not output.exists()


KEYS = st.one_of(
    st.text(),
    st.sampled_from([p for r in PRESETS.values() for p, _ in paths(r)]),
    st.sampled_from(["optimizer.beta_1", "solver.damping", "network.units"]),
)
VALUES = st.one_of(
    st.text(),
    st.sampled_from([*"+-~([{", "-" * 5000, "(" * 5000, "1" * 5000, "nan"]),
    st.sampled_from(["Adam", "linear", "none", "inf", "1e999", "b'x'", "..."]),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.integers(), inner),
        max_leaves=5,
    ).map(repr),
)
SETTINGS = st.lists(
    st.one_of(st.text(), st.tuples(KEYS, VALUES).map("=".join)), max_size=3
)


def show(name, settings):
    """Either a recipe that can be compared with itself, or what to mend."""
    with contextlib.suppress(ValueError):
        recipe = resolve(name, settings)
        check(recipe)
        assert json.loads(json.dumps(recipe)) == recipe


@options(deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(list(PRESETS)), SETTINGS)
def test_random_settings(name, settings):
    show(name, settings)


@pytest.mark.slow
@options(
    max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck)
)
@given(st.sampled_from(list(PRESETS)), SETTINGS)
def test_many_random_settings(name, settings):
    show(name, settings)


@options(
    max_examples=25, deadline=None, suppress_health_check=list(HealthCheck)
)
@given(SETTINGS)
def test_random_commands(settings):
    result = invoke("show", "digits", settings=settings)
    assert result.exit_code in (0, 2), result.output


def test_a_folder_of_data_for_another_data_set(tmp_path, tfds_dir):
    """Given to what reads from there, also where it was put in by name."""
    output = ["--output", tmp_path / "run", "--data-dir", tfds_dir]
    settings = ["dataset=fashion_mnist", "dataset.wrong_labels=0.4"]
    settings += ["epochs=1", "steps_per_epoch=2", "variants=supervised only"]
    result = invoke("run", "digits", *output, settings=settings)
    assert result.exit_code == 0, result.output
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert str(tfds_dir) in json.dumps(config)
    output = ["--output", tmp_path / "other", "--data-dir", tfds_dir]
    result = invoke("run", "digits", *output, settings=["labeled=-1"])
    assert "Nothing of 'digits' is read from `--data-dir`." in result.output
