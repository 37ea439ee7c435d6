"""Tiny runs of the command, one for every kind of preset."""

import csv

SHORT = [
    *["epochs=2", "steps_per_epoch=2", "inner_steps=1"],
    *["weights.warmup_steps=0", "influence=luketina"],
]
# From a preset to its settings; `{data}` has the tables of `write_tables`.
RUNS = {
    "linear": [*SHORT, "test=50", "unlabeled=40", "seeds=0,1"],
    "digits": [*SHORT, "units=4", "test=50"],
    "digits_fixmatch": [*SHORT, "filters=2,2", "test=50"],
    "fashion_mnist": [
        *[*SHORT, "data_dir={tfds}", "network.filters=2,2", "labeled=20"],
        "dataset.validation=20",
    ],
    "uda_cifar10_250": [
        *[*SHORT, "data_dir={tfds}", "network.depth=10", "network.width=1"],
        *["dataset.test=20", "dataset.unlabeled=40", "dataset.validation=20"],
        *["labeled=12", "batch_size=2", "unlabeled_ratio=2"],
        *["validation_draw=20", "schedule.warmup_steps=1"],
    ],
    "uda_text": [
        *[*SHORT, "dataset={data}/train.csv", "test_source={data}/test.csv"],
        *["cache_dir={data}", "text=text", "label=label", "seeds=0"],
        *["dataset.labeled=4", "dataset.validation=4", "dataset.unlabeled=12"],
        *["dataset.min_characters=0", "dataset.sequence_length=8"],
        *["trained_layers=0", "batch_size=2", "schedule.warmup_steps=1"],
    ],
    "own_table": [
        *["file={data}/train.csv", "ignore=text", "folds=2", "epochs=2"],
        *["units=4", "batch_size=8", "variants=learned weights"],
    ],
}


def _rows(n):
    """Rows of a text, a number and a class, the first of them trusted."""
    for k in range(n):
        word = ["dreadful", "splendid"][k % 2]
        yield {
            **{"text": f"A {word} film. No {k}.", "age": k % 7},
            **{"label": ["bad", "good"][k % 2], "trusted": k < 16},
        }


def write_tables(folder):
    """Writes `train.csv` and `test.csv`."""
    for name, n in (("train.csv", 40), ("test.csv", 10)):
        rows = list(_rows(n))
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


def options(name, folder, tfds_dir):
    """What the command is given for the tiny run of a preset."""
    values = [value.format(data=folder, tfds=tfds_dir) for value in RUNS[name]]
    return [part for value in values for part in ("--set", value)]
