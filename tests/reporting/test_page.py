import sys

import pytest

from keras_influence.reporting.page import write_page


def test_without_the_template_engine(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r"keras-influence\[report\]"):
        write_page(tmp_path / "a.html")


def test_what_the_template_names_must_be_given(tmp_path):
    with pytest.raises(Exception, match="undefined"):
        write_page(tmp_path / "a.html", title="a")
    assert not list(tmp_path.iterdir())
