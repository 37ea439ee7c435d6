"""What the API reference makes of the docstrings."""

import importlib.util
import inspect
import re

import griffe
import pytest
import yaml

import keras_influence as ki
from tests.cases.documents import ROOT


def load_extension():
    path = ROOT / ".ci" / "docs" / "keras_docstrings.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parser_options():
    """The site's."""
    _, plugin = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["plugins"]
    options = plugin["mkdocstrings"]["handlers"]["python"]["options"]
    return options["docstring_options"]


def documented(of, found):
    for value in of.members.values():
        if not value.is_alias:
            if value.docstring:
                found.append(value)
            documented(value, found)
    return found


@pytest.fixture(scope="module")
def package():
    extension = load_extension().KerasDocstrings()
    return griffe.load(
        "keras_influence",
        search_paths=[ROOT],
        extensions=griffe.load_extensions(extension),
        docstring_parser="google",
        docstring_options=parser_options(),
        resolve_aliases=True,
    )


@pytest.fixture(scope="module")
def objects(package):
    return documented(package, [])


def test_every_public_name_is_in_the_reference(package):
    pages = (ROOT / "docs" / "api").glob("*.md")
    text = "\n".join(page.read_text() for page in pages)
    shown = set()
    for path in re.findall(r"^::: keras_influence\.(\S+)", text, re.MULTILINE):
        value = package[path]
        members = value.members if value.is_module else {value.name: value}
        shown |= {
            n for n, m in members.items() if m.is_public and not m.is_module
        }
    for room in (ki, *filter(inspect.ismodule, vars(ki).values())):
        for name in getattr(room, "__all__", ()):
            if not inspect.ismodule(getattr(room, name)):
                assert name in shown, f"{room.__name__}.{name}"


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("Args:", "parameters"),
        ("Attributes:", "attributes"),
        ("Returns:", "returns"),
        ("Raises:", "raises"),
        ("Examples:", "examples"),
    ],
)
def test_every_section_is_one(objects, heading, kind):
    with_heading = [o for o in objects if f"\n{heading}\n" in o.docstring.value]
    assert len(with_heading) > 3
    for value in with_heading:
        found = {s.kind.value for s in value.docstring.parsed}
        assert kind in found, value.path


def test_what_is_returned_is_one_thing(objects):
    for value in objects:
        for section in value.docstring.parsed:
            if section.kind.value == "returns":
                assert len(section.value) == 1, value.path


def test_no_doctest_is_taken_for_text(objects):
    for value in objects:
        for section in value.docstring.parsed:
            if section.kind.value == "text":
                assert ">>>" not in section.value, value.path


def test_a_named_tuple_has_attributes(objects):
    (solution,) = (o for o in objects if o.path.endswith("solver.Solution"))
    kinds = [s.kind.value for s in solution.docstring.parsed]
    assert kinds == ["text", "attributes", "examples"]


def test_what_follows_an_example_is_not_in_it():
    text = "A.\n\nExample:\n\n>>> 1\n1\n\nReference: a paper.\n"
    assert load_extension().with_sections(text) == (
        "A.\n\nExamples:\n    >>> 1\n    1\n\n**Reference:** a paper.\n"
    )
