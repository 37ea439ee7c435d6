import pathlib
import re

import numpy as np

from applications.presets.own import OWN
from applications.recipe import resolve

README = pathlib.Path(__file__).parents[1] / "README.md"
OWN_DATA = README.parent / "docs" / "own_data.md"


def test_the_first_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = re.search(
        r"## Use it.*?```python\n(.*?)```", README.read_text(), re.DOTALL
    )[1]
    assert "epochs=5, steps_per_epoch=200" in code
    quick = code.replace("epochs=5, steps_per_epoch=200", "steps_per_epoch=60")
    names = {}
    exec(quick, names)
    weights = names["model"].example_weights
    assert weights.shape == (1200,)
    assert np.ptp(weights) > 0.1
    assert (tmp_path / "report.html").exists()


def test_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)#:]+)\)", README.read_text()):
        assert (README.parent / link).exists(), link


def test_the_guide_to_own_data_finds_wrong_labels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", OWN_DATA.read_text(), re.DOTALL)[1]
    assert "epochs=20" in code
    names = {}
    exec(code.replace("epochs=20", "epochs=8"), names)
    first = np.isin(names["found"].order[:100], names["wrong"])
    # 28 % by chance.
    assert first.mean() > 0.7
    assert (tmp_path / "report.html").read_text().count("data:image/png") == 24


def test_every_setting_that_the_guide_names_exists():
    commands = re.findall(
        r"run (own_\w+)((?: --set \S+)+)", OWN_DATA.read_text()
    )
    assert {name for name, _ in commands} == set(OWN)
    for name, settings in commands:
        resolve(name, settings.split(" --set ")[1:])
