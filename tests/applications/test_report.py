import io

import numpy as np
from rich.console import Console

from applications import report


def lines(rows):
    console = Console(file=io.StringIO(), width=200)
    console.print(report.results_table("title", rows))
    return console.file.getvalue().splitlines()


def test_one_line_a_variant_averaged_over_seeds():
    first = {"variant": "first", "test_accuracy": 0.5, "seconds": 1.0}
    second = [
        {"variant": "second", "test_accuracy": accuracy, "seconds": 2.0}
        for accuracy in (0.8, 0.9)
    ]
    *_, one, two, _ = lines([first, *second])
    assert one.split()[:2] == ["first", "50.0%"]
    assert two.split()[:4] == ["second", "85.0%", "±", "7.1%"]


def test_columns_of_which_nothing_is_known_are_left_out():
    _, _, header, _, line, _ = lines(
        [{"variant": "first", "test_accuracy": 0.5, "auroc": None}]
    )
    assert header.split() == ["variant", "test", "acc."]
    assert line.split() == ["first", "50.0%"]


def test_cells():
    rows = [{"auroc": 0.8}, {"auroc": 0.9}, {"auroc": None}, {}]
    mean, deviation = np.mean([0.8, 0.9]), np.std([0.8, 0.9], ddof=1)
    expected = f"{mean:.3f} ± {deviation:.3f}"
    assert report._cell(rows, "auroc", "{:.3f}") == expected
    assert report._cell(rows[2:], "auroc", "{:.3f}") == "-"
    assert report._cell(rows[:1], "auroc", "{:.1%}") == "80.0%"


def told(rows):
    """The words of the only variant, and what is said below the table."""
    found = lines(rows)
    place = next(i for i, line in enumerate(found) if "learned" in line)
    return found[place].split(), " ".join(" ".join(found[place + 1 :]).split())


def test_folds_are_parts_of_one_test():
    """As if what was held out were tested at once, whatever the folds."""
    rows = [
        {
            "variant": "learned weights",
            "seed": seed,
            "fold": fold,
            "test_accuracy": accuracy,
            "tested": tested,
        }
        for seed, right in ((0, 20), (1, 10))
        for fold, accuracy, tested in ((0, 1.0, 10), (1, (right - 10) / 30, 30))
    ]
    error = np.sqrt(0.5 * 0.5 / 40)
    line, caption = told(rows[:2])
    assert line[2:5] == ["50.0%", "±", f"{error:.1%}"]
    assert caption == "±: standard error, of the labels held out."
    assert "50.0% with learned" in report.findings(rows[:2])
    line, caption = told(rows)
    spread = np.std([0.5, 0.25], ddof=1)
    assert line[2:5] == ["37.5%", "±", f"{spread:.1%}"]
    assert caption == "±: standard deviation over seeds."


def test_the_story_of_a_run():
    keys = "harmful", "unlabeled", "auroc", "doubted", "doubted_rightly"
    rows = [
        {
            "variant": "learned weights",
            "test_accuracy": accuracy,
            **dict(zip(keys, of_weights, strict=True)),
        }
        for accuracy, of_weights in (
            (0.9, (400, 1200, 0.9, 500, 0.8)),
            (0.8, (500, 1200, 0.8, 400, 1.0)),
        )
    ]
    rows.append({"variant": "supervised only", "test_accuracy": 0.5})
    assert report.findings(rows).splitlines() == [
        "In the data: 450 of 1,200 unlabelled examples do harm, by a wrong "
        "label or a foreign class.",
        "Found: 450 are doubted, 90% of them rightly; a good one ranks above "
        "a harmful one in 85.0% of all pairs.",
        "Test accuracy: 85.0% with learned weights, 50.0% without the "
        "validation labels.",
    ]
    assert report.findings(rows[2:]) == ""
    unknown = [{**rows[0], "auroc": None, "doubted_rightly": None}]
    assert report.findings(unknown) == (
        "Test accuracy: 90.0% with learned weights."
    )


def test_findings_where_no_harm_is_known():
    row = {
        **{"variant": "learned weights", "test_accuracy": 0.9},
        **{"harmful": 30, "harm_known": False, "unlabeled": 200},
        **{"doubted": 0, "doubted_rightly": None, "auroc": 0.75},
        "weight_max": 0.0,
    }
    assert report.findings([row, row]).splitlines() == [
        "In the end: the network gets 30 of 200 unlabelled examples wrong.",
        "Found: 0 are doubted; a good one ranks above a wrong one in 75.0% of "
        "all pairs.",
        "Every weight ended at 0: no unlabelled example counts. More epochs, "
        "or a lower learning rate of the weights, may help.",
        "Test accuracy: 90.0% with learned weights.",
    ]


def test_findings_of_those_whose_class_is_known():
    row = {
        **{"variant": "learned weights", "test_accuracy": 0.9},
        **{"harmful": 63, "harm_known": False},
        **{"unlabeled": 320, "judged": 123},
        **{"doubted": 0, "doubted_rightly": None, "auroc": 0.75},
    }
    assert report.findings([row]).splitlines()[0] == (
        "In the end: the network gets 63 of 123 unlabelled examples whose "
        "class is known, of 320, wrong."
    )


def test_medians_are_called_so():
    rows = [
        {"variant": name, "test_accuracy": 0.9, "median_epochs": 20}
        for name in ("supervised only", "learned weights")
    ]
    assert "accuracy, median of the last 20 epochs: 90" in report.findings(rows)
    caption = report.results_table("some", rows).caption
    assert caption == "test acc., median of the last 20 epochs."
    rows = [row | {"median_epochs": 1} for row in rows]
    assert report.findings(rows).startswith("Test accuracy: ")
    assert report.results_table("some", rows).caption is None
