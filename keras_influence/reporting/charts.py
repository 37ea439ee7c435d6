"""Charts as SVG that takes the colours of the page it stands in."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from keras_influence.callbacks import plots
from keras_influence.reporting.calibration import Calibration

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Inches, so that letters keep their size on a telephone.
SIZE = (4.4, 2.9)
COLORS = {
    "#000000": "currentColor",
    plots.GOOD: "var(--good)",
    plots.HARMFUL: "var(--bad)",
    plots.ALL: "var(--all)",
}
# What Keras logs, on one axis each.
CURVES = {
    "Loss": ("loss", "labeled_loss", "unlabeled_loss", "val_loss"),
    "Accuracy": ("accuracy", "val_accuracy"),
}
NAMES = {
    "loss": "training",
    "labeled_loss": "trusted labels",
    "unlabeled_loss": "other examples",
    "accuracy": "trusted labels",
    "val_loss": "held out",
    "val_accuracy": "held out",
}
STYLES = ("-", "--", ":", "-.")
# More classes than this leave no room for letters.
CLASSES = 24


class Chart(NamedTuple):
    """A picture, its title, and what it says in words."""

    title: str
    svg: str
    caption: str


def learning_curves(history: Mapping[str, Sequence]) -> Iterable[Chart]:
    """Losses and accuracies after each epoch.

    Args:
        history: dict from the names of Keras' logs to a number an epoch, or
            to one every few epochs.
    """
    total = max(map(len, history.values()), default=0)
    for title, keys in CURVES.items():
        found = {key: history[key] for key in keys if len(history.get(key, ()))}
        if not found:
            continue
        figure, axes = _figure("epoch", title.lower())
        for (key, values), style in zip(found.items(), STYLES, strict=False):
            # With a `validation_freq` there are fewer, at even distances.
            step = total // len(values)
            epochs = np.arange(1, len(values) + 1) * step
            color = plots.HARMFUL if key.startswith("val") else plots.GOOD
            axes.plot(
                epochs,
                values,
                style,
                color=color,
                marker="." if len(values) < 30 else "",
                label=NAMES[key],
            )
        axes.locator_params(axis="x", integer=True)
        figure.legend(loc="outside upper center", ncols=2, frameon=False)
        ends = ", ".join(f"{NAMES[k]} {v[-1]:.3g}" for k, v in found.items())
        yield Chart(title, svg(figure), f"After the last epoch: {ends}.")


def weights_overall(weights, harmful=None) -> Chart:
    """The histogram of all weights."""
    low, median, high = np.quantile(weights, (0.1, 0.5, 0.9))
    return Chart(
        "All weights",
        svg(plots.weight_histogram(weights, harmful)),
        f"The middle weight is {median:.2g}; a tenth of the examples has "
        f"{low:.2g} or less, a tenth {high:.2g} or more.",
    )


def weights_over_time(history, harmful=None) -> Chart:
    """How the weights moved, from a `WeightHistory` after training."""
    first, last = (history.quantiles[k][2] for k in (0, -1))
    return Chart(
        "Weights over time",
        svg(plots.weight_history(history, harmful)),
        f"The median went from {first:.2g} to {last:.2g} in "
        f"{history.steps[-1]:,} steps. The band is the middle half.",
    )


def weights_by_class(weights, classes, names: Sequence[str]) -> Chart:
    """The middle half and the median of the weights in every class.

    Args:
        weights: float array of shape `(n,)`.
        classes: int array of shape `(n,)`; -1 is left out.
        names: the names of the classes.
    """
    counts = np.bincount(classes[classes >= 0], minlength=len(names))
    largest = np.sort(np.argsort(-counts, kind="stable")[:CLASSES])[::-1]
    groups = [(weights[classes == k], names[k]) for k in largest if counts[k]]
    left_out = np.count_nonzero(counts) - len(groups)
    figure, axes = _figure("weight", None)
    for place, (values, _) in enumerate(groups):
        low, first, median, third, high = np.quantile(
            values, (0.05, 0.25, 0.5, 0.75, 0.95)
        )
        axes.plot([low, high], [place, place], color=plots.ALL, lw=1)
        axes.plot([first, third], [place, place], color=plots.GOOD, lw=7)
        axes.plot(median, place, "o", color="black", ms=4)
    labels = _short([name for _, name in groups])
    axes.set_yticks(range(len(groups)), labels, parse_math=False)
    axes.set_xlim(left=min(0.0, float(np.min(weights))))
    figure.set_size_inches(SIZE[0], max(SIZE[1], 0.28 * len(groups) + 0.6))
    caption = f"Median, middle half and nine tenths. {_extremes(groups)}"
    if left_out:
        caption += f" Left out: the {left_out} classes with fewest examples."
    return Chart("Weights by class", svg(figure, resize=False), caption)


def _extremes(groups):
    """Which class counts least, and which most, in a sentence."""
    medians = [(float(np.median(values)), name) for values, name in groups]
    (low, least), (high, most) = (
        choose(medians, key=lambda pair: pair[0]) for choose in (min, max)
    )
    if f"{low:.2g}" == f"{high:.2g}":
        return f"All of these classes count alike ({low:.2g})."
    return f"“{least}” counts least ({low:.2g}), “{most}” most ({high:.2g})."


def reliability(found: Calibration) -> Chart:
    """The reliability diagram."""
    figure, axes = _figure("confidence", "share that is right")
    axes.plot([0, 1], [0, 1], ":", color="black", lw=1)
    sizes = np.array([b.count for b in found.bins], float)
    axes.plot(
        [b.confidence for b in found.bins],
        [b.accuracy for b in found.bins],
        color=plots.GOOD,
    )
    axes.scatter(
        [b.confidence for b in found.bins],
        [b.accuracy for b in found.bins],
        s=20 + 160 * sizes / sizes.max(),
        color=plots.GOOD,
        clip_on=False,
    )
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    return Chart(
        "Confidence against accuracy",
        svg(figure),
        "On the dotted line confidence is what it says; below it the network "
        f"is too sure. Mean distance: {found.error:.1%}.",
    )


def svg(figure: Figure, resize: bool = True) -> str:
    """A figure as the text of an SVG element.

    Its letters are text, its black is the page's colour of text.

    Args:
        figure: a figure of matplotlib.
        resize: bool, whether to give it the size of the others. Defaults to
            `True`.
    """
    import matplotlib

    if resize:
        figure.set_size_inches(SIZE)
    for axes in figure.axes:
        axes.set_title("")
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ki"}):
        figure.savefig(
            file,
            format="svg",
            transparent=True,
            metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")),
        )
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Names such as "axes_1" would be in the page once a chart.
    text = re.sub(r'<g id="[^"]*">', "<g>", text)
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text, count=2)
    for color, themed in COLORS.items():
        text = text.replace(color, themed)
    return text.strip()


def _figure(xlabel, ylabel):
    figure = plots.figure_class()(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _short(names):
    """Names that there is room for, without a middle if they are long.

    That is what most often parts the names of an agency's departments.
    """
    names = [plots.one_line(name) for name in names]
    return [n if len(n) <= 20 else f"{n[:9]}…{n[-10:]}" for n in names]
