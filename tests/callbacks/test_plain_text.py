import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from keras_influence.callbacks.plain_text import (
    markdown_cell,
    one_line,
    spreadsheet_cell,
)

TEXT = st.text(
    st.one_of(
        st.characters(codec="utf-8"),
        st.sampled_from("\\|`*_[]()<>!#~&;:/.=-+@\n\r\t '\"a1"),
    )
)


@pytest.mark.parametrize(
    "text",
    [
        *["=1+1", "+1+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", "\n=1", " =1+1"],
        *["\uff1d1+1", "-inf", "+", "-", "=", "@", np.str_("=1"), b"=1"],
    ],
)
def test_formulas_become_text(text):
    shown = text.decode() if isinstance(text, bytes) else text
    assert spreadsheet_cell(text) == "'" + shown


@pytest.mark.parametrize(
    "value",
    [
        *[-1, -1.5, np.float32(-2), np.int8(-1), np.bool_(True), True, None],
        *["-1", "+1", "-1.5e-3", "1=1", "a@b", "", "'=1"],
    ],
)
def test_numbers_and_plain_text_stay(value):
    assert spreadsheet_cell(value) is value or spreadsheet_cell(value) == value


def test_an_objects_text_counts():
    class Formula:
        def __str__(self):
            return "=1+1"

    assert spreadsheet_cell(Formula()) == "'=1+1"


@settings(deadline=None)
@given(TEXT)
def test_no_cell_starts_as_a_formula(text):
    file = io.StringIO(newline="")
    csv.writer(file).writerow([0, spreadsheet_cell(text)])
    (row,) = csv.reader(io.StringIO(file.getvalue(), newline=""))
    assert row[1].removeprefix("'") == text.removeprefix("'")
    if row[1][:1] in ("=", "+", "-", "@", "\t", "\r"):
        float(row[1])


def rendered(cell):
    """The inline tokens of a table's cell, as a renderer sees them."""
    parser = MarkdownIt("commonmark", {"html": True})
    parser.enable(["table", "strikethrough"])
    lines = ["| a | b |", "| --- | --- |", f"| {cell} | end |"]
    cells = [t for t in parser.parse("\n".join(lines)) if t.type == "inline"]
    assert [t.content for t in cells[:2]] == ["a", "b"]
    assert len(cells) == 4
    assert cells[3].content == "end"
    return cells[2].children


@settings(deadline=None)
@given(TEXT)
def test_markdown_shows_the_text_and_nothing_else(text):
    tokens = rendered(markdown_cell(text))
    assert {t.type for t in tokens} <= {"text", "text_special"}
    assert "".join(t.content for t in tokens) == one_line(text)


@pytest.mark.parametrize(
    "text",
    [
        *["<script>alert(1)</script>", "<img src=x>", "![x](http://a.b/c.png)"],
        *["[x](http://a.b)", "http://a.b", "www.a.b", "a@b.c", "`x`", "a|b\nc"],
        *["**x**", "&lt;b&gt;", "&#60;", "\\|", "\\"],
    ],
)
def test_markup_from_data_is_escaped(text):
    cell = markdown_cell(text)
    # What GitHub links on its own, and what is HTML.
    assert not any(part in cell for part in ("<", "://", "www.", "a@b", "\n"))
    tokens = rendered(cell)
    assert "".join(t.content for t in tokens) == one_line(text)


def test_control_characters_and_halves_of_characters_are_gone():
    assert one_line("a\x1b[31mb\x00\u2028c\ud800") == "a [31mb c\\ud800"
