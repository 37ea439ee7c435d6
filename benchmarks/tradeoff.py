"""Error against time, one point a method."""

import math

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

MARKERS = "osD^vP*XhpdH"


def plot_tradeoff(panels: dict, path: str) -> None:
    """Draws one panel for each data set and scope.

    Args:
        panels: dictionary from titles to rows with the columns `"method"`,
            `"x gradient"` and `"scaled error"`.
        path: where to save the picture.
    """
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(5 * columns, 3.6 * rows),
        squeeze=False,
        sharex="col",
        sharey=True,
        layout="constrained",
    )
    colors = plt.get_cmap("tab20").colors
    colors = colors[::2] + colors[1::2]
    for (title, points), axis in zip(panels.items(), axes.flat, strict=False):
        for color, marker, point in zip(colors, MARKERS, points, strict=False):
            axis.plot(
                point["x gradient"],
                point["scaled error"],
                marker,
                color=color,
                markersize=9,
                markeredgecolor="white",
                label=point["method"],
            )
        axis.set(title=title, xscale="log", yscale="log")
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("time of one update, in gradients of the batch")
    figure.supylabel("relative error of the scores at their best scale")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
