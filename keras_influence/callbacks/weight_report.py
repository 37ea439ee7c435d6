import csv
import pathlib

import numpy as np

from keras_influence.callbacks import plots
from keras_influence.callbacks.weight_history import (
    WeightHistory,
    example_weights,
)


class WeightReport(WeightHistory):
    """Writes pictures and a table of the example weights when training ends.

    It follows the weights as `WeightHistory` does and writes

    - `weights.csv`: `index`, `weight` and one further column for each of
      `example_ids`, `labels` and `harmful` that is given, in the order of the
      unlabelled data;
    - `weights.png`: the histogram of the weights;
    - `history.png`: the weights over time;
    - `examples.png` or `examples.md`: the most and the least weighted
      examples, where `inputs` are images or texts.

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
        self.inputs = inputs
        self.example_ids = example_ids
        self.labels = labels
        self.harmful = harmful

    def on_train_begin(self, logs=None):
        """Checks the lengths and takes the first snapshot."""
        num_examples = len(example_weights(self.model))
        for name in ("inputs", "example_ids", "labels", "harmful"):
            values = getattr(self, name)
            if hasattr(values, "__len__") and len(values) != num_examples:
                raise ValueError(
                    f"`{name}` must have one row for each of the model's "
                    f"{num_examples} unlabelled examples. "
                    f"Received: {len(values)} rows."
                )
        super().on_train_begin(logs)

    def on_train_end(self, logs=None):
        """Takes the last snapshot and writes the report."""
        super().on_train_end(logs)
        self.directory.mkdir(parents=True, exist_ok=True)
        weights = example_weights(self.model)
        harmful = self.harmful
        harmful = harmful(self.model) if callable(harmful) else harmful
        harmful = None if harmful is None else np.asarray(harmful, bool)
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
        elif all(isinstance(text, str) for text in self.inputs):
            self._write_texts(weights)

    def _write_table(self, weights, harmful):
        columns = {"index": range(len(weights)), "weight": weights}
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
            writer.writerows(zip(*columns.values(), strict=True))

    def _write_texts(self, weights):
        """The ends of the most and of the least weighted texts."""
        order = np.argsort(weights, kind="stable")
        groups = {"Most weighted": order[::-1][:20], "Least weighted": order}
        lines = []
        for title, rows in groups.items():
            lines += [f"# {title}", "", "| weight | id | label | end of text |"]
            lines += ["| --- | --- | --- | --- |"]
            lines += [self._text_line(i, weights[i]) for i in rows[:20]] + [""]
        path = self.directory / "examples.md"
        path.write_text("\n".join(lines), encoding="utf-8")

    def _text_line(self, i, weight):
        columns = self.example_ids, self.labels
        cells = [i if column is None else column[i] for column in columns]
        text = " ".join(str(self.inputs[i]).split())
        text = text if len(text) <= 300 else f"... {text[-300:]}"
        cells = [f"{weight:.3f}", *cells, text.replace("|", "\\|")]
        return "| " + " | ".join(map(str, cells)) + " |"

    def _save(self, figure, name):
        figure.savefig(self.directory / f"{name}.png", dpi=120)
