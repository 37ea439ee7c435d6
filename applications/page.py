"""The page about a run: `report.html`."""

import pathlib

import keras_influence as ki
from applications.report import WORDS, findings
from applications.task import Task


def write(
    path: pathlib.Path,
    model: ki.InfluenceModel,
    task: Task,
    rows: list[dict],
    history: list[dict],
    **arguments,
) -> None:
    """Writes the page about the last training of a run.

    Args:
        path: path of the file.
        model: its model.
        task: the data.
        rows: the results of the run, of that training last.
        history: the logs of each epoch.
        **arguments: more for `keras_influence.report`.
    """
    # Of networks as they are, like that of the model.
    baselines = {
        WORDS[row["variant"]]: row.get("last_accuracy", row["test_accuracy"])
        for row in rows[:-1]
    }
    ki.report(
        model,
        path,
        task.unlabeled,
        task.given,
        class_names=task.class_names,
        ids=task.splits and task.splits["unlabeled"],
        shown=task.shown,
        test=task.test,
        baselines=baselines,
        history={key: [log[key] for log in history] for key in history[-1]},
        # What the network gets wrong is not known to do harm.
        harmful=task.harmful if task.judged.all() else None,
        summary=findings(rows) or None,
        **arguments,
    )
