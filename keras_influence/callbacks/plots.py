"""Pictures of example weights, as matplotlib figures ready for `savefig`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from keras_influence.callbacks.plain_text import one_line

GOOD, HARMFUL, ALL = "#3b76af", "#d9544d", "#5a6472"


def figure_class() -> type[Figure]:
    """Matplotlib's `Figure`, imported here and only here.

    Returns:
        The class.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Pictures of weights need matplotlib, which is not installed. "
            'Install it with `pip install "keras-influence[plots]"`.'
        ) from error
    return Figure


def weight_histogram(weights, harmful=None) -> Figure:
    """Histogram of the weights, harmful examples apart where known.

    Args:
        weights: float array of shape `(n,)`.
        harmful: boolean array of shape `(n,)`. Defaults to `None`.

    Returns:
        The figure.

    Example:
    >>> figure = weight_histogram(np.linspace(0, 2, 50))
    """
    weights = np.asarray(weights)
    figure, axes = _figure("weight", "examples")
    bins = np.linspace(min(0.0, weights.min()), max(weights.max(), 1e-3), 41)
    for name, color, members in _groups(harmful, len(weights)):
        axes.hist(weights[members], bins, color=color, alpha=0.65, label=name)
    axes.set_title("Weights after training")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def weight_history(history, harmful=None) -> Figure:
    """Weights over time: median, middle half and a few examples one by one.

    Args:
        history: a `WeightHistory` after training.
        harmful: boolean array of shape `(num_unlabeled,)`. Defaults to `None`.

    Returns:
        The figure.
    """
    harmful = None if harmful is None else np.asarray(harmful)[history.ids]
    weights = np.stack(history.weights)
    figure, axes = _figure("training step", "weight")
    for name, color, members in _groups(harmful, weights.shape[1]):
        group = weights[:, members]
        if not group.size:
            continue
        low, median, high = np.quantile(group, (0.25, 0.5, 0.75), axis=1)
        if harmful is None:
            low, median, high = np.transpose(history.quantiles)[1:4]
        axes.plot(history.steps, group[:, :12], color=color, lw=0.5, alpha=0.35)
        axes.fill_between(history.steps, low, high, color=color, alpha=0.2)
        axes.plot(history.steps, median, color=color, lw=2.2, label=name)
    # What moved by rounding alone did not move.
    axes.ticklabel_format(axis="y", useOffset=False)
    low, high = axes.get_ylim()
    if high - low < 1e-2:
        axes.set_ylim((low + high) / 2 - 5e-3, (low + high) / 2 + 5e-3)
    axes.set_title("Weights over time: median, middle half, single examples")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def extreme_examples(inputs, weights, labels=None, harmful=None) -> Figure:
    """The 20 most and the 20 least weighted images.

    Args:
        inputs: array of shape `(n, height, width[, channels])`.
        weights: float array of shape `(n,)`.
        labels: sequence of length `n`, written above the images. Defaults to
            `None`.
        harmful: boolean array of shape `(n,)`; harmful examples get a coloured
            frame. Defaults to `None`.

    Returns:
        The figure.
    """
    order = np.argsort(weights, kind="stable")
    figure = figure_class()(figsize=(10, 6.6), layout="constrained")
    note = "weight" if labels is None else "label and weight"
    note = f"Above each image: {note}."
    if harmful is not None:
        note += " Framed: harmful."
    figure.supxlabel(note, fontsize=9, color=ALL)
    limits = _limits([inputs[i] for i in {*order[:20], *order[-20:]}])
    halves = figure.subfigures(2, 1, squeeze=False, hspace=0.06)[:, 0]
    groups = {"Most weighted": order[::-1][:20], "Least weighted": order[:20]}
    for half, (title, ids) in zip(halves, groups.items(), strict=True):
        half.suptitle(title, fontsize=12, fontweight="bold")
        axes = half.subplots(2, 10).ravel()
        for axis in axes:
            axis.axis("off")
        for axis, i in zip(axes, ids, strict=False):
            bad = harmful is not None and harmful[i]
            caption = f"{weights[i]:.2f}"
            if labels is not None:
                caption = f"{_short(labels[i])}\n{caption}"
            color = HARMFUL if bad else "black"
            # A label may hold a `$`, which is no formula of matplotlib's.
            axis.set_title(
                caption, fontsize=8, color=color, pad=3, parse_math=False
            )
            _show(axis, inputs[i], limits, HARMFUL if bad else None)
    return figure


def are_images(inputs) -> bool:
    """Whether an array looks like a batch of images."""
    try:
        shape = np.shape(inputs)
    except ValueError:  # Rows of several shapes.
        return False
    return len(shape) == 3 or (len(shape) == 4 and shape[-1] in (1, 3, 4))


def _short(label):
    label = one_line(label)
    return label if len(label) <= 16 else f"{label[:15]}…"


def _show(axis, image, limits, frame):
    image = np.asarray(image, "float32")
    image = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
    low, high = limits
    image = (image - low) / max(high - low, 1e-6)
    axis.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    if frame is not None:
        axis.axis("on")
        axis.set(xticks=[], yticks=[])
        for spine in axis.spines.values():
            spine.set(color=frame, linewidth=2)


def _limits(images):
    """The values of black and white, the same for all images."""
    images = np.stack(images)
    if images.dtype == np.uint8:
        return 0.0, 255.0
    return float(images.min()), float(images.max())


def _figure(xlabel, ylabel):
    figure = figure_class()(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _groups(harmful, num_examples):
    if harmful is None:
        return [("all examples", ALL, np.ones(num_examples, bool))]
    harmful = np.asarray(harmful, bool)
    return [("good", GOOD, ~harmful), ("harmful", HARMFUL, harmful)]
