import re

import numpy as np
import pandas as pd
import pytest

from applications.own.records import class_numbers, read_records

TABLE = {
    "name": ["a", "b", "c", "=d"],
    "label": ["01", "ü, or", " 01 ", ""],
    "trusted": ["True", "x", "0", ""],
    "age": ["1", "", "NA", "4.5"],
}


def read(path, id="name", **arguments):
    arguments = {
        **{"label": "label", "trusted": "trusted", "trusted_share": None},
        **{"seed": 0, **arguments},
    }
    return read_records(str(path), id, **arguments)


def written(folder, table=TABLE, name="a.csv", **arguments):
    path = folder / name
    pd.DataFrame(table).to_csv(path, index=False, **arguments)
    return path


@pytest.mark.parametrize("kind", ["csv", "CSV", "tsv", "parquet", "bom"])
def test_a_table_as_it_is_written(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        pd.DataFrame(TABLE).to_parquet(path)
    elif kind == "bom":
        path = written(tmp_path, encoding="utf-8-sig")
    else:
        path = written(
            tmp_path, name=path.name, sep="\t" if kind == "tsv" else ","
        )
    records = read(path)
    assert records.ids.tolist() == TABLE["name"]
    assert records.labels.tolist() == ["01", "ü, or", "01", ""]
    assert records.trusted.tolist() == [True, True, False, False]
    assert records.columns.to_dict("list") == {"age": TABLE["age"]}
    labels, names = class_numbers(records)
    assert labels.tolist() == [0, 1, 0, -1]
    assert names == ["01", "ü, or"]


def test_numbers_of_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    pd.DataFrame(
        {
            "label": [1, None, 0],
            "trusted": [True, False, True],
            "x": [0.5, 1, 2],
        }
    ).to_parquet(path)
    records = read(path, id="")
    assert records.ids.tolist() == ["1", "2", "3"]
    assert records.labels.tolist() == ["1", "", "0"]
    assert records.trusted.tolist() == [True, False, True]


def test_a_share_is_drawn_where_nothing_is_marked(tmp_path):
    table = {"name": range(100), "label": ["a", "b", "", "a"] * 25}
    path = written(tmp_path, table)
    trusted = read(path, trusted_share=0.2).trusted
    assert trusted.sum() == 15
    assert not (trusted & (np.array(table["label"]) == "")).any()
    again = read(path, trusted_share=0.2, seed=1).trusted
    assert again.sum() == 15
    assert (again != trusted).any()


def test_rows_by_place_and_by_truth(tmp_path):
    records = read(written(tmp_path))
    for rows in (np.array([0, 3]), np.array([True, False, False, True])):
        part = records.take(rows)
        assert part.ids.tolist() == ["a", "=d"]
        assert part.columns["age"].tolist() == ["1", "4.5"]


@pytest.mark.parametrize(
    ("changes", "arguments", "expected"),
    [
        ({}, {"id": "file"}, "has no column 'file'; it has ['name'"),
        ({}, {"label": "class"}, "Set `label`"),
        ({}, {"label": ""}, "Set `label`"),
        ({" name ": list("abcd")}, {}, "each column once. Received: 'name'"),
        ({}, {"trusted": "checked"}, "somebody has checked"),
        ({}, {"trusted": "-", "trusted_share": 2.0}, "between 0 and 1"),
        ({}, {"trusted": "-", "trusted_share": "20%"}, "Received: trusted"),
        ({}, {"trusted_share": 0.5}, "leave `trusted_share` out"),
        ({"name": list("aabc")}, {}, "unique values. Received: 'a'"),
        ({"trusted": ["maybe", "", "", ""]}, {}, "Received: 'maybe'"),
        ({"trusted": ["", "", "", "1"]}, {}, "has no label: '=d'"),
    ],
)
def test_tables_that_do_not_fit(tmp_path, changes, arguments, expected):
    path = written(tmp_path, {**TABLE, **changes})
    with pytest.raises(ValueError, match=re.escape(expected)):
        read(path, **arguments)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "is no table"),
        (b"name,label,trusted\n", "has no rows"),
        (b"name,label,trusted\na,b,1\nc,d,0,e\n", "line 3"),
        ("name,label,trusted\na,ü,1\n".encode("latin1"), "is not UTF-8"),
        (b"name;label;trusted\na;1,5;1\n", "separated by commas.* by ';'"),
        (b"name\tlabel\na\t1\n", "separated by commas"),
        (b"name,label,trusted\na,b,1,c\nd,e,0,f\n", "is no table"),
        (b"name,label,trusted,label\na,b,1,c\n", "once. Received: 'label'"),
        (b'name,label,trusted,"a\nb","a\nb"\na,b,1,c,d\n', "each column once"),
    ],
)
def test_files_that_are_no_tables(tmp_path, text, expected):
    path = tmp_path / "a.csv"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=expected):
        read(path)


def test_a_comma_at_the_end_of_each_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("name,label,trusted\na,b,1,\nc,d,0,\n")
    assert read(path).labels.tolist() == ["b", "d"]


def test_a_carriage_return_in_a_text(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"name,label,trusted\na\rb,c,1\nd,e,0\n")
    records = read(path)
    assert records.ids.tolist() == ["a\rb", "d"]
    assert records.labels.tolist() == ["c", "e"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_the_ends_of_lines(tmp_path, end):
    """Rows without anything in them are none."""
    path = tmp_path / "a.csv"
    lines = [b"name,label,trusted", b"a,b,1", b",,", b"", b"d,e,0", b""]
    path.write_bytes(end.join(lines))
    records = read(path)
    assert records.ids.tolist() == ["a", "d"]
    assert records.trusted.tolist() == [True, False]


@pytest.mark.parametrize("index", [[3, 3, 5], ["x", "y", "z"]])
def test_the_index_of_a_parquet_file(tmp_path, index):
    path = tmp_path / "a.parquet"
    table = {"label": ["a", "b", "a"], "trusted": [True, True, False]}
    pd.DataFrame(table, index=index).to_parquet(path)
    assert read(path, id="").ids.tolist() == ["1", "2", "3"]
    names = pd.Index(["p", "q", "r"], name="name")
    pd.DataFrame(table, index=names).to_parquet(path)
    assert read(path).ids.tolist() == ["p", "q", "r"]


def test_a_line_that_ends_early(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("name,label,trusted,age\na,b,1,7\nc,d\ne\n")
    records = read(path)
    assert records.labels.tolist() == ["b", "d", ""]
    assert records.trusted.tolist() == [True, False, False]
    assert records.columns["age"].tolist() == ["7", "", ""]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"label": ["01", "02", "03", ""]}, "has the label '03' (1 rows)"),
        ({"label": ["01", "01", "01", ""]}, "two classes or more"),
    ],
)
def test_classes_that_nobody_has_checked(tmp_path, changes, expected):
    records = read(written(tmp_path, {**TABLE, **changes}))
    with pytest.raises(ValueError, match=re.escape(expected)):
        class_numbers(records)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_are_counted_as_they_are_in_the_file(tmp_path, end):
    lines = [
        "",
        "sep=,",
        "label,trusted,age",
        "a,1,30",
        "",
        "b,1,31",
        ",,",
        "a,,32",
    ]
    path = tmp_path / "a.csv"
    path.write_bytes(end.join([*lines, "", ""]).encode())
    records = read(path, id="")
    assert records.ids.tolist() == ["1", "3", "5"]
    assert records.labels.tolist() == ["a", "b", "a"]
    assert records.columns.to_dict("list") == {"age": ["30", "31", "32"]}


@pytest.mark.parametrize(
    ("cells", "kept"),
    [("0123", False), ("1234", False), ("", False), ("1235", True)],
)
def test_a_column_without_a_name(tmp_path, cells, kept):
    table = {**TABLE, "": list(cells) or [""] * 4}
    columns = list(read(written(tmp_path, table)).columns)
    assert columns == ["age", *(["Unnamed: 4"] if kept else [])]


@pytest.mark.parametrize("lines", [True, False])
def test_json(tmp_path, lines):
    """What is said makes of it what can be read."""
    path = tmp_path / ("a.jsonl" if lines else "a.json")
    pd.DataFrame(TABLE).to_json(path, orient="records", lines=lines)
    with pytest.raises(ValueError, match="must be CSV, TSV or Parq") as error:
        read(path)
    said = re.search(r"`(pandas\..*)`", str(error.value))[1]
    new = tmp_path / "new.csv"
    eval(said, {"pandas": pd, "path": path, "new": new})
    assert read(new).ids.tolist() == TABLE["name"]


@pytest.mark.parametrize("order", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_text_of_a_spreadsheet(tmp_path, order):
    text = pd.DataFrame(TABLE).to_csv(index=False, sep="\t")
    mark = "" if order == "utf-16" else "\ufeff"
    (tmp_path / "a.tsv").write_bytes((mark + text).encode(order))
    assert read(tmp_path / "a.tsv").labels.tolist() == ["01", "ü, or", "01", ""]


def test_a_file_in_the_home_folder(tmp_path, monkeypatch):
    written(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(read("~/a.csv").ids) == 4
