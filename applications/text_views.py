"""The two views of an unlabelled text that UDA compares."""

from collections.abc import Callable

from applications.bert import bert_tokenizer
from applications.text import TextTask
from keras_influence.augmentation.tfidf_replacement import TfIdfReplacement


def tfidf(
    task: TextTask, preset: str = "minilm", token_prob: float = 0.7
) -> TfIdfReplacement:
    """TF-IDF word replacement that knows the unlabelled texts of a task.

    Args:
        task: `TextTask`.
        preset: str, the BERT whose tokenizer the task was made with. Defaults
            to `"minilm"`.
        token_prob: float in [0, 1], the expected share of replaced tokens.
            Defaults to `0.7`.
    """
    tokenizer = bert_tokenizer(preset)
    unknown = tokenizer.token_to_id(tokenizer.oov_token)
    view = TfIdfReplacement(
        tokenizer.vocabulary_size(),
        [*tokenizer.special_token_ids, unknown],
        token_prob,
    )
    view.adapt(task.unlabeled)
    return view


def text_views(task: TextTask, strong: Callable | None) -> tuple:
    """The unlabelled inputs and the views for `ki.data.semi_supervised`.

    Args:
        task: `TextTask`. If it has back-translations, the strong view starts
            from them.
        strong: callable on a batch of inputs and a seed, as `tfidf` gives it;
            `None` leaves the texts, or their back-translations, as they are.

    Returns:
        A tuple `(unlabeled, views)`: nested arrays, and a dict with the views
        `"weak"` and `"strong"`.
    """
    if task.translated is None:
        return task.unlabeled, {"weak": None, "strong": strong}
    unlabeled = {"original": task.unlabeled, "translated": task.translated}

    def weak(inputs):
        return inputs["original"]

    def strong_of_translated(inputs, seed):
        translated = inputs["translated"]
        return strong(translated, seed=seed) if strong else translated

    return unlabeled, {"weak": weak, "strong": strong_of_translated}
