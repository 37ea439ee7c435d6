"""One page about a training with example weights."""

import pathlib
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.callbacks import plots
from keras_influence.callbacks.plain_text import one_line
from keras_influence.data.checks import check_integer
from keras_influence.reporting import charts, checks
from keras_influence.reporting.calibration import calibration
from keras_influence.reporting.confusion import confusion
from keras_influence.reporting.gallery import shower
from keras_influence.reporting.page import write_page
from keras_influence.reporting.predictions import (
    least_believed_first,
    probabilities_of,
)
from keras_influence.weighting.weighting import quality_of


def report(
    model: keras.Model,
    path: str | pathlib.Path,
    examples: Any,
    labels: Any = None,
    *,
    ids: Sequence | None = None,
    class_names: Sequence[str] | None = None,
    shown: Any = None,
    test: tuple | None = None,
    test_probabilities: Any = None,
    baselines: Mapping[str, float] | None = None,
    history: Any = None,
    weight_history: Any = None,
    weights: Any = None,
    harmful: Any = None,
    title: str = "What the example weights found",
    summary: str | None = None,
    settings: Mapping[str, Any] | None = None,
    command: str | None = None,
    gallery: int = 12,
) -> pathlib.Path:
    """Writes one HTML file about a training: results, weights, examples.

    The file holds its pictures and needs no network. Text from the data is
    escaped.

    Args:
        model: an `InfluenceModel` after `fit`; or any `keras.Model` that gives
            logits, with `weights`.
        path: path of the file. Folders are created.
        examples: the unlabelled examples as the network takes them: an array,
            a nest of arrays, or a sparse matrix.
        labels: whole numbers of shape `(n,)` or `(n, 1)`, the labels that they
            came with; -1 for none. Defaults to `None`: none had one.
        ids: sequence of length `n`, what your data calls the examples.
            Defaults to `None`: their places.
        class_names: sequence of strings. Defaults to `None`: numbers.
        shown: the examples as people see them: images, of one size or a list
            of several, a list of texts, a data frame or dict of columns.
            Defaults to `None`: `examples`.
        test: tuple `(x, y)`, trusted examples that did not train, for
            accuracy and calibration. Defaults to `None`.
        test_probabilities: float array of shape `(len(y), classes)`, in place
            of the model's predictions of `test`: those of cross-validation,
            for instance. `x` may be `None` then. Defaults to `None`.
        baselines: dict from names to accuracies on the same `test`. Defaults
            to `None`.
        history: what `fit` returned, or a dict from names of logs to lists.
            Defaults to `None`.
        weight_history: a `callbacks.WeightHistory` of that `fit`. Defaults to
            `None`.
        weights: float array of shape `(n,)`, not negative; what is below half
            of the mean is doubted. Defaults to `None`: the model's, doubted by
            its `label_quality`.
        harmful: boolean array of shape `(n,)`, which examples are known to be
            bad, in an experiment. Defaults to `None`.
        title: str. Defaults to `"What the example weights found"`.
        summary: str, what to say below the first sentence. Defaults to `None`.
        settings: dict, possibly nested, listed after the model's own settings.
            Defaults to `None`.
        command: str, what makes this page again. Defaults to `None`.
        gallery: int, how many examples to show of the most and of the least
            believed. Defaults to `12`.

    Returns:
        The path of the file.

    Raises:
        ImportError: if jinja2 or matplotlib is not installed.
        ValueError: if arguments do not fit together.

    Example:
    ```python
    history = model.fit(train, epochs=10, steps_per_epoch=500)
    ki.report(model, "report.html", x_u, y_u, test=(x_test, y_test),
              history=history)
    ```
    """
    plots.figure_class()
    check_integer("gallery", gallery, 0)
    baselines = checks.baselines(baselines, _own_name(model))
    settings = checks.settings(settings)
    history, weight_history = checks.histories(history, weight_history)
    checks.test(test, test_probabilities)
    probabilities = probabilities_of(model, examples)
    count, classes = probabilities.shape
    quality = getattr(model, "label_quality", None) if weights is None else None
    weights = checks.weights(model, weights, count)
    quality = quality_of(weights) if quality is None else quality
    given = checks.labels(labels, count, classes)
    names = checks.names(class_names, classes)
    ids = checks.ids(ids, count)
    checks.shown(shown, count)
    harmful = checks.harmful(harmful, count)
    predicted = probabilities.argmax(1)
    show = shower(examples if shown is None else shown)

    def card(i):
        return {
            "id": one_line(ids[i]),
            "weight": f"{weights[i]:.2f}",
            "given": names[given[i]] if given[i] >= 0 else None,
            "predicted": names[predicted[i]],
            "agrees": given[i] < 0 or given[i] == predicted[i],
            "confidence": f"{probabilities[i].max():.0%}",
            "harmful": harmful is not None and bool(harmful[i]),
            **show(i),
        }

    order = least_believed_first(quality, probabilities, given)
    # Where labels were given, it is these that can be wrong.
    order = order[(given >= 0)[order] | (given < 0).all()]
    shown_count = min(gallery, len(order) // 2)
    tested = _tested(model, test, test_probabilities, classes)
    return write_page(
        path,
        title=title,
        sentence=_sentence(model, given),
        summary=summary,
        facts=_facts(quality, given, predicted, tested),
        results=_results(model, tested, baselines),
        curves=list(charts.learning_curves(history)),
        weights=_weight_charts(
            weights, given, predicted, names, weight_history, harmful
        ),
        least=[card(i) for i in order[:shown_count]],
        most=[card(i) for i in order[::-1][:shown_count]],
        any_given=bool((given >= 0).any()),
        confusion=confusion(given, predicted, names),
        calibration=tested and charts.reliability(calibration(*tested)),
        settings=_settings(model, settings),
        versions=_versions(),
        command=command,
    )


def _tested(model, test, probabilities, classes):
    """Probabilities and labels of trusted examples that did not train."""
    if test is None:
        return None
    x, y = test
    y = checks.test_labels(y, classes)
    name = "test_probabilities"
    if probabilities is None:
        name, probabilities = "test", probabilities_of(model, x)
    return checks.probabilities(name, probabilities, len(y), classes), y


def _accuracy(tested):
    probabilities, y = tested
    return float(np.mean(probabilities.argmax(1) == y))


def _sentence(model, given):
    """What was done, in a sentence."""
    judge = getattr(model, "validation_set", None)
    judges = f"{judge.size:,} trusted labels" if judge else "trusted labels"
    others, labelled = len(given), int((given >= 0).sum())
    unchecked = {
        0: "none of which had a label",
        others: "with labels that nobody had checked",
    }.get(labelled, f"{labelled:,} of them with labels that nobody had checked")
    sentence = (
        f"A network learned from trusted labels and from {others:,} other "
        f"examples, {unchecked}"
    )
    if not _learns(model):
        return f"{sentence}, which all counted alike."
    return (
        f"{sentence}; and how much each of these should count was learned "
        f"along with it, by what helps to predict {judges}."
    )


def _own_name(model):
    return "with learned weights" if _learns(model) else "this training"


def _learns(model):
    schedule = getattr(model, "schedule", None)
    return schedule is None or schedule.learns


def _facts(quality, given, predicted, tested):
    """Numbers to begin with, each with what it counts."""
    known = given >= 0
    what = "given labels" if known.any() else "examples"
    doubted = np.count_nonzero(quality[known | ~known.any()] < 0.5)
    facts = [(f"{doubted:,}", f"{what} that are doubted")]
    if known.any():
        wrong = known & (given != predicted)
        share = wrong.sum() / known.sum()
        facts.insert(
            0,
            (
                f"{wrong.sum():,}",
                f"given labels ({share:.0%}) that the network contradicts",
            ),
        )
    if tested:
        facts.append(
            (
                f"{_accuracy(tested):.1%}",
                f"right on {len(tested[1]):,} trusted labels held out",
            )
        )
    return facts


def _results(model, tested, baselines):
    """Rows of the table: name, accuracy and its standard error."""
    rows = dict(baselines)
    if tested:
        rows[_own_name(model)] = _accuracy(tested)
    n = len(tested[1]) if tested else None
    return [
        {
            "name": name,
            "accuracy": f"{value:.1%}",
            "error": n and f"± {(value * (1 - value) / n) ** 0.5:.1%}",
            "best": value == max(rows.values()),
        }
        for name, value in rows.items()
    ]


def _weight_charts(weights, given, predicted, names, history, harmful):
    known = given >= 0
    by = given if known.any() else predicted
    found = [charts.weights_overall(weights, harmful)]
    if history is not None:
        found.append(charts.weights_over_time(history, harmful))
    found.append(charts.weights_by_class(weights, by, names))
    return found


def _settings(model, settings):
    """Settings by name, nested ones with dots."""
    network = getattr(model, "network", model)
    # Not its name, which counts the models of the process.
    kind = type(network).__name__
    found = {"network": f"{kind}, {network.count_params():,} parameters"}
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None:
        rate = float(ops.convert_to_numpy(optimizer.learning_rate))
        found["optimizer"] = f"{type(optimizer).__name__}, last rate {rate:.3g}"
    for name in ("unlabeled_loss", "influence", "weight_optimizer"):
        if getattr(model, name, None) is not None:
            found[name] = repr(getattr(model, name))
    schedule = getattr(model, "schedule", None)
    if schedule is not None:
        found["inner_steps"] = schedule.inner_steps
        found["warmup_steps"] = schedule.warmup_steps
    return found | dict(_flat(settings))


def _flat(settings, prefix=""):
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _versions():
    import keras_influence

    return {
        "keras-influence": keras_influence.__version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
