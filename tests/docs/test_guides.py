import inspect
import re

import keras
import numpy as np
import pytest

from applications.presets.own import OWN
from applications.recipe import resolve
from tests.cases.documents import BLOCK, ROOT, run_code

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
)
WITH_CODE = [p for p in PAGES if BLOCK.search((ROOT / p).read_text())]
# Of their results, tests below.
QUICK = {
    "README.md": {"epochs=5, steps_per_epoch=200": "steps_per_epoch=60"},
    "docs/index.md": {"epochs=5, steps_per_epoch=200": "steps_per_epoch=60"},
    "docs/own_data.md": {"epochs=20": "epochs=8"},
    "docs/losses.md": {"epochs=3, steps_per_epoch=100": "steps_per_epoch=20"},
    "docs/after_training.md": {},
    "docs/own_signal.md": {},
}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", sorted({*WITH_CODE} - {*QUICK}))
def test_the_code_of_a_guide_runs(page):
    run_code(page)


def test_the_readme_trains_and_reports(tmp_path):
    names = run_code("README.md", QUICK["README.md"])
    weights = names["model"].example_weights
    assert np.ptp(weights) > 0.1
    assert (tmp_path / "report.html").exists()


def test_the_tour_finds_wrong_labels(tmp_path):
    names = run_code("docs/index.md", QUICK["docs/index.md"])
    assert np.isin(names["worst"], names["wrong"]).mean() > 0.8
    assert (tmp_path / "report.html").read_text().count("data:image/png") == 24
    batch = next(iter(names["train"]))["unlabeled"]
    losses, _ = names["loss"](
        {v: x[:, 0, :, 0] for v, x in batch["views"].items()}
    )
    assert losses.shape == (448,)


def test_the_guide_to_own_data_finds_wrong_labels(tmp_path):
    names = run_code("docs/own_data.md", QUICK["docs/own_data.md"])
    first = np.isin(names["found"].order[:100], names["wrong"])
    # 28 % by chance.
    assert first.mean() > 0.7
    assert (tmp_path / "report.html").read_text().count("data:image/png") == 24


def test_thresholds_rise():
    names = run_code("docs/losses.md", QUICK["docs/losses.md"])
    thresholds = names["model"].unlabeled_loss.thresholds.numpy()
    assert 0 < thresholds.max() <= 0.9


def test_scores_after_training_find_wrong_labels():
    names = run_code("docs/after_training.md")
    assert np.isin(names["worst"], names["wrong"]).mean() > 0.6
    assert list(names["by_source"]) == ["careless", "careful"]


def test_a_signal_tells_sources_apart():
    names = run_code("docs/own_signal.md")
    of_source = np.array(names["model"].weighting.of_source)
    assert of_source[0] > of_source[1] + 0.2


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md"])
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)#:]+)[^):]*\)", text):
        assert ((ROOT / page).parent / link).exists(), link


def test_commands_of_applications_exist():
    text = "\n".join((ROOT / page).read_text() for page in PAGES)
    text = re.sub(r"\s*\\\n\s*", " ", text)
    setting = r" --set [\w.]+=[^\s`…]+"
    commands = re.findall(
        rf"python -m applications (?:run|show) (\w+)((?:{setting})*)", text
    )
    assert {name for name, _ in commands} > {*OWN, "digits"}
    for name, settings in commands:
        resolve(name, settings.split(" --set ")[1:])


def test_commands_of_benchmarks_exist():
    text = "\n".join((ROOT / page).read_text() for page in PAGES)
    names = set(re.findall(r"python -m benchmarks\.(\w+)", text))
    assert len(names) > 5
    for name in names:
        assert (ROOT / "benchmarks" / f"{name}.py").exists(), name


@pytest.mark.parametrize("method", ["compile", "fit"])
def test_every_argument_of_keras_has_its_line(method):
    text = (ROOT / "docs" / "reliability.md").read_text()
    section = text.partition(f"| of `{method}` |")[2].partition("\n\n")[0]
    arguments = inspect.signature(getattr(keras.Model, method)).parameters
    for name in [*arguments][1:]:
        assert f"`{name}`" in section, name
