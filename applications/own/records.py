"""A user's table: which label each row has, and which of them are trusted."""

import codecs
import dataclasses
import functools
import pathlib
import re
import warnings

import numpy as np
import pandas as pd

FLAGS = {
    **dict.fromkeys(("true", "yes", "y", "t", "x", "1", "1.0"), True),
    **dict.fromkeys(("false", "no", "n", "f", "", "0", "0.0"), False),
}
# What pandas calls a column whose header is empty.
UNNAMED = re.compile(r"Unnamed: \d+|")


@dataclasses.dataclass
class Records:
    """The rows of a table.

    Args:
        ids: string array of shape `(n,)`, all different.
        labels: string array of shape `(n,)`; `""` for none.
        trusted: boolean array of shape `(n,)`, whose labels are.
        columns: `pandas.DataFrame` of strings, the other columns.
        drawn: boolean, whether these were drawn at random and nobody has
            checked them. Defaults to `False`.
    """

    ids: np.ndarray
    labels: np.ndarray
    trusted: np.ndarray
    columns: pd.DataFrame
    drawn: bool = False

    def take(self, rows) -> "Records":
        """Some of the rows, by an array of places or of booleans."""
        return Records(
            *(part[rows] for part in (self.ids, self.labels, self.trusted)),
            self.columns[rows]
            if rows.dtype == bool
            else self.columns.iloc[rows],
            self.drawn,
        )


def read_records(
    path: str,
    id: str,
    label: str,
    trusted: str,
    trusted_share: float | None,
    seed: int,
) -> Records:
    """Reads a CSV or Parquet file.

    Args:
        path: str, path of the file.
        id: str, the column of unique names; `""` counts the rows from 1,
            empty ones too.
        label: str, the column of labels, empty where there is none.
        trusted: str, the column that says which labels are trusted.
        trusted_share: float, the share of the labels to trust, drawn at
            random, where there is no such column; or `None`.
        seed: int, seed of that draw.

    Raises:
        ValueError: if the file is not as it must be; what to do is said.
    """
    table = _read(path)
    places = table.index + 1
    table = table.reset_index(drop=True)
    for name, setting in ((id, "id"), (label, "label")):
        if name not in table and (name or setting == "label"):
            raise ValueError(
                f"{path} has no column {name!r}; it has {list(table)}. Set "
                f"`{setting}`."
            )
    labels = table[label].str.strip().to_numpy(str)
    ids = (table[id] if id else places).astype(str).to_numpy(str)
    again = pd.Index(ids).duplicated()
    if again.any():
        raise ValueError(
            f"Column {id!r} of {path} must have unique values. Received: "
            f"{str(ids[again][0])!r} more than once."
        )
    if trusted in table and trusted_share is not None:
        raise ValueError(
            f"{path} says in its column {trusted!r} which labels are trusted: "
            "leave `trusted_share` out, or set `trusted` to no column, as "
            "`--set trusted=nothing`."
        )
    if trusted in table:
        flags = _flags(path, trusted, table[trusted])
    else:
        flags = _drawn(path, trusted, trusted_share, labels, seed)
    unlabeled = flags & (labels == "")
    if unlabeled.any():
        raise ValueError(
            f"A trusted row of {path} has no label: {str(ids[unlabeled][0])!r}."
        )
    used = [name for name in (id, label, trusted) if name in table]
    drawn = trusted not in table
    return Records(ids, labels, flags, table.drop(columns=used), drawn)


def class_numbers(records: Records) -> tuple[np.ndarray, list[str]]:
    """The labels as numbers, and the names of the classes in order.

    Args:
        records: `Records`.

    Returns:
        Int array of shape `(n,)`, -1 for no label, and a list of strings.

    Raises:
        ValueError: if fewer than two classes are trusted, or a label occurs
            among the others only.
    """
    names = sorted(set(records.labels[records.trusted].tolist()))
    if len(names) < 2:
        raise ValueError(
            "The trusted labels must be of two classes or more. Received: "
            f"{names}, in {records.trusted.sum()} trusted rows."
        )
    foreign = pd.Series(records.labels)[lambda s: ~s.isin([*names, ""])]
    if len(foreign):
        counts = foreign.value_counts()
        some = ", ".join(f"{n!r} ({k} rows)" for n, k in counts[:5].items())
        raise ValueError(
            f"No trusted row has the label {some}. Check some rows of it, "
            "correct its spelling, or empty the cells: then they are examples "
            f"without a label. Trusted: {names[:20]}."
        )
    return pd.Categorical(records.labels, names).codes.astype("int64"), names


def _read(path):
    """A table of strings, numbered as in the file; empty rows are left out."""
    if not path:
        raise ValueError("Say where your data is, as `--set file=data.csv`.")
    path = pathlib.Path(path).expanduser()
    if not path.is_file():
        what = "This is a folder" if path.is_dir() else "No such file"
        raise ValueError(
            f"{what}: {path}. Say where your table is, as `--set "
            "file=data.csv` or, of images, `--set labels=labels.csv`."
        )
    kind = path.suffix.lower()
    if kind in (".json", ".jsonl", ".ndjson"):
        lines = "" if kind == ".json" else ", lines=True"
        raise ValueError(
            f"{path} must be CSV, TSV or Parquet. "
            f"`pandas.read_json(path{lines}).to_csv(new, index=False)` makes a "
            "CSV file of it."
        )
    try:
        if kind in (".parquet", ".pq"):
            table = pd.read_parquet(path)
            _check_names(path, table.columns)
            # A number of the row is no column; what has a name is one.
            named = any(name is not None for name in table.index.names)
            table = table.reset_index(drop=not named).convert_dtypes()
            table = table.astype("string").fillna("")
        else:
            table = _read_text(path, "\t" if kind == ".tsv" else ",")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8: {error.reason} at byte {error.start}. "
            "Convert a text first, as `iconv -f latin1 -t utf-8` does, save a "
            "spreadsheet as CSV, and unpack an archive."
        ) from None
    except (
        pd.errors.ParserError,
        pd.errors.ParserWarning,  # of cells that it would leave out
        pd.errors.EmptyDataError,
    ) as error:
        raise ValueError(
            f"{path} is no table: {str(error).strip()}. Texts with commas or "
            "line breaks need quotes."
        ) from None
    table = table[(table != "").any(axis=1)]
    if not len(table):
        raise ValueError(f"{path} has no rows.")
    table.columns = table.columns.str.strip()
    return table[[name for name in table if not _says_nothing(table[name])]]


def _check_names(path, names):
    """Raises where two columns have one name, as people read it."""
    names = pd.Series(names).astype(str).str.strip()
    again = names[names.duplicated() & (names != "")]
    if len(again):
        raise ValueError(
            f"{path} must name each column once. Received: {again.iloc[0]!r} "
            "twice."
        )


def _says_nothing(column):
    """Whether a column without a name is empty or numbers the rows."""
    if not UNNAMED.fullmatch(column.name):
        return False
    cells, rows = column.to_numpy(str), column.index.to_numpy()
    return not (cells != "").any() or any(
        (cells == (rows + first).astype(str)).all() for first in (0, 1)
    )


def _read_text(path, separator):
    encoding = _encoding(path)
    with open(path, encoding=encoding, newline="") as file:
        above, header = 0, file.readline()
        # Excel may name the separator in a line above.
        while header and header.strip().lower() in ("", f"sep={separator}"):
            above, header = above + 1, file.readline()
    unix = header.endswith("\n") and not header.endswith("\r\n")
    others = [s for s in ";\t|" if s in header and separator not in header]
    if others:
        raise ValueError(
            f"The columns of {path} must be separated by commas or, in a "
            f"`.tsv` file, by tabs, and its decimals by points. Received: "
            f"columns separated by {others[0]!r}."
        )
    read = functools.partial(
        pd.read_csv,
        path,
        sep=separator,
        dtype=object,  # `str` warns of commas at the ends of lines
        keep_default_na=False,
        encoding=encoding,
        index_col=False,
        skiprows=above,
        skip_blank_lines=False,  # they count
        # Where it ends no line, a carriage return is within a text.
        lineterminator="\n" if unix else None,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        # Pandas renames what has the name of another column.
        _check_names(path, read(header=None, nrows=1).iloc[0].fillna(""))
        table = read()
    return table.fillna("").astype(str)  # of lines that end early


def _encoding(path):
    """UTF-8, unless a file begins as one of UTF-16 does."""
    with open(path, "rb") as file:
        start = file.read(2)
    marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    return "utf-16" if start in marks else "utf-8-sig"


def _flags(path, name, column):
    cells = column.str.strip().str.lower()
    wrong = ~cells.isin(list(FLAGS))
    if wrong.any():
        raise ValueError(
            f"Column {name!r} of {path} says whether a label is trusted, by "
            f"true or false. Received: {column[wrong].iloc[0]!r}."
        )
    return cells.map(FLAGS).to_numpy(bool)


def _drawn(path, name, share, labels, seed):
    if share is None:
        raise ValueError(
            f"{path} has no column {name!r} that says which labels somebody "
            "has checked: they are what all others are judged by. Check some "
            "hundred rows that you draw at random, and set `trusted` to the "
            "column that marks them. If the labels are mostly right, "
            "`--set trusted_share=0.2` draws a fifth of them in place of that."
        )
    if not isinstance(share, float | int) or not 0 < share < 1:
        raise ValueError(
            "`trusted_share` must be a share between 0 and 1, as 0.2. "
            f"Received: trusted_share={share!r}."
        )
    rows = np.flatnonzero(labels != "")
    drawn = np.random.RandomState(seed).permutation(rows)
    flags = np.zeros(len(labels), bool)
    flags[drawn[: round(share * len(rows))]] = True
    return flags
