"""Text data sets, each as one `TextTask`: token ids by role."""

import dataclasses
import warnings

import numpy as np

import keras_influence as ki
from applications.bert import bert_tokenizer
from applications.task import Task
from applications.text_sources import read_texts
from applications.tokens import bert_inputs, clean_html, encode_once
from keras_influence.augmentation.back_translation import (
    read_back_translations,
)


@dataclasses.dataclass(kw_only=True)
class TextTask(Task):
    """A `Task` whose inputs are dicts, as a BERT takes them.

    `truth` is -1 for texts whose class is not known.

    Args:
        texts: list of strings, the unlabelled texts.
        tokenizer: the `keras_nlp.models.BertTokenizer` of the inputs.
        preset: str, the BERT of that tokenizer.
        translated: dict like `unlabeled` of their back-translations, the text
            itself where there is none. Defaults to `None`.
    """

    missing = "unknown"

    texts: list
    tokenizer: object
    preset: str
    translated: dict | None = None

    @property
    def judged(self):
        """The texts whose class is known."""
        return self.truth >= 0

    @property
    def shown(self):
        """The unlabelled texts."""
        return self.texts

    @property
    def source(self):
        """The unlabelled texts and, under `"translated"`, what they became."""
        if self.translated is None:
            return self.unlabeled
        return {**self.unlabeled, "translated": self.translated}


def texts(
    seed: int,
    source: str = "imdb_reviews",
    test_source: str = "test",
    data_dir: str | None = None,
    text: str = "text",
    label: str = "label",
    id: str | None = None,
    labeled: int = 20,
    validation: int = 20,
    unlabeled: int | None = None,
    test: int | None = None,
    min_characters: int = 500,
    preset: str = "minilm",
    sequence_length: int = 128,
    translations: str | None = None,
    cache_dir: str | None = None,
) -> TextTask:
    """Texts of a classification data set, as token ids, with stable ids.

    A data set of TensorFlow Datasets has labels in its split `train`; a split
    `unsupervised` adds to the unlabelled texts where there is one. A CSV file
    is in UTF-8 and has a header; rows with an empty label are unlabelled.

    HTML is removed, empty texts are left out with a warning. As in UDA, the
    unlabelled texts are all training texts but those of the validation set,
    and without a label only texts of `min_characters` and more count.

    Args:
        seed: int, seed of all draws.
        source: str, a text data set of TensorFlow Datasets, or the path of a
            file that ends in `.csv`. Defaults to `"imdb_reviews"`.
        test_source: str, what to test on: a split of the data set, or another
            CSV file. Defaults to `"test"`.
        data_dir: str, the folder of TensorFlow Datasets. Defaults to `None`:
            its own default.
        text: str, the feature or column that holds the texts. Defaults to
            `"text"`.
        label: str, the feature or column that holds the classes; in a CSV
            file any strings. Defaults to `"label"`.
        id: str, the column that holds unique ids. Defaults to `None`: the
            number of the row, from 0, or the id of TensorFlow Datasets.
        labeled: int, number of trusted labels, evenly over the classes.
            Defaults to `20`.
        validation: int, size of the validation set, evenly over the classes.
            Defaults to `20`.
        unlabeled: int, number of unlabelled texts, drawn. Defaults to `None`:
            all but the validation texts.
        test: int, at most how many test texts, drawn alike for every seed.
            Defaults to `None`: all.
        min_characters: int, length of the shortest text without a label.
            Defaults to `500`.
        preset: str, the BERT whose tokenizer is taken. Defaults to
            `"minilm"`.
        sequence_length: int, tokens that are kept of a text's end. Defaults to
            `128`.
        translations: str, a file of back-translations of training texts.
            Defaults to `None`.
        cache_dir: str, folder of the token ids. Defaults to `None`:
            `~/.keras/keras_influence`.

    Raises:
        ValueError: if the data set has no such parts or too few texts of a
            class, or the files do not fit.
    """
    train, tested = (
        _cleaned(source, part)
        for part in read_texts(source, test_source, data_dir, text, label, id)
    )
    foreign = np.setdiff1d(tested.labels, train.labels[train.labels >= 0])
    if len(foreign):
        raise ValueError(
            f"The test texts of {source!r} must have the labels of its "
            f"training texts. Received: test labels {foreign[:10]}; -1 is no "
            "label."
        )
    long = np.array([len(t) >= min_characters for t in train.texts])
    kept = (train.labels >= 0) | long
    if not kept.all():
        print(
            f"{np.count_nonzero(~kept):,} texts without a label are left out: "
            f"they have fewer than `min_characters` = {min_characters}."
        )
    train = train.take(kept)
    order = np.random.RandomState(0).permutation(len(tested.ids))
    tested = tested.take(np.sort(order[:test]))
    rows = ki.data.split(
        *(train.labels, labeled, validation, unlabeled),
        seed=seed,
        include_labeled=True,
    )._asdict()
    tokenizer = bert_tokenizer(preset)

    def inputs(texts):
        token_ids = encode_once(
            source, texts, tokenizer, sequence_length, cache_dir
        )
        return bert_inputs(token_ids, tokenizer)

    def rows_of(x, rows):
        return {key: array[rows] for key, array in x.items()}

    x, y = inputs(train.texts), train.labels
    translated = None
    if translations is not None:
        pairs = read_back_translations(
            translations, train.ids, train.texts, clean_html
        )
        print(pairs.report())
        translated = rows_of(inputs(pairs.texts), rows["unlabeled"])
    sets = {name: train.take(of_set) for name, of_set in rows.items()}
    return TextTask(
        labeled=(rows_of(x, rows["labeled"]), y[rows["labeled"]]),
        validation=(rows_of(x, rows["validation"]), y[rows["validation"]]),
        test=(inputs(tested.texts), tested.labels),
        unlabeled=rows_of(x, rows["unlabeled"]),
        truth=y[rows["unlabeled"]],
        splits={name: of_set.ids for name, of_set in sets.items()},
        names=train.names,
        texts=sets["unlabeled"].texts,
        tokenizer=tokenizer,
        preset=preset,
        translated=translated,
    )


def _cleaned(name, texts):
    """Without HTML, and without texts that are empty then."""
    cleaned = [clean_html(text) for text in texts.texts]
    full = np.array([bool(text) for text in cleaned], bool)
    if not full.any():
        raise ValueError(f"{name!r} has no text that is not empty.")
    if not full.all():
        empty = [texts.ids[i] for i in np.flatnonzero(~full)]
        warnings.warn(
            f"{len(empty)} texts of {name!r} are empty and left out: "
            f"{', '.join(empty[:5])}{', ...' if len(empty) > 5 else ''}",
            stacklevel=3,
        )
    return dataclasses.replace(texts, texts=cleaned).take(full)
