"""Text data sets, each as one `TextTask`: token ids by role."""

import csv
import dataclasses
import warnings

import numpy as np
import tensorflow_datasets as tfds

import keras_influence as ki
from applications.bert import bert_tokenizer
from applications.datasets import Task
from applications.tokens import bert_inputs, clean_html, encode_once
from keras_influence.augmentation.back_translation import (
    read_back_translations,
)


@dataclasses.dataclass
class Texts:
    """Texts as they were read.

    Args:
        ids: list of strings, unique.
        texts: list of strings.
        labels: int array of shape `(n,)`; -1 where there is no label.
    """

    ids: list
    texts: list
    labels: np.ndarray

    def take(self, rows) -> "Texts":
        """Some of the texts, by an array of rows or of booleans."""
        rows = np.arange(len(self.ids))[rows]
        pick = [[part[i] for i in rows] for part in (self.ids, self.texts)]
        return Texts(*pick, self.labels[rows])


@dataclasses.dataclass(kw_only=True)
class TextTask(Task):
    """A `Task` whose inputs are dicts, as a BERT takes them.

    Args:
        ids: list of strings, the ids of the unlabelled texts.
        texts: list of strings, the unlabelled texts.
        translated: dict like `unlabeled` of their back-translations, the text
            itself where there is none. Defaults to `None`.
    """

    ids: list
    texts: list
    translated: dict | None = None


def tfds_text(
    seed: int,
    data_dir: str | None = None,
    name: str = "imdb_reviews",
    text: str = "text",
    label: str = "label",
    test_split: str = "test",
    **arguments,
) -> TextTask:
    """A text data set of TensorFlow Datasets.

    Its split `train` has labels; a split `unsupervised` adds to the unlabelled
    texts where there is one.

    Args:
        seed: int, seed of all draws.
        data_dir: str, the folder of TensorFlow Datasets. Defaults to `None`:
            its own default.
        name: str, the data set. Defaults to `"imdb_reviews"`.
        text: str, the feature that holds the texts. Defaults to `"text"`.
        label: str, the feature that holds the classes. Defaults to `"label"`.
        test_split: str, the split to test on. Defaults to `"test"`.
        **arguments: as for `text_task`.
    """
    builder = tfds.builder(name, data_dir=data_dir)
    for feature in (text, label):
        if feature not in builder.info.features:
            raise ValueError(
                f"Data set {name!r} has no feature {feature!r}; it has "
                f"{list(builder.info.features)}. Set `text` and `label`."
            )
    builder.download_and_prepare()
    splits = ["train", test_split]
    if "unsupervised" in builder.info.splits:
        splits.append("unsupervised")
    train, test, *more = (_read_tfds(builder, s, text, label) for s in splits)
    for part in more:
        train = Texts(
            train.ids + part.ids,
            train.texts + part.texts,
            np.concatenate([train.labels, np.full(len(part.ids), -1)]),
        )
    return text_task(name, train, test, seed, **arguments)


def csv_text(
    seed: int,
    path: str,
    test_path: str,
    text: str = "text",
    label: str = "label",
    id: str | None = None,
    **arguments,
) -> TextTask:
    """Texts from CSV files in UTF-8, with a header.

    Args:
        seed: int, seed of all draws.
        path: str, the file with the training texts. Rows with an empty label
            are unlabelled.
        test_path: str, the file with the test texts.
        text: str, the column that holds the texts. Defaults to `"text"`.
        label: str, the column that holds the classes, any strings. Defaults
            to `"label"`.
        id: str, the column that holds unique ids. Defaults to `None`: the
            number of the row, from 0.
        **arguments: as for `text_task`.
    """
    train, test = (_read_csv(p, text, label, id) for p in (path, test_path))
    classes = sorted({name for name in train[2] if name})
    foreign = sorted(set(test[2]) - set(classes))
    if len(classes) < 2 or foreign:
        raise ValueError(
            f"Column {label!r} must have at least two classes in {path}, and "
            f"the same ones in {test_path}, where none may be empty. Received: "
            f"classes {classes[:10]}, and in the test file also {foreign[:10]}"
        )
    number = {name: k for k, name in enumerate(classes)} | {"": -1}
    train, test = (
        Texts(ids, texts, np.array([number[name] for name in labels]))
        for ids, texts, labels in (train, test)
    )
    return text_task(path, train, test, seed, **arguments)


def text_task(
    name: str,
    train: Texts,
    test: Texts,
    seed: int,
    labeled: int = 20,
    validation: int = 20,
    min_characters: int = 500,
    preset: str = "minilm",
    sequence_length: int = 128,
    translations: str | None = None,
    cache_dir: str | None = None,
) -> TextTask:
    """Selects and tokenises the texts of one run.

    HTML is removed, empty texts are left out with a warning. As in UDA, the
    unlabelled texts are all training texts but those of the validation set,
    and without a label only texts of `min_characters` and more count.

    Args:
        name: str, the name of the data set.
        train: `Texts`, labelled and not.
        test: `Texts`, all labelled.
        seed: int, seed of the selection.
        labeled: int, number of trusted labels, evenly over the classes.
            Defaults to `20`.
        validation: int, size of the validation set, evenly over the classes.
            Defaults to `20`.
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
        ValueError: if a class has too few texts, or the files do not fit.
    """
    foreign = np.setdiff1d(test.labels, train.labels[train.labels >= 0])
    if len(foreign):
        raise ValueError(
            f"The test texts of {name!r} must have the labels of its training "
            f"texts. Received: test labels {foreign[:10]}; -1 is no label."
        )
    train, test = _cleaned(name, train), _cleaned(f"{name}, test", test)
    long = np.array([len(t) >= min_characters for t in train.texts])
    train = train.take((train.labels >= 0) | long)
    tokenizer = bert_tokenizer(preset)

    def inputs(texts):
        token_ids = encode_once(
            name, texts, tokenizer, sequence_length, cache_dir
        )
        return bert_inputs(token_ids, tokenizer)

    def rows_of(x, rows):
        return {key: array[rows] for key, array in x.items()}

    rows = ki.data.split(
        train.labels, labeled, validation, seed=seed, include_labeled=True
    )
    x, y = inputs(train.texts), train.labels
    unlabeled = train.take(rows.unlabeled)
    translated = None
    if translations is not None:
        pairs = read_back_translations(
            translations, train.ids, train.texts, clean_html
        )
        print(pairs.report())
        translated = rows_of(inputs(pairs.texts), rows.unlabeled)
    return TextTask(
        labeled=(rows_of(x, rows.labeled), y[rows.labeled]),
        validation=(rows_of(x, rows.validation), y[rows.validation]),
        test=(inputs(test.texts), test.labels),
        unlabeled=rows_of(x, rows.unlabeled),
        truth=unlabeled.labels,
        ids=unlabeled.ids,
        texts=unlabeled.texts,
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


def _read_tfds(builder, split, text, label):
    dataset = builder.as_dataset(
        split=split, read_config=tfds.ReadConfig(add_tfds_id=True)
    )
    ids, texts, labels = [], [], []
    for row in tfds.as_numpy(dataset):
        ids.append(row["tfds_id"].decode())
        texts.append(_decode(row[text], f"{builder.name}, {ids[-1]}"))
        labels.append(row[label])
    return Texts(ids, texts, np.array(labels, "int64"))


def _read_csv(path, text, label, id):
    """Ids, texts and the names of the labels."""
    with open(path, "rb") as file:
        lines = (
            _decode(line, f"{path}, line {number}")
            for number, line in enumerate(file, start=1)
        )
        rows = csv.DictReader(lines)
        columns = [name.lstrip("\ufeff") for name in rows.fieldnames or ()]
        rows.fieldnames = columns
        for column in (text, label, *filter(None, [id])):
            if column not in columns:
                raise ValueError(
                    f"{path} has no column {column!r}; it has {columns}. Set "
                    "`text`, `label` and `id` to its columns."
                )
        rows = [(rows.line_num, row) for row in rows]
    for line, row in rows:
        if None in row or None in row.values():
            raise ValueError(
                f"{path}, line {line}: the row must have {len(columns)} "
                "fields, as the header; a text with commas needs quotes."
            )
    rows = [row for _, row in rows]
    ids = [row[id] if id else str(k) for k, row in enumerate(rows)]
    if len(set(ids)) < len(ids):
        raise ValueError(f"Column {id!r} of {path} must have unique values.")
    names = [row[label].strip() for row in rows]
    return ids, [row[text] for row in rows], names


def _decode(data, place):
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{place} is not UTF-8: {error.reason} at byte {error.start}. "
            "Convert it first, for instance with `iconv -t utf-8`."
        ) from None
