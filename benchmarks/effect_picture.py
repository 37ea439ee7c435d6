"""The tables of `benchmarks.effect` as one picture."""

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def plot(tables: dict, path) -> None:
    """Test accuracy of every method, a panel for each scenario.

    Args:
        tables: dictionary from titles to rows, as `benchmarks.effect` makes
            them.
        path: where to save the PNG.
    """
    columns = 3
    lines = -(-len(tables) // columns)
    figure = Figure((5 * columns, 3 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    for k, (title, rows) in enumerate(tables.items(), start=1):
        axes = figure.add_subplot(lines, columns, k)
        names = [row["method"] for row in rows]
        pairs = [row["test, %"].split(" ± ") for row in rows]
        means = [float(mean) for mean, _ in pairs]
        spreads = [float(spread) for _, spread in pairs]
        colors = ["C1" if n.startswith("learned") else "C0" for n in names]
        for y, (mean, spread) in enumerate(zip(means, spreads, strict=True)):
            axes.errorbar(mean, y, xerr=spread, fmt="o", color=colors[y])
        axes.set_yticks(range(len(names)), names if k % columns == 1 else [])
        axes.invert_yaxis()
        axes.set_xlim(min(means) - 3, max(means) + 3)
        axes.grid(axis="x", alpha=0.3)
        axes.set_title(title.partition(";")[0], fontsize=10)
        axes.set_xlabel("test accuracy, %")
    figure.savefig(path, dpi=100)
