import re
import types
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from keras_influence.callbacks import plots
from keras_influence.reporting import charts
from keras_influence.reporting.calibration import calibration

WEIGHTS = np.linspace(0, 2, 30)


def history():
    return types.SimpleNamespace(
        ids=np.arange(30),
        steps=[0, 5],
        weights=[WEIGHTS, WEIGHTS],
        quantiles=[np.arange(5.0), np.arange(5.0)],
    )


def all_charts():
    yield from charts.learning_curves(
        {"loss": [2.0, 1.0], "val_accuracy": [0.5], "lr": [1]}
    )
    yield charts.weights_overall(WEIGHTS, WEIGHTS < 0.5)
    yield charts.weights_over_time(history())
    yield charts.weights_by_class(
        WEIGHTS, np.arange(30) % 3, ["<a>", "$b$", "c"]
    )
    yield charts.reliability(calibration(np.eye(2)[[0, 1]], [0, 0]))


@pytest.mark.parametrize("chart", list(all_charts()), ids=lambda c: c.title)
def test_a_chart_takes_the_colours_of_its_page(chart):
    root = ElementTree.fromstring(chart.svg)
    assert root.tag.endswith("svg")
    assert "width" not in root.attrib
    assert chart.caption
    for color in ("#000000", plots.GOOD, plots.ALL):
        assert color not in chart.svg
    assert "currentColor" in chart.svg
    assert not re.search(r"#ffffff", chart.svg)
    assert any(node.tag.endswith("text") for node in root.iter())


def test_the_last_values_are_said():
    loss, accuracy = charts.learning_curves(
        {"loss": [2.0, 1.25], "accuracy": [0.5, 0.75]}
    )
    assert loss.caption == "After the last epoch: training 1.25."
    assert accuracy.caption == "After the last epoch: trusted labels 0.75."


def test_values_of_every_fifth_epoch(monkeypatch):
    """As `fit(validation_freq=5)` gives them."""
    monkeypatch.setattr(charts, "svg", lambda figure: figure)
    logs = {"loss": np.arange(10.0), "val_loss": [5.0, 10.0]}
    [chart] = charts.learning_curves(logs)
    lines = {
        line.get_label(): line.get_xdata() for line in chart.svg.axes[0].lines
    }
    np.testing.assert_array_equal(lines["training"], range(1, 11))
    np.testing.assert_array_equal(lines["held out"], [5, 10])


def test_the_class_that_counts_least():
    chart = charts.weights_by_class(
        np.array([1.0, 1.0, 0.2, 0.4]), np.array([0, 0, 2, 2]), ["a", "b", "c"]
    )
    assert "“c” counts least (0.3), “a” most (1)" in chart.caption
    assert ">b<" not in chart.svg


def test_weights_that_are_all_the_same():
    chart = charts.weights_by_class(
        np.full(4, 2.0), np.array([0, 0, 1, 1]), ["a", "b"]
    )
    assert "All of these classes count alike (2)." in chart.caption
    overall = charts.weights_overall(np.array([0.0, 0.0, 0.0, 1.0]))
    assert "a tenth of the examples has 0 or less" in overall.caption


def test_long_names_keep_their_ends():
    names = [f"Department of {what}" for what in ("finance", "forests")]
    chart = charts.weights_by_class(np.ones(4), np.array([0, 0, 1, 1]), names)
    assert "Departmen…of finance<" in chart.svg
    assert "Departmen…of forests<" in chart.svg


def test_rounding_is_no_movement():
    still = history()
    still.weights = [np.full(30, 0.1), np.full(30, 0.1) - 5e-8]
    still.quantiles = [w[:5] for w in still.weights]
    svg = charts.weights_over_time(still).svg
    assert not re.search(r"1e\W\d", svg)
    assert "0.100<" in svg


def test_the_largest_of_many_classes():
    classes = np.concatenate([np.arange(40), np.arange(10, 34)])
    names = [f"class {k}" for k in range(40)]
    chart = charts.weights_by_class(np.ones(64), classes, names)
    shown = re.findall(r"class (\d+)<", chart.svg)
    assert sorted(map(int, shown)) == list(range(10, 34))
    assert "Left out: the 16 classes with fewest examples." in chart.caption
