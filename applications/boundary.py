"""Pictures of a two-class decision boundary in the plane."""

import dataclasses

import keras
import numpy as np
from matplotlib.figure import Figure

from applications.task import Task

CLASSES = ("#3b76af", "#d9544d")
STYLES = {"labelled": ("*", 170), "validation": ("s", 26)}


@dataclasses.dataclass
class Snapshot:
    """What one panel shows: a step, `P(class 1)` on the grid, the weights."""

    step: int
    probabilities: np.ndarray
    weights: np.ndarray


class DecisionBoundary(keras.callbacks.Callback):
    """Keeps a two-class boundary in the plane at a few steps of a training.

    Args:
        task: `Task` with inputs of shape `(n, 2)` and two classes.
        shares: sequence of floats, how far the training is at each snapshot.
            Defaults to `(0.02, 0.1, 0.3, 1.0)`.

    Attributes:
        steps: list of the snapshots' steps.
        probabilities: list of arrays, `P(class 1)` on the grid.
        weights: list of arrays, the example weights.
    """

    KEPT = ("steps", "probabilities", "weights")

    def __init__(self, task: Task, shares=(0.02, 0.1, 0.3, 1.0)):
        super().__init__()
        self.task = task
        self.shares = shares
        self.steps, self.probabilities, self.weights = [], [], []

    @property
    def snapshots(self) -> list[Snapshot]:
        """What was kept, a `Snapshot` for each panel of a picture."""
        return _snapshots(getattr(self, name) for name in self.KEPT)

    def on_train_batch_end(self, batch, logs=None):
        """Takes the next snapshot when it is due."""
        total = self.params["epochs"] * self.params["steps"]
        step = int(self.model.optimizer.iterations)
        taken = len(self.steps)
        if taken < len(self.shares) and step >= self.shares[taken] * total:
            self._take(step)

    def _take(self, step):
        network = self.model.network
        x, y = np.meshgrid(*grid(self.task))
        points = np.stack([x.ravel(), y.ravel()], axis=1).astype("float32")
        logits = network(points, training=False)
        probabilities = np.asarray(keras.ops.softmax(logits))[:, 1]
        self.steps.append(step)
        self.probabilities.append(probabilities.reshape(x.shape))
        self.weights.append(np.array(self.model.example_weights))


def kept_snapshots(lists: dict) -> list[Snapshot]:
    """The snapshots of a training that ended.

    Args:
        lists: dict, as `RunState.lists` gives it.
    """
    name = DecisionBoundary.__name__
    return _snapshots(lists[f"{name}.{key}"] for key in DecisionBoundary.KEPT)


def grid(task: Task) -> list[np.ndarray]:
    """The coordinates at which the boundary is drawn, one array an axis."""
    low = task.unlabeled.min(axis=0) - 0.3
    high = task.unlabeled.max(axis=0) + 0.3
    return [np.linspace(a, b, 100) for a, b in zip(low, high, strict=True)]


def plot_boundaries(
    task: Task, variants: dict[str, list[Snapshot]], max_weight: float
) -> Figure:
    """One row of panels a variant, one panel a snapshot.

    Unlabelled points are shaded by their weight.

    Args:
        task: the `Task` that the variants were trained on.
        variants: dict from names to as many snapshots each.
        max_weight: float, the weight of the darkest shade.

    Reference: figure 1 of "Not All Unlabeled Data are Equal".
    """
    columns = len(next(iter(variants.values())))
    size = (2.7 * columns + 1.2, 2.5 * len(variants) + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(
        len(variants), columns, sharex=True, sharey=True, squeeze=False
    )
    for row, (name, snapshots) in zip(panels, variants.items(), strict=True):
        row[0].set_ylabel(name, fontsize=11)
        for axis, snapshot in zip(row, snapshots, strict=True):
            shades = _panel(axis, task, snapshot, max_weight)
    figure.colorbar(
        shades, ax=panels, label="weight of an unlabelled point", shrink=0.8
    )
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=4, frameon=False
    )
    return figure


def _snapshots(columns):
    return [Snapshot(*row) for row in zip(*columns, strict=True)]


def _panel(axis, task, snapshot, max_weight):
    axis.set(xticks=[], yticks=[])
    axis.set_title(f"step {snapshot.step}", fontsize=10)
    levels, colors = [0, 0.5, 1], ["#dbe7f3", "#f8dedc"]
    axis.contourf(*grid(task), snapshot.probabilities, levels, colors=colors)
    axis.contour(*grid(task), snapshot.probabilities, [0.5], colors="#333333")
    shades = axis.scatter(
        *task.unlabeled.T,
        c=snapshot.weights,
        s=13,
        cmap="Greys",
        vmin=0,
        vmax=max_weight,
        edgecolors="#888888",
        linewidths=0.4,
    )
    sets = {"labelled": task.labeled, "validation": task.validation}
    for name, (x, y) in sets.items():
        marker, size = STYLES[name]
        for c, color in enumerate(CLASSES):
            axis.scatter(
                *x[y == c].T,
                marker=marker,
                s=size,
                color=color,
                edgecolors="black",
                linewidths=0.7,
                label=f"{name}, class {c}",
                zorder=3,
            )
    return shades
