import csv
import pathlib
import warnings

import numpy as np

from keras_influence.callbacks import plots
from keras_influence.callbacks.plain_text import (
    markdown_cell,
    spreadsheet_cell,
)
from keras_influence.callbacks.weight_history import (
    WeightHistory,
    example_weights,
)


class WeightReport(WeightHistory):
    """Writes pictures and a table of the example weights when training ends.

    It follows the weights as `WeightHistory` does and writes

    - `weights.csv`: `index`, `weight`, the model's `label_quality` and one
      further column for each of `example_ids`, `labels` and `harmful` that is
      given, in the order of the unlabelled data; an apostrophe stands before
      text that a spreadsheet would take for a formula;
    - `weights.png`: the histogram of the weights;
    - `history.png`: the weights over time;
    - `examples.png` or `examples.md`: the most and the least weighted
      examples, where `inputs` are images or texts.

    Rows are taken by their place, whatever index a pandas object has.

    Args:
        directory: str or path, the folder to write to. It is created.
        inputs: array of shape `(num_unlabeled, height, width[, channels])`,
            the unlabelled images, in any range of values; or a list of
            `num_unlabeled` texts. Defaults to `None`.
        example_ids: sequence of length `num_unlabeled`, what the data set
            calls the examples. Defaults to `None`.
        labels: sequence of length `num_unlabeled`, what to write under each
            example, such as its given label. Defaults to `None`.
        harmful: boolean array of shape `(num_unlabeled,)`, which examples
            are known to be bad, such as those with a wrong label; or a
            function of the model that returns one, called when training ends.
            Splits the pictures in two. Defaults to `None`.
        **kwargs: arguments of `WeightHistory`.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if lengths differ, among each other when it is made, or
            from the number of example weights before training.

    Example:
    ```python
    report = ki.callbacks.WeightReport("runs/mine", inputs=x_u)
    model.fit(train, epochs=10, steps_per_epoch=500, callbacks=[report])
    ```
    """

    def __init__(
        self,
        directory,
        inputs=None,
        example_ids=None,
        labels=None,
        harmful=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        plots.figure_class()  # Not hours later, when training has ended.
        self.directory = pathlib.Path(directory)
        self.inputs = _rows("inputs", inputs)
        self.example_ids = _column("example_ids", example_ids)
        self.labels = _column("labels", labels)
        self.harmful = harmful
        if not callable(harmful):
            self.harmful = _flags(_column("harmful", harmful))
        self._check_lengths()

    def _check_lengths(self, num_examples=None):
        for name in ("inputs", "example_ids", "labels", "harmful"):
            values = getattr(self, name)
            if values is None or callable(values):
                continue
            if num_examples is None:
                num_examples = len(values)
            if len(values) != num_examples:
                raise ValueError(
                    f"`{name}` must have one row for each of the "
                    f"{num_examples} unlabelled examples. "
                    f"Received: {len(values)} rows."
                )

    def on_train_begin(self, logs=None):
        """Checks the lengths and the folder and takes the first snapshot."""
        self._check_lengths(len(example_weights(self.model)))
        self.directory.mkdir(parents=True, exist_ok=True)
        super().on_train_begin(logs)

    def on_train_end(self, logs=None):
        """Takes the last snapshot and writes the report."""
        super().on_train_end(logs)
        weights = example_weights(self.model)
        harmful = self._judged(len(weights))
        self._write_table(weights, harmful)
        self._save(plots.weight_histogram(weights, harmful), "weights")
        self._save(plots.weight_history(self, harmful), "history")
        if self.inputs is None:
            return
        if plots.are_images(self.inputs):
            figure = plots.extreme_examples(
                self.inputs, weights, self.labels, harmful
            )
            self._save(figure, "examples")
        elif any(isinstance(text, str | bytes) for text in self.inputs):
            self._write_texts(self.inputs, weights)

    def _judged(self, num_examples):
        """Which examples are harmful, or `None` where that is not known."""
        if not callable(self.harmful):
            return self.harmful
        try:
            harmful = _flags(_column("harmful", self.harmful(self.model)))
            if harmful is not None and len(harmful) != num_examples:
                raise ValueError(f"It returned {len(harmful)} rows.")
        except Exception as error:
            # The training is over: it must not be lost for a picture.
            warnings.warn(
                "`harmful` must return one boolean for each of the "
                f"{num_examples} unlabelled examples; the report does without. "
                f"{error}",
                stacklevel=2,
            )
            return None
        return harmful

    def _write_table(self, weights, harmful):
        columns = {"index": range(len(weights)), "weight": weights}
        quality = getattr(self.model, "label_quality", None)
        if quality is not None:
            columns["label_quality"] = quality
        if self.example_ids is not None:
            columns["id"] = self.example_ids
        if self.labels is not None:
            columns["label"] = self.labels
        if harmful is not None:
            columns["harmful"] = harmful
        path = self.directory / "weights.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            for row in zip(*columns.values(), strict=True):
                writer.writerow([spreadsheet_cell(value) for value in row])

    def _write_texts(self, texts, weights):
        """The ends of the most and of the least weighted texts."""
        order = np.argsort(weights, kind="stable")
        groups = {"Most weighted": order[::-1][:20], "Least weighted": order}
        lines = []
        for title, rows in groups.items():
            lines += [f"# {title}", "", "| weight | id | label | end of text |"]
            lines += ["| --- | --- | --- | --- |"]
            lines += [
                self._text_line(i, texts[i], weights[i]) for i in rows[:20]
            ] + [""]
        path = self.directory / "examples.md"
        path.write_text("\n".join(lines), encoding="utf-8")

    def _text_line(self, i, text, weight):
        columns = self.example_ids, self.labels
        cells = [i if column is None else column[i] for column in columns]
        if isinstance(text, bytes):
            text = text.decode(errors="replace")
        text = " ".join(str(text).split())
        text = text if len(text) <= 300 else f"... {text[-300:]}"
        cells = [f"{weight:.3f}", *map(markdown_cell, [*cells, text])]
        return "| " + " | ".join(cells) + " |"

    def _save(self, figure, name):
        figure.savefig(self.directory / f"{name}.png", dpi=120)


def _rows(name, values):
    """What can be taken by place: pandas' own `[i]` looks in the index."""
    if values is None or isinstance(values, np.ndarray | list | tuple):
        return values
    if isinstance(values, dict | str) or not hasattr(values, "__iter__"):
        raise ValueError(
            f"`{name}` must be an array or a list with one row for each "
            f"unlabelled example. Received: {name}={values!r}."
        )
    return np.asarray(values) if hasattr(values, "__array__") else list(values)


def _column(name, values):
    """`_rows` of one value each."""
    values = _rows(name, values)
    if isinstance(values, np.ndarray) and values.ndim == 2:
        values = values[:, 0] if values.shape[1] == 1 else values
    return values


def _flags(harmful):
    """`harmful` as booleans."""
    if harmful is None:
        return None
    harmful = np.asarray(harmful)
    truth = harmful.dtype.kind in "biuf" and np.isin(harmful, (0, 1)).all()
    if harmful.ndim != 1 or not truth:
        raise ValueError(
            "`harmful` must be a boolean array of shape `(num_unlabeled,)`. "
            f"Received: shape={harmful.shape}, dtype={harmful.dtype}."
        )
    return harmful.astype(bool)
