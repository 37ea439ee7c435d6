"""A table of numbers and categories."""

import re

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import ops

from applications.own.data import OwnData, in_short
from applications.own.records import read_records

# A column with more values than this is a name or a text, no category.
VALUES = 200
# What a table says in place of a number that is not known.
UNKNOWN = ("", "na", "n/a", "#n/a", "nan", "null", "none", "-", "?")

# A number as people write it: `€4.21`, `1,042.50`, `1.3 %`. Whether the comma
# of `1,234` parts thousands is not known.
DRESSED = (
    r"([-+]?)[$€£¥]?\s?("
    r"\d{1,3}(?:,\d{3})+\.\d+|\d{1,3}(?:,\d{3}){2,}|\d+(?:\.\d*)?|\.\d+"
    r")\s?[%$€£¥]?"
)
UNCLEAR = r"[-+]?[$€£¥]?\s?\d+,\d+\s?[%$€£¥]?"
DATE = r"\d{4}-\d\d-\d\d.*|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}.*"

# The square of a larger one is infinite in float32.
LARGEST = 1e18


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

    Numbers, also such as `€4.21`, `1,042.50` and `1.3 %`, are brought to mean
    0 and variance 1; where one is missing, `NA` or NaN the median stands, in
    the finished network too. Dates are left out. Other columns are
    categories, an empty cell one of them.

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

    Raises:
        ValueError: if the table is not as it must be, or most of a column are
            numbers and the others something else, or numbers with a comma.
    """
    records = read_records(file, id, label, trusted, trusted_share, seed)
    table = records.columns
    used = (id, label, trusted)
    ignored, named = (
        _columns(name, value, table, used, file)
        for name, value in (("ignore", ignore), ("categories", categories))
    )
    columns, medians, skipped = {}, {}, []
    for name in table.columns.difference(ignored, sort=False):
        if "/" in name:
            raise ValueError(
                f"Keras takes no `/` in a name. Rename the column {name!r} of "
                f"{file}, or leave it out with `ignore`."
            )
        numbers = None if name in named else _numbers(file, table[name])
        if numbers is not None:
            medians[name] = float(np.nanmedian(numbers))
            columns[name] = np.nan_to_num(numbers, nan=medians[name])
        elif name not in named and _are_dates(table[name]):
            reason = (
                f"a column of dates, as {table[name].iloc[0]!r}: make it a "
                f"number, such as days, or set `categories={name}`"
            )
            skipped.append((name, reason))
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
        inputs = {
            name: keras.Input((1,), name=name, dtype=tensor.dtype)
            for name, tensor in space.get_inputs().items()
        }
        filled = {
            name: _filled(medians[name])(tensor) if name in medians else tensor
            for name, tensor in inputs.items()
        }
        encode = keras.Model(
            dict(space.get_inputs()), space.get_encoded_features()
        )
        return keras.Model(inputs, network(encode(filled)))

    x = space(inputs).numpy()
    return OwnData(
        *(records, x, table[list(columns)], complete),
        skipped=skipped,
        remarks=[
            _kinds(columns, medians),
            *_giveaways(table, columns, records),
        ],
    )


def _kinds(columns, numbers):
    """Which columns are taken for what, in words."""
    categories = [
        f"{name} ({len(set(values))})"
        for name, values in columns.items()
        if name not in numbers
    ]
    kinds = {"numbers": list(numbers), "categories (and how many)": categories}
    told = (f"{k}: {in_short(names)}" for k, names in kinds.items() if names)
    return f"Columns that are {'; '.join(told)}."


def _giveaways(table, columns, records):
    """A warning of every column that knows labels, wrong ones too."""
    labeled = records.labels != ""
    labels = pd.Series(records.labels[labeled])
    for name in columns:
        values = table[name][labeled].reset_index(drop=True)
        of_each = labels[values != ""].groupby(values)
        # With few rows it may be so by chance.
        if len(values) < 20 or not 2 <= of_each.ngroups <= len(values) / 4:
            continue
        if (of_each.nunique() == 1).all() and labels.nunique() > 1:
            yield (
                f"Every value of the column {name!r} has one label, so that "
                "it may be made from the labels: if it is not known of new "
                f"rows, set `ignore={name}`."
            )


def _columns(setting, value, table, used, file):
    names = [name.strip() for name in value.split(",") if name.strip()]
    for name in names:
        if name in used:
            raise ValueError(
                f"`{setting}` names {name!r}, which is no input but the "
                "column of names, of labels, or of who is trusted."
            )
        if name not in table:
            raise ValueError(
                f"`{setting}` names a column that {file} does not have: "
                f"{name!r}. It has {list(table)}."
            )
    return names


def _numbers(file, column):
    """The column as numbers, NaN where not known; `None` if it has others."""
    cells = column.str.strip()
    known = ~cells.str.lower().isin(UNKNOWN).to_numpy(bool)
    plain = cells.where(known).map(_undressed, na_action="ignore")
    numbers = pd.to_numeric(plain, errors="coerce")
    numbers = numbers.to_numpy("float64", na_value=np.nan, copy=True)
    numbers[np.abs(numbers) > np.finfo("float32").max] = np.nan
    others = known & np.isnan(numbers)
    unclear = others & cells.str.fullmatch(UNCLEAR).to_numpy(bool)
    if 2 * unclear.sum() > known.sum():
        raise ValueError(
            f"Whether the commas in the column {column.name!r} of {file} part "
            f"thousands or decimals is not known: {cells[unclear].iloc[0]!r}. "
            "Write numbers as 1234 or 1.5, or set "
            f"`categories={column.name}` or `ignore={column.name}`."
        )
    if not known.any() or 2 * others.sum() >= known.sum():
        return None
    if others.any():
        some = ", ".join(map(repr, cells[others].unique()[:3]))
        raise ValueError(
            f"Most cells of the column {column.name!r} of {file} are numbers, "
            f"and {others.sum():,} are not: {some}. Correct or empty these, or "
            f"set `categories={column.name}` or `ignore={column.name}`."
        )
    _check_digits(file, column.name, numbers[~np.isnan(numbers)])
    return numbers.astype("float32")


def _undressed(cell):
    """A number without its sign of a currency, `%` and commas."""
    match = re.fullmatch(DRESSED, cell)
    return match[1] + match[2].replace(",", "") if match else cell


def _are_dates(column):
    cells = column.str.strip()
    cells = cells[~cells.str.lower().isin(UNKNOWN)]
    return len(cells) > 0 and cells.str.fullmatch(DATE).all()


def _check_digits(file, name, numbers):
    """Raises where float32 cannot tell numbers apart, or square them."""
    largest, spread = np.abs(numbers).max(), np.std(numbers)
    if largest > LARGEST or 0 < spread < 1e3 * np.spacing(np.float32(largest)):
        raise ValueError(
            f"The numbers of the column {name!r} of {file}, up to "
            f"{largest:.6g}, are too large for what they differ by, as times "
            "and account numbers are. Subtract what they have in common, or "
            f"set `categories={name}` or `ignore={name}`."
        )


def _filled(median):
    """A model that puts a number for NaN.

    In a model of its own operations may have the names of columns.
    """
    number = keras.Input((1,))
    return keras.Model(number, ops.where(ops.isnan(number), median, number))


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
