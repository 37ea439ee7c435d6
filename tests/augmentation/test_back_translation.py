import csv
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keras_influence.augmentation.back_translation import (
    read_back_translations,
)

IDS = ["a", "b", "c"]
TEXTS = ["A splendid film, I say.", "Not worth a single cent.", "Dull, dull!"]


def row(place, translated, **changes):
    pair = {
        "id": IDS[place],
        "original": TEXTS[place],
        "translated": translated,
    }
    return pair | changes


GOOD = row(0, "A magnificent film.")


def write(path, rows):
    """Rows as JSON lines or CSV, by the file's name."""
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            writer = csv.DictWriter(file, ["id", "original", "translated"])
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(pair) + "\n" for pair in rows)
    return path


@pytest.fixture(params=["pairs.jsonl", "pairs.csv"])
def path(request, tmp_path):
    return tmp_path / request.param


def test_reads_pairs_in_any_order(path):
    rows = [row(2, 'Boring,\n"boring"'), GOOD]
    pairs = read_back_translations(write(path, rows), IDS, TEXTS)
    assert pairs.texts == ["A magnificent film.", TEXTS[1], 'Boring,\n"boring"']
    assert pairs.translated == [True, False, True]
    assert pairs.rejected == {}
    assert pairs.report() == (
        "2 of 3 texts have a back-translation; 1 stay as they are."
    )


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row(1, "Not worth a penny.", id="z"), "the id is not in the data set"),
        (row(0, "An excellent film."), "the id was used before"),
        (
            row(1, "Not worth a penny.", original="Worth a cent."),
            "the original is not the data set's text",
        ),
        (row(2, "So boring"), "a text has fewer than 10 characters"),
        (row(1, "No!" * 13), "the lengths differ by more than half"),
        (row(1, "No!" * 3 + "No"), "the lengths differ by more than half"),
        (row(1, ""), "a field is missing or empty"),
        (row(1, "Ok", id=""), "a field is missing or empty"),
    ],
)
def test_reports_rows_that_cannot_be_used(path, bad, reason):
    pairs = read_back_translations(write(path, [GOOD, bad]), IDS, TEXTS)
    line = 3 if path.suffix == ".csv" else 2
    assert pairs.rejected == {reason: [line]}
    assert f"1 rows: {reason} (line {line})" in pairs.report()
    assert pairs.texts == [GOOD["translated"], *TEXTS[1:]]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 80))
@example(10, 10)
@example(10, 9)
@example(9, 10)
@example(20, 10)
@example(20, 30)
@example(20, 31)
def test_rejection_rule(tmp_path_factory, original, translated):
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    pair = {
        "id": "b",
        "original": "x" * original,
        "translated": "y" * translated,
    }
    pairs = read_back_translations(
        write(path, [GOOD, pair]), IDS, [TEXTS[0], "x" * original, TEXTS[2]]
    )
    good = (
        min(original, translated) >= 10
        and 0.5 * original <= translated <= 1.5 * original
    )
    assert pairs.translated[1] == good


def test_many_rows_are_reported_briefly(path):
    rows = [GOOD] + [row(1, "Not worth it.", id=str(k)) for k in range(7)]
    report = read_back_translations(write(path, rows), IDS, TEXTS).report()
    first = 3 if path.suffix == ".csv" else 2
    numbers = ", ".join(str(first + k) for k in range(5))
    assert f"7 rows: the id is not in the data set (line {numbers}, ...)" in (
        report
    )


def test_bytes_that_are_not_utf8(path):
    write(path, [GOOD, row(1, "Not worth a p@nny."), row(2, "Boring, boring.")])
    path.write_bytes(path.read_bytes().replace(b"@", b"\xe9"))
    pairs = read_back_translations(path, IDS, TEXTS)
    assert list(pairs.rejected) == ["the row is not UTF-8"]
    assert pairs.translated == [True, False, True]


def test_byte_order_mark_and_integer_ids(tmp_path):
    path = tmp_path / "pairs.jsonl"
    text = json.dumps(row(0, "A magnificent film.", id=7))
    path.write_text(f"{text}\n\n", encoding="utf-8-sig")
    pairs = read_back_translations(path, [5, 6, 7], [*TEXTS[1:], TEXTS[0]])
    assert pairs.translated == [False, False, True]


@pytest.mark.parametrize("line", ["{", "[1]", '{"id": "b"}', "5"])
def test_lines_that_are_no_pair(tmp_path, line):
    path = write(tmp_path / "pairs.jsonl", [GOOD])
    path.write_text(f"{line}\n{path.read_text()}")
    pairs = read_back_translations(path, IDS, TEXTS)
    assert [1] in pairs.rejected.values()


def test_csv_rows_with_too_many_fields(tmp_path):
    path = write(tmp_path / "pairs.csv", [GOOD])
    with path.open("a") as file:
        file.write(f"b,{TEXTS[1]},Not worth,a penny.\nc\n")
    pairs = read_back_translations(path, IDS, TEXTS)
    assert pairs.rejected == {
        "the row cannot be read": [3],
        "a field is missing or empty": [4],
    }


def test_line_numbers_count_lines_not_rows(tmp_path):
    rows = [
        row(0, "A truly\nmagnificent film."),
        row(1, "Not worth\na penny.", id="z"),
    ]
    pairs = read_back_translations(
        write(tmp_path / "pairs.csv", rows), IDS, TEXTS
    )
    assert pairs.rejected == {"the id is not in the data set": [4]}


def test_texts_are_cleaned_first(path):
    def clean(text):
        return text.replace("<br>", " ")

    pair = row(0, "A<br>magnificent film.", original=TEXTS[0] + "<br>")
    texts = ["A splendid<br>film, I  say.", *TEXTS[1:]]
    pairs = read_back_translations(write(path, [pair]), IDS, texts, clean)
    assert pairs.texts[0] == "A magnificent film."


def test_no_row_fits(path):
    with pytest.raises(
        ValueError, match=r"(?s)No row of .*not in the data set"
    ):
        read_back_translations(write(path, [GOOD | {"id": "z"}]), IDS, TEXTS)


def test_columns_are_missing(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("id,text\n1,Good\n")
    with pytest.raises(ValueError, match=r"without \['original', 'translated"):
        read_back_translations(path, IDS, TEXTS)


def test_unknown_format(tmp_path):
    with pytest.raises(ValueError, match=r"must end with one of .*pairs\.txt"):
        read_back_translations(tmp_path / "pairs.txt", IDS, TEXTS)


@pytest.mark.parametrize("ids", [["a", "a", "b"], ["a", "b"]])
def test_ids_must_be_unique_and_as_many_as_texts(path, ids):
    with pytest.raises(ValueError, match="`ids` must be unique"):
        read_back_translations(write(path, [GOOD]), ids, TEXTS)
