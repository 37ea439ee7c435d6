"""What a run on a user's data writes."""

import csv
import pathlib

import numpy as np

import keras_influence as ki
from applications.own.data import OwnData, in_short
from applications.own.held_out import probabilities
from applications.report import write_json
from keras_influence.callbacks.plain_text import spreadsheet_cell
from keras_influence.reporting.predictions import least_believed_first

# Of a class with fewer trusted labels, there is little to say.
FEW = 10


def write(
    directory: pathlib.Path,
    model: ki.InfluenceModel,
    data: OwnData,
    others: np.ndarray,
    tested: dict[str, tuple],
    history: list[dict],
    **arguments,
) -> None:
    """Writes model, tables and report.

    Args:
        directory: path of a folder.
        model: the model that was trained on every trusted label.
        data: the data.
        others: int array, the places of what is not trusted.
        tested: dict from variants to probabilities and labels of the trusted
            examples, each from a training that had not seen it; the variant
            with learned weights comes last.
        history: the logs of each epoch.
        **arguments: more for `keras_influence.report`.
    """
    network, names = model.network, np.array(data.class_names)
    found = probabilities(network, data.x[others])
    predicted, given = found.argmax(1), data.labels[others]
    weights = model.example_weights
    columns = {
        "id": data.ids[others],
        "given": np.where(given < 0, "", names[given]),
        "predicted": names[predicted],
        "confidence": found.max(1).round(4),
        "weight": weights.round(4),
        "label_quality": model.label_quality.round(4),
    }
    contradicted = (given >= 0) & (given != predicted)
    order = least_believed_first(model.label_quality, found, given)
    absent = np.flatnonzero(given < 0)
    everything = np.arange(len(given))
    for name, rows in (
        *(("weights", everything), ("suspects", order[contradicted[order]])),
        ("predictions", absent),
    ):
        _write_csv(directory / f"{name}.csv", columns, rows)
    if data.skipped:
        left_out, reasons = map(np.array, zip(*data.skipped, strict=True))
        _write_csv(
            directory / "skipped.csv",
            {"id": left_out, "reason": reasons},
            range(len(left_out)),
        )
    write_json(directory, "classes", data.class_names)
    data.complete(network).save(directory / "model.keras")
    accuracies = {
        name: float(np.mean(p.argmax(1) == y))
        for name, (p, y) in tested.items()
    }
    *baselines, last = accuracies
    cross_checked, labels = tested[last]
    ki.report(
        model,
        directory / "report.html",
        data.x[others],
        given,
        ids=data.ids[others],
        class_names=data.class_names,
        shown=_rows(data.shown, others),
        test=(None, labels),
        test_probabilities=cross_checked,
        baselines={name: accuracies[name] for name in baselines},
        history={key: [log[key] for log in history] for key in history[-1]},
        summary=in_words(data),
        **arguments,
    )


def in_words(data: OwnData) -> str:
    """What the data are, in a few sentences.

    Args:
        data: the data.
    """
    given = ~data.trusted & (data.labels >= 0)
    absent = data.labels < 0
    words = (
        f"{data.trusted.sum():,} trusted labels of "
        f"{len(data.class_names)} classes, {given.sum():,} others, and "
        f"{absent.sum():,} examples without a label. Accuracy is that on "
        "trusted labels which a training had not seen: each in turn was left "
        "out of one. The last training saw them all."
    )
    return " ".join([words, *_warnings(data), *data.remarks])


def _warnings(data):
    """Sentences on what makes the results less than they seem."""
    if data.records.drawn:
        yield (
            "The trusted labels were drawn at random and nobody has checked "
            "them: accuracy is agreement with labels as wrong as the others."
        )
    counts = np.bincount(data.labels[data.trusted])
    few = [
        f"{data.class_names[k]} ({counts[k]})"
        for k in np.argsort(counts, kind="stable")
        if counts[k] < FEW
    ]
    if few:
        yield (
            f"Classes with fewer than {FEW} trusted labels, too few to learn "
            f"or to judge them by: {in_short(few, 4)}."
        )
    if alike := _alike(data.class_names):
        yield f"Classes that may be the same: {in_short(alike)}."
    if data.skipped:
        yield f"{len(data.skipped):,} could not be used: see skipped.csv."


def _alike(names):
    """Names that differ in case alone, or are the same number."""
    plain = [_plain(name) for name in names]
    return [
        name
        for name, same in zip(names, plain, strict=True)
        if plain.count(same) > 1
    ]


def _plain(name):
    try:
        return float(name)
    except ValueError:
        return name.casefold()


def _rows(shown, places):
    if hasattr(shown, "iloc"):
        return shown.iloc[places]
    if isinstance(shown, list):
        return [shown[i] for i in places]
    return shown[places]


def _write_csv(path, columns, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for i in rows:
            writer.writerow(
                [spreadsheet_cell(values[i]) for values in columns.values()]
            )
