"""What a run prints and writes beside its pictures."""

import importlib.metadata
import json
import pathlib
import platform

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

PACKAGES = ("keras-influence", "keras", "tensorflow", "numpy")
COLUMNS = {
    "test acc.": ("test_accuracy", "{:.1%}"),
    "weight mean": ("weight_mean", "{:.2f}"),
    "min": ("weight_min", "{:.2f}"),
    "max": ("weight_max", "{:.2f}"),
    "std": ("weight_std", "{:.2f}"),
    "harmful": ("harmful", "{:.0f}"),
    "AUROC": ("auroc", "{:.3f}"),
    "seconds": ("seconds", "{:.1f}"),
}

# How the variants are told of in a sentence.
WORDS = {
    "learned weights": "with learned weights",
    "constant weight": "with one weight for all",
    "labels + validation": "from every trusted label alone",
    "supervised only": "without the validation labels",
    "every example alike": "from every example alike",
    "trusted labels alone": "from the trusted labels alone",
}

# Shown with their standard deviation over seeds; of folds of one seed, the
# accuracy with its standard error.
SPREAD = ("test_accuracy", "auroc")


def results_table(name: str, rows: list[dict]) -> Table:
    """The rows of a run, one line a variant, averaged over seeds.

    Args:
        name: str, the preset.
        rows: list of the dicts that `Experiment.run` returns.
    """
    table = Table(
        title=name,
        title_justify="left",
        caption=_caption(rows),
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
    )
    table.add_column("variant", no_wrap=True)
    variants = dict.fromkeys(row["variant"] for row in rows)
    columns = [list(variants)]
    for column, cell in COLUMNS.items():
        cells = [
            _cell([row for row in rows if row["variant"] == variant], *cell)
            for variant in variants
        ]
        # Of own data, nobody knows what is harmful.
        if set(cells) != {"-"}:
            table.add_column(column, justify="right")
            columns.append(cells)
    for cells in zip(*columns, strict=True):
        table.add_row(*cells)
    return table


def _caption(rows):
    """What is behind the accuracy and its `±`, where there is such."""
    notes = []
    if median := _median_of(rows):
        notes.append(f"test acc.{median}.")
    if len({row.get("seed") for row in rows}) > 1:
        notes.append("±: standard deviation over seeds.")
    elif any("fold" in row for row in rows):
        notes.append("±: standard error, of the labels held out.")
    return " ".join(notes) or None


def findings(rows: list[dict]) -> str:
    """What was wrong in the data, and what the weights made of it.

    Args:
        rows: list of the dicts that `Experiment.run` returns.

    Returns:
        A few lines; none where no variant learned weights.
    """
    learned = [row for row in rows if row["variant"] == "learned weights"]
    judged = [row for row in learned if row.get("auroc") is not None]
    lines = list(_found(judged)) if judged else []
    if learned and all(row.get("weight_max") == 0 for row in learned):
        lines.append(
            "Every weight ended at 0: no unlabelled example counts. More "
            "epochs, or a lower learning rate of the weights, may help."
        )
    if learned:
        accuracies = [
            f"{np.mean(_of_seeds(of_variant, 'test_accuracy')):.1%} {name}"
            for variant, name in WORDS.items()
            if (of_variant := [r for r in rows if r["variant"] == variant])
        ]
        last = _median_of(learned)
        lines.append(f"Test accuracy{last}: {', '.join(accuracies)}.")
    return "\n".join(lines)


def _median_of(rows):
    """Of how many epochs accuracies are the median, in words."""
    epochs = rows[0].get("median_epochs", 1) if rows else 1
    return f", median of the last {epochs} epochs" if epochs > 1 else ""


def _found(rows):
    """The lines on what the weights made of the data."""
    harmful, doubted, auroc = (
        np.mean([row[key] for row in rows])
        for key in ("harmful", "doubted", "auroc")
    )
    every = rows[0]["unlabeled"]
    judged = rows[0].get("judged", every)
    of_all = f"{harmful:,.0f} of {judged:,} unlabelled examples"
    if judged < every:
        of_all += f" whose class is known, of {every:,},"
    known = rows[0].get("harm_known", True)
    yield (
        f"In the data: {of_all} do harm, by a wrong label or a foreign class."
        if known
        else f"In the end: the network gets {of_all} wrong."
    )
    told = [row["doubted_rightly"] for row in rows]
    told = [share for share in told if share is not None]
    rightly = f", {np.mean(told):.0%} of them rightly" if told else ""
    yield (
        f"Found: {doubted:,.0f} are doubted{rightly}; a good one ranks above "
        f"a {'harmful' if known else 'wrong'} one in {auroc:.1%} of all pairs."
    )


def write_json(directory: pathlib.Path, name: str, content) -> None:
    """Writes `content` as `name`.json, for people and for programs."""
    text = json.dumps(content, indent=2)
    (directory / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """The versions that a run depends on."""
    found = {name: _version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **found}


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _cell(rows, key, form):
    values = _of_seeds(rows, key)
    if not values:
        return "-"
    mean, error = np.mean(values), None
    if len(values) > 1 and key in SPREAD:
        error = np.std(values, ddof=1)
    elif key == "test_accuracy" and "tested" in rows[0]:
        error = np.sqrt(mean * (1 - mean) / sum(row["tested"] for row in rows))
    cell = form.format(mean)
    return cell if error is None else f"{cell} ± {form.format(error)}"


def _of_seeds(rows, key):
    """A number for each seed: its folds count by what they were tested on."""
    found = {}
    for row in rows:
        if row.get(key) is not None:
            seed = row["seed"] if "fold" in row else len(found)
            value = row[key], row.get("tested", 1)
            found.setdefault(seed, []).append(value)
    return [
        float(np.average(values, weights=weights))
        for values, weights in (
            zip(*pairs, strict=True) for pairs in found.values()
        )
    ]
