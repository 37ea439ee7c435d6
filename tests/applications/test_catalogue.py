import io

import pytest
from rich.console import Console

from applications.catalogue import METHODS, explained, listed
from applications.presets import PRESETS
from applications.recipe import resolve, sources
from keras_influence import losses, preset


def text(shown):
    console = Console(width=100, file=io.StringIO())
    console.print(shown)
    return console.file.getvalue()


def test_every_preset_is_listed():
    lines = text(listed()).splitlines()
    for name in PRESETS:
        stem, _, last = name.rpartition("_")
        short = f"_{last}" if last.isdigit() else name
        assert any(
            stem in line and short in line for line in lines if line.strip()
        )
    assert max(map(len, lines)) <= 100
    assert len(lines) < 45


def test_labels_share_a_row():
    found = text(listed("uda_cifar10"))
    assert "uda_cifar10_250, _1000, _4000" in found
    assert "so many labels of cifar10" in found
    assert "250 labels" in text(listed("uda_cifar10_250"))


def test_a_search_without_a_match():
    with pytest.raises(ValueError, match="No preset has 'zzz'"):
        listed("zzz")


def test_every_loss_is_explained():
    kinds = set(losses.__all__) - {"LossState", "UnlabeledLoss"}
    assert set(METHODS) == kinds


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_explained(name):
    shown = text(explained(name, resolve(name), sources(name)))
    assert shown.startswith(f"{name}: ")
    assert max(map(len, shown.splitlines())) <= 100


def test_the_cost_and_the_letters():
    name = "freematch_cifar10_250"
    shown = explained(name, resolve(name), sources(name), {"hours": 3.5})
    shown = text(shown)
    assert "hours: 3.5" in shown
    assert "B: USB's public code" in shown
    assert "S: its authors' code" not in shown


def test_the_demo_estimates_as_the_library_does():
    solver = dict(resolve("digits")["influence"]["solver"])
    default = preset("recommended")["influence"].solver
    assert solver.pop("name") == type(default).__name__
    assert solver.items() <= default.get_config().items()
    assert solver["tolerance"] == default.tolerance
