"""A table of numbers and categories."""

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from applications.own.data import OwnData
from applications.own.records import read_records

# A column with more values than this is a name or a text, no category.
VALUES = 200


def own_table(
    seed: int,
    file: str = "",
    label: str = "label",
    id: str = "",
    trusted: str = "trusted",
    trusted_share: float | None = None,
    ignore: str = "",
    categories: str = "",
) -> OwnData:
    """Rows of a table, encoded by `keras.utils.FeatureSpace`.

    Numbers are brought to mean 0 and variance 1, where none is given the
    median stands; other columns are categories, an empty cell one of them.

    Args:
        seed: int, seed of all draws.
        file: str, path of the table, CSV or Parquet.
        label: str, its column of labels. Defaults to `"label"`.
        id: str, its column of unique names. Defaults to `""`: row numbers.
        trusted: str, its column that says which labels somebody has checked.
            Defaults to `"trusted"`.
        trusted_share: float, the share of labels to trust where there is no
            such column. Defaults to `None`.
        ignore: str, columns to leave out, with commas. Defaults to `""`.
        categories: str, columns whose numbers are categories, with commas.
            Defaults to `""`.
    """
    records = read_records(file, id, label, trusted, trusted_share, seed)
    table = records.columns
    ignored, named = (
        _columns(name, value, table, file)
        for name, value in (("ignore", ignore), ("categories", categories))
    )
    columns, skipped = {}, []
    for name in table.columns.difference(ignored, sort=False):
        numbers = None if name in named else _numbers(table[name])
        if numbers is not None:
            columns[name] = numbers
        elif table[name].nunique() <= VALUES:
            columns[name] = table[name].to_numpy(object)
        else:
            number, first = table[name].nunique(), table[name].iloc[0]
            reason = f"a column of {number:,} different texts, as {first!r}"
            skipped.append((name, reason))
    if not columns:
        raise ValueError(
            f"{file} has no column of numbers or categories besides "
            f"{label!r}. Received: {list(table)}."
        )
    space = _space(columns)
    inputs = {name: tf.constant(values) for name, values in columns.items()}
    space.adapt(tf.data.Dataset.from_tensor_slices(inputs))
    _keep_categories(space)

    def complete(network):
        encoded = space.get_encoded_features()
        return keras.Model(dict(space.get_inputs()), network(encoded))

    x = space(inputs).numpy()
    return OwnData(
        *(records, x, table[list(columns)], complete), skipped=skipped
    )


def _columns(setting, value, table, file):
    names = [name.strip() for name in value.split(",") if name.strip()]
    for name in names:
        if name not in table:
            raise ValueError(
                f"`{setting}` names a column that {file} does not have: "
                f"{name!r}. It has {list(table)}."
            )
    return names


def _numbers(column):
    """The column as numbers, `None` if it has other things."""
    filled = column.str.strip().replace("", np.nan)
    numbers = pd.to_numeric(filled, errors="coerce")
    finite = np.isfinite(numbers.to_numpy("float64", na_value=np.nan))
    if (numbers.isna() != filled.isna()).any() or not finite.any():
        return None
    values = numbers.to_numpy("float64", na_value=np.nan)
    return np.where(finite, values, np.median(values[finite])).astype("float32")


def _space(columns):
    kinds = keras.utils.FeatureSpace
    return keras.utils.FeatureSpace(
        {
            name: (
                kinds.float_normalized()
                if values.dtype == "float32"
                else kinds.string_categorical(output_mode="one_hot")
            )
            for name, values in columns.items()
        },
        output_mode="concat",
    )


def _keep_categories(space):
    """Lets the categories be saved with the layers' configuration.

    What `adapt` finds is saved line by line, which loses an empty string at
    the end and splits what has a line break in it.
    """
    for layer in space.preprocessors.values():
        if isinstance(layer, keras.layers.StringLookup):
            layer.input_vocabulary = layer.get_vocabulary(
                include_special_tokens=False
            )
