"""Texts and labels as they are read: data sets of TFDS and CSV files."""

import csv
import dataclasses

import numpy as np
import tensorflow_datasets as tfds

from applications.prepared import prepared

# A text may be longer than the 131,072 characters that `csv` reads at most.
csv.field_size_limit(2**31 - 1)


@dataclasses.dataclass
class Texts:
    """Texts as they were read.

    Args:
        ids: list of strings, unique.
        texts: list of strings.
        labels: int array of shape `(n,)`; -1 where there is no label.
        names: list of strings, those of the classes, or `None`.
    """

    ids: list
    texts: list
    labels: np.ndarray
    names: list | None = None

    def take(self, rows) -> "Texts":
        """Some of the texts, by an array of rows or of booleans."""
        rows = np.arange(len(self.ids))[rows]
        pick = [[part[i] for i in rows] for part in (self.ids, self.texts)]
        return Texts(*pick, self.labels[rows], self.names)


def read_texts(
    source: str,
    test_source: str,
    data_dir: str | None,
    text: str,
    label: str,
    id: str | None,
) -> tuple[Texts, Texts]:
    """The training and the test texts.

    Args:
        source: str, a data set of TensorFlow Datasets, or a path that ends in
            `.csv`.
        test_source: str, a split of that data set, or another path.
        data_dir: str, the folder of TensorFlow Datasets, or `None`.
        text: str, the feature or column that holds the texts.
        label: str, the feature or column that holds the classes.
        id: str, the column of a CSV file that holds unique ids, or `None`.

    Raises:
        ValueError: if a part is missing, or a file is not as it must be.
    """
    if source.lower().endswith(".csv"):
        if not test_source.lower().endswith(".csv"):
            raise ValueError(
                "The texts to test on must be in another CSV file, with the "
                "same columns: set `test_source`. Received: "
                f"test_source={test_source!r}"
            )
        return _csv_files(source, test_source, text, label, id)
    return _tfds_splits(source, test_source, data_dir, text, label)


def _tfds_splits(source, test_split, data_dir, text, label):
    """The training and the test texts of a data set of TFDS."""
    builder = prepared(source, data_dir)
    for feature in (text, label):
        if feature not in builder.info.features:
            raise ValueError(
                f"Data set {source!r} has no feature {feature!r}; it has "
                f"{list(builder.info.features)}. Set `text` and `label`."
            )
    for split in ("train", test_split):
        if split not in builder.info.splits:
            raise ValueError(
                f"Data set {source!r} has no split {split!r}; it has "
                f"{list(builder.info.splits)}. Set `test_source`."
            )
    train = _read_tfds(builder, "train", text, label)
    if "unsupervised" in builder.info.splits:
        more = _read_tfds(builder, "unsupervised", text, label)
        train = Texts(
            train.ids + more.ids,
            train.texts + more.texts,
            np.concatenate([train.labels, np.full(len(more.ids), -1)]),
            train.names,
        )
    return train, _read_tfds(builder, test_split, text, label)


def _csv_files(path, test_path, text, label, id):
    """The training and the test texts of two files."""
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
    return [
        Texts(ids, texts, np.array([number[name] for name in labels]), classes)
        for ids, texts, labels in (train, test)
    ]


def _read_tfds(builder, split, text, label):
    dataset = builder.as_dataset(
        split=split, read_config=tfds.ReadConfig(add_tfds_id=True)
    )
    ids, texts, labels = [], [], []
    for row in tfds.as_numpy(dataset):
        ids.append(row["tfds_id"].decode())
        texts.append(_decode(row[text], f"{builder.name}, {ids[-1]}"))
        labels.append(row[label])
    names = getattr(builder.info.features[label], "names", None)
    return Texts(ids, texts, np.array(labels, "int64"), names)


def _read_csv(path, text, label, id):
    """Ids, texts and the names of the labels."""
    with open(path, "rb") as file:
        lines = (
            _decode(line, f"{path}, line {number}")
            for number, line in enumerate(file, start=1)
        )
        rows = csv.DictReader(lines)
        try:
            columns = [name.lstrip("\ufeff") for name in rows.fieldnames or ()]
            rows.fieldnames = columns
            _check_columns(path, columns, (text, label, *filter(None, [id])))
            rows = [(rows.line_num, row) for row in rows]
        except csv.Error as error:
            raise ValueError(
                f"{path}, line {rows.line_num}: {error}. Lines must end in "
                "line feeds, and texts with commas or quotes need quotes."
            ) from error
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


def _check_columns(path, columns, needed):
    for column in needed:
        if column not in columns:
            raise ValueError(
                f"{path} has no column {column!r}; it has {columns}. Set "
                "`text`, `label` and `id` to its columns."
            )
        if columns.count(column) > 1:
            raise ValueError(
                f"{path} has {columns.count(column)} columns {column!r}. "
                "Give each a name of its own."
            )


def _decode(data, place):
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{place} is not UTF-8: {error.reason} at byte {error.start}. "
            "Convert it first, for instance with `iconv -t utf-8`."
        ) from None
