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

# Shown with their standard deviation over seeds.
SPREAD = ("test_accuracy", "auroc")


def results_table(name: str, rows: list[dict]) -> Table:
    """The rows of a run, one line a variant, averaged over seeds.

    Args:
        name: str, the preset.
        rows: list of the dicts that `Experiment.run` returns.
    """
    table = Table(title=name, title_justify="left", box=SIMPLE_HEAD, padding=0)
    table.add_column("variant", no_wrap=True)
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for variant in dict.fromkeys(row["variant"] for row in rows):
        of_variant = [row for row in rows if row["variant"] == variant]
        cells = [_cell(of_variant, *cell) for cell in COLUMNS.values()]
        table.add_row(variant, *cells)
    return table


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
            f"{np.mean(of_variant):.1%} {name}"
            for variant, name in WORDS.items()
            if (
                of_variant := [
                    row["test_accuracy"]
                    for row in rows
                    if row["variant"] == variant
                ]
            )
        ]
        lines.append(f"Test accuracy: {', '.join(accuracies)}.")
    return "\n".join(lines)


def _found(rows):
    """The lines on what the weights made of the data."""
    harmful, doubted, auroc = (
        np.mean([row[key] for row in rows])
        for key in ("harmful", "doubted", "auroc")
    )
    of_all = f"{harmful:,.0f} of {rows[0]['unlabeled']:,} unlabelled examples"
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
    values = [row[key] for row in rows if row.get(key) is not None]
    if not values:
        return "-"
    cell = form.format(np.mean(values))
    if len(values) > 1 and key in SPREAD:
        cell += " ± " + form.format(np.std(values, ddof=1))
    return cell
