"""Keras' docstrings as griffe reads Google's: a doctest is a section."""

import re
import textwrap

import griffe

# Up to the next section, which begins at the margin with a name and a colon.
EXAMPLE = re.compile(
    r"^Example:\n+(.*?)(?=^(?:Reference|Returns|Raises|Args):|\Z)", re.M | re.S
)
REFERENCE = re.compile(r"^Reference: ", re.M)


def with_sections(docstring: str) -> str:
    """The docstring with `Examples:` indented and the reference marked."""

    def indent(match):
        return f"Examples:\n{textwrap.indent(match[1].rstrip(), '    ')}\n\n"

    return REFERENCE.sub("**Reference:** ", EXAMPLE.sub(indent, docstring))


class KerasDocstrings(griffe.Extension):
    """Rewrites every docstring before it is parsed."""

    def on_object(self, *, obj, **arguments) -> None:
        """Called by griffe for each object."""
        if not obj.docstring:
            return
        text = with_sections(obj.docstring.value)
        if obj.is_class and "__init__" not in obj.members:
            # Such as a named tuple, whose signature griffe does not know.
            text = text.replace("Args:\n", "Attributes:\n")
        obj.docstring.value = text
