"""Texts translated to another language and back, from a user's file."""

import csv
import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence

FIELDS = ("id", "original", "translated")


@dataclasses.dataclass
class BackTranslations:
    """The translated form of every text that has one.

    Args:
        texts: list of strings, the translation where there is a good one, else
            the text itself.
        translated: list of booleans, which texts are translations.
        rejected: dict from a reason to the line numbers in the file of the
            rows that were not used for it.
    """

    texts: list
    translated: list
    rejected: dict

    def report(self) -> str:
        """What was used and what was not, in a few lines."""
        used, total = sum(self.translated), len(self.translated)
        lines = [
            f"{used} of {total} texts have a back-translation; "
            f"{total - used} stay as they are."
        ]
        for reason, rows in self.rejected.items():
            first = ", ".join(str(row) for row in rows[:5])
            more = ", ..." if len(rows) > 5 else ""
            lines.append(f"  {len(rows)} rows: {reason} (line {first}{more})")
        return "\n".join(lines)


def read_back_translations(
    path,
    ids: Sequence,
    texts: Sequence[str],
    clean: Callable[[str], str] | None = None,
) -> BackTranslations:
    """Reads back-translations of a data set's texts, as UDA uses them.

    A row of the file is used if its `id` is one of `ids` and was not used
    before, its `original` is the text with that id, both texts have at least
    10 characters, and their lengths differ by at most half of the original's.
    White space does not matter to the comparison with the text.

    Args:
        path: JSON lines (`.jsonl`, `.ndjson` or `.json`) or CSV with a header
            (`.csv`), in UTF-8, with the fields `id`, `original` and
            `translated`.
        ids: sequence of unique strings or integers, one a text.
        texts: sequence of strings, the data set.
        clean: function that is applied to all texts first, such as one that
            removes HTML. Defaults to `None`: none is.

    Returns:
        A `BackTranslations`; `report()` says which rows were not used.

    Raises:
        ValueError: if the file has another format or lacks columns, `ids` are
            not unique, or no row can be used.

    Example:
    >>> import json, pathlib, tempfile
    >>> pair = {
    ...     "id": 7,
    ...     "original": "A splendid film.",
    ...     "translated": "A magnificent film.",
    ... }
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "pairs.jsonl")
    ...     _ = path.write_text(json.dumps(pair))
    ...     pairs = read_back_translations(
    ...         path, ids=[6, 7], texts=["Dull.", "A splendid film."])
    >>> pairs.texts
    ['Dull.', 'A magnificent film.']
    >>> print(pairs.report())
    1 of 2 texts have a back-translation; 1 stay as they are.

    Reference: Xie et al. (2020), "Unsupervised Data Augmentation for
    Consistency Training", section 2.2.
    """
    clean = clean or (lambda text: text)
    texts = [clean(text) for text in texts]
    places = {str(id): place for place, id in enumerate(ids)}
    if not len(places) == len(ids) == len(texts):
        raise ValueError(
            "`ids` must be unique, one for each text. Received: "
            f"{len(ids)} ids, {len(places)} of them different, for "
            f"{len(texts)} texts"
        )
    result = BackTranslations(texts, [False] * len(texts), {})
    for line, row in _rows(pathlib.Path(path)):
        reason = _malformed(row) or _use(result, places, row, clean)
        if reason is not None:
            result.rejected.setdefault(reason, []).append(line)
    if not any(result.translated):
        raise ValueError(
            f"No row of {path} can be used. Its `id` and `original` must be "
            f"those of the data set. {result.report()}"
        )
    return result


def _use(result, places, row, clean):
    """Puts a row's translation in its place, or says why it cannot."""
    place = places.get(row["id"])
    original, translated = (clean(row[field]) for field in FIELDS[1:])
    if place is None:
        return "the id is not in the data set"
    if result.translated[place]:
        return "the id was used before"
    if original.split() != result.texts[place].split():
        return "the original is not the data set's text"
    if min(len(original), len(translated)) < 10:
        return "a text has fewer than 10 characters"
    if abs(len(translated) - len(original)) > 0.5 * len(original):
        return "the lengths differ by more than half"
    result.texts[place] = translated
    result.translated[place] = True
    return None


def _malformed(row):
    """Why a row is no pair of texts, or `None`."""
    if not isinstance(row, dict) or None in row:
        return "the row cannot be read"
    if any(row.get(field) in (None, "") for field in FIELDS):
        return "a field is missing or empty"
    if any(not isinstance(row[field], str) for field in FIELDS):
        return "a field is no text"
    try:
        "".join(row[field] for field in FIELDS).encode()
    except UnicodeEncodeError:
        return "the row is not UTF-8"
    return None


def _rows(path) -> Iterator[tuple]:
    """Line numbers and rows; bytes that are not UTF-8 become surrogates."""
    readers = {".csv": _csv_rows}
    readers |= dict.fromkeys((".jsonl", ".ndjson", ".json"), _json_rows)
    if path.suffix not in readers:
        raise ValueError(
            f"`path` must end with one of {list(readers)}. "
            f"Received: path={str(path)!r}"
        )
    with path.open(
        encoding="utf-8-sig", errors="surrogateescape", newline=""
    ) as file:
        yield from readers[path.suffix](file)


def _json_rows(file):
    for line, text in enumerate(file, start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except ValueError:
            row = None
        if isinstance(row, dict) and isinstance(row.get("id"), int):
            row["id"] = str(row["id"])
        yield line, row


def _csv_rows(file):
    rows = csv.DictReader(file)
    missing = [f for f in FIELDS if f not in (rows.fieldnames or ())]
    if missing:
        raise ValueError(
            f"A file of back-translations needs the columns {FIELDS}. "
            f"Received: columns {rows.fieldnames}, without {missing}"
        )
    end = rows.line_num
    for row in rows:
        yield end + 1, row
        end = rows.line_num
