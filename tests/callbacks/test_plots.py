import sys
import types

import numpy as np
import pytest

from keras_influence.callbacks import WeightReport, plots


def test_histogram_counts_every_example_once():
    weights = np.linspace(0, 2, 30)
    harmful = weights < 0.5
    figure = plots.weight_histogram(weights, harmful)
    good, bad = figure.axes[0].containers
    assert sum(bar.get_height() for bar in good) == (~harmful).sum()
    assert sum(bar.get_height() for bar in bad) == harmful.sum()
    assert max(b.get_x() for b in bad if b.get_height()) < 0.5


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_histogram_of_equal_weights(value):
    figure = plots.weight_histogram(np.full(9, value))
    assert sum(b.get_height() for b in figure.axes[0].containers[0]) == 9


def history(weights):
    return types.SimpleNamespace(
        ids=np.arange(weights.shape[1]),
        steps=list(range(len(weights))),
        weights=list(weights),
        quantiles=list(np.quantile(weights, [0, 0.25, 0.5, 0.75, 1], axis=1).T),
    )


def test_history_draws_the_medians_of_both_groups():
    weights = np.array([[1.0, 1.0, 1.0], [1.5, 1.4, 0.2]])
    harmful = np.array([False, False, True])
    axes = plots.weight_history(history(weights), harmful).axes[0]
    medians = {
        line.get_label(): line.get_ydata().tolist()
        for line in axes.get_lines()
        if not line.get_label().startswith("_")
    }
    assert medians == {"good": [1.0, 1.45], "harmful": [1.0, 0.2]}


def test_history_without_groups_draws_the_quantiles_of_all_weights():
    snapshots = history(np.array([[1.0, 1.0], [0.5, 0.7]]))
    snapshots.quantiles = [np.ones(5), np.arange(5.0)]
    axes = plots.weight_history(snapshots).axes[0]
    (median,) = (
        line for line in axes.get_lines() if line.get_label() == "all examples"
    )
    assert median.get_ydata().tolist() == [1.0, 2.0]


def test_most_and_least_weighted_examples():
    images = np.arange(50.0)[:, None, None] * np.ones((50, 4, 4))
    images[:, 0, 0] = 0
    weights = np.random.default_rng(0).permutation(50) / 25
    labels = [f"label {i}" for i in range(50)]
    figure = plots.extreme_examples(images, weights, labels)
    shown = [axes.get_title().splitlines()[0] for axes in figure.axes]
    order = np.argsort(weights)
    most, least = shown[:20], shown[20:]
    assert most == [labels[i] for i in order[::-1][:20]]
    assert least == [labels[i] for i in order[:20]]


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1), (4, 4, 3)])
@pytest.mark.parametrize(
    ("kind", "white"), [("uint8", 255), ("float32", 1), ("float64", 16)]
)
def test_white_is_white(shape, kind, white):
    """Of an image that is all white, too."""
    images = np.zeros((2, *shape), kind)
    images[1] = white
    figure = plots.extreme_examples(images, np.arange(2.0))
    shown = [image for axes in figure.axes for image in axes.images]
    for image, level in zip(shown, [1, 0, 0, 1], strict=True):
        color = image.to_rgba(image.get_array())[..., :3]
        np.testing.assert_array_equal(color, np.full((4, 4, 3), level))


def test_fewer_examples_than_places():
    plots.extreme_examples(np.zeros((3, 4, 4)), np.arange(3.0))


def test_what_counts_as_images():
    assert plots.are_images(np.zeros((2, 8, 8)))
    assert plots.are_images(np.zeros((2, 8, 8, 3)))
    assert not plots.are_images(np.zeros((2, 8)))
    assert not plots.are_images(np.zeros((2, 8, 8, 7)))


def test_without_matplotlib_the_error_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"keras-influence\[plots\]"):
        WeightReport(tmp_path)
    with pytest.raises(ImportError, match=r"keras-influence\[plots\]"):
        plots.weight_histogram(np.ones(3))
