"""The two views of an unlabelled text that UDA compares."""

import dataclasses
import pathlib
from collections.abc import Callable

import keras

from applications.text import TextTask
from keras_influence.augmentation.tfidf_replacement import TfIdfReplacement


def original() -> Callable:
    """Every text as it was read, without its back-translation."""

    def view(inputs):
        return {k: x for k, x in inputs.items() if k != "translated"}

    return view


def back_translation(task: TextTask) -> Callable:
    """The back-translation of every text.

    Args:
        task: `TextTask` with back-translations.
    """
    if task.translated is None:
        raise ValueError(
            "The view `back_translation` needs a file of back-translations. "
            "Set `dataset.translations`."
        )
    return lambda inputs: inputs["translated"]


def tfidf(task: TextTask, token_prob: float = 0.7) -> "TfIdf":
    """TF-IDF word replacement that knows the unlabelled texts of a task.

    Where the task has back-translations, words of these are replaced.

    Args:
        task: `TextTask`.
        token_prob: float in [0, 1], the expected share of replaced tokens.
            Defaults to `0.7`.
    """
    tokenizer = task.tokenizer
    unknown = tokenizer.token_to_id(tokenizer.oov_token)
    layer = TfIdfReplacement(
        tokenizer.vocabulary_size(),
        [*tokenizer.special_token_ids, unknown],
        token_prob,
    )
    layer.adapt(task.unlabeled)
    return TfIdf(layer)


@dataclasses.dataclass
class TfIdf:
    """A view through a `TfIdfReplacement`, `layer`."""

    layer: TfIdfReplacement

    def __call__(self, inputs, seed):
        """Replaces words of the back-translations, if there are any."""
        return self.layer(inputs.get("translated", inputs), seed=seed)

    def save(self, directory):
        """Writes `tfidf.keras`, with the statistics."""
        path = pathlib.Path(directory) / "tfidf.keras"
        keras.saving.save_model(self.layer, path)
