"""The arguments of `report`, as the page takes them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_influence.callbacks.plain_text import one_line


def weights(model: Any, given: Any, count: int) -> np.ndarray:
    """A weight for each example: those given, or the model's."""
    found = getattr(model, "example_weights", None) if given is None else given
    if found is None or np.shape(found) != (count,):
        raise ValueError(
            "Argument `examples` must have one row for each weight of the "
            "model, or of `weights`, which a model without weights needs. "
            f"Received: {count} examples, "
            f"weights of shape {None if found is None else np.shape(found)}"
        )
    found = np.asarray(found, "float64")
    wrong = ~(np.isfinite(found) & (found >= 0))
    if given is not None and wrong.any():
        raise ValueError(
            "Argument `weights` must be finite and not negative. Received: "
            f"{found[wrong][:5].tolist()}"
        )
    return found


def labels(given: Any, count: int, classes: int) -> np.ndarray:
    """A class for each example, -1 where it came without one."""
    if given is None:
        return np.full(count, -1)
    found = _integers(given)
    _check_rows("labels", found, count)
    _check_classes("labels", found, classes, " or -1 for none")
    return found.astype("int64")


def test_labels(given: Any, classes: int) -> np.ndarray:
    """The classes of trusted examples."""
    found = _integers(given)
    _check_classes("test", found, classes)
    return found.astype("int64")


def _integers(given):
    """Whole numbers of any type and of shape `(n,)` or `(n, 1)`."""
    found = np.asarray(given)
    if found.dtype.kind == "O":
        found = np.asarray(found.tolist())
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    whole = found.dtype.kind == "f" and (found == np.round(found)).all()
    return found.astype("int64") if whole or found.dtype == bool else found


def _check_classes(name, found, classes, none=""):
    wrong = found[:5]
    if found.ndim == 1 and found.dtype.kind in "iu":
        wrong = found[(found >= classes) | ((found < 0) & (not none))][:5]
    if len(wrong):
        raise ValueError(
            f"Argument `{name}` must have an integer array of shape `(n,)` for "
            f"its labels, with classes below {classes}{none}. Received: shape "
            f"{found.shape}, dtype {found.dtype}, {wrong.tolist()}"
        )


def names(class_names: Sequence | None, classes: int) -> list[str]:
    """The names of the classes, a line each."""
    if class_names is None:
        return [str(k) for k in range(classes)]
    if isinstance(class_names, dict) or len(class_names) != classes:
        raise ValueError(
            f"Argument `class_names` must name the {classes} classes of the "
            f"network, a list in their order. Received: {class_names!r}"
        )
    return [one_line(name) for name in class_names]


def ids(given: Any, count: int) -> Sequence:
    """What the data calls each example."""
    if given is None:
        return range(count)
    # By place: a pandas series looks in its index.
    found = list(given)
    _check_rows("ids", found, count)
    return found


def shown(given: Any, count: int) -> None:
    """Raises unless something, or each column, has a row an example."""
    columns = given.values() if isinstance(given, Mapping) else [given]
    for column in columns:
        if column is not None:
            _check_rows("shown", column, count)


def harmful(given: Any, count: int) -> np.ndarray | None:
    """Whether each example is known to be bad."""
    if given is None:
        return None
    found = np.asarray(given)
    if found.shape == (count, 1):
        found = found[:, 0]
    truth = found.dtype.kind in "biuf" and np.isin(found, (0, 1)).all()
    if found.shape != (count,) or not truth:
        raise ValueError(
            "Argument `harmful` must have one row for each of the "
            f"{count} examples, a boolean. Received: shape {found.shape}, "
            f"{found.ravel()[:5].tolist()}"
        )
    return found.astype(bool)


def _check_rows(name, values, count):
    rows = values.shape[0] if hasattr(values, "shape") else len(values)
    if rows != count:
        raise ValueError(
            f"Argument `{name}` must have one row for each of the {count} "
            f"examples. Received: {rows} rows"
        )


def test(given: Any, test_probabilities: Any) -> None:
    """Raises unless `test` is a pair, and there where its predictions are."""
    if given is None and test_probabilities is not None:
        raise ValueError(
            "Argument `test_probabilities` needs the labels that it is "
            "compared with: pass `test=(None, y)`. Received: test=None"
        )
    pair = isinstance(given, (tuple, list)) and len(given) == 2
    if given is not None and not pair:
        raise ValueError(
            f"Argument `test` must be a tuple (x, y). Received: {type(given)}"
        )


def probabilities(
    name: str, given: Any, count: int, classes: int
) -> np.ndarray:
    """A row of probabilities for each label."""
    found = np.asarray(given)
    if found.shape != (count, classes):
        raise ValueError(
            f"Argument `{name}` must have shape {count, classes}, one row "
            f"for each label. Received: {found.shape}"
        )
    # NaN is none: each comparison with it is false.
    right = (found >= 0).all() and (np.abs(found.sum(1) - 1) <= 1e-3).all()
    if not right:
        raise ValueError(
            f"Argument `{name}` must have probabilities, which add up to 1 in "
            f"every row. Received: from {found.min():.3g} to "
            f"{found.max():.3g}"
        )
    return found


def baselines(given: Any, own: str) -> dict:
    """Accuracies by name, none of them that of the model itself."""
    found = {} if given is None else given
    if not isinstance(found, dict) or not all(map(_is_share, found.values())):
        raise ValueError(
            "Argument `baselines` must be a dict from names to accuracies, "
            f"from 0 to 1. Received: baselines={given!r}"
        )
    if own in found:
        raise ValueError(
            f"Argument `baselines` must not have {own!r}, the name of the "
            f"model itself. Received: baselines={given!r}"
        )
    return found


def _is_share(value):
    return isinstance(value, (int, float, np.number)) and 0 <= value <= 1


def settings(given: Any) -> dict:
    """Settings by name."""
    if given is not None and not isinstance(given, Mapping):
        raise ValueError(
            "Argument `settings` must be a dict from names to values. "
            f"Received: settings={given!r}"
        )
    return dict(given or {})


def histories(history: Any, weight_history: Any) -> tuple[Mapping, Any]:
    """The logs of `fit`, a list each, and the weights over time."""
    logs = getattr(history, "history", history) or {}
    if not isinstance(logs, Mapping) or not all(
        np.ndim(values) == 1 for values in logs.values()
    ):
        raise ValueError(
            "Argument `history` must be what `fit` returned, or a dict from "
            f"names of logs to lists. Received: history={history!r}"
        )
    if weight_history is not None and not getattr(
        weight_history, "quantiles", None
    ):
        raise ValueError(
            "Argument `weight_history` must be a `callbacks.WeightHistory` "
            "that was among the callbacks of a `fit`. Received: "
            f"weight_history={weight_history!r}"
        )
    return logs, weight_history
