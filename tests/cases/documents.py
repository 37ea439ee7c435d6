"""Code that stands in documents, and how it is run."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_code(document: str, quicker: dict | None = None) -> dict:
    """Runs a document's Python blocks one after the other.

    Those that begin with `py` are for the eye: other libraries' calls.

    Args:
        document: path in the repository.
        quicker: dictionary from what stands in the code to what is run in its
            place. Defaults to `None`.

    Returns:
        The names that the code leaves behind.
    """
    text = (ROOT / document).read_text()
    for old, new in (quicker or {}).items():
        assert old in text, old
        text = text.replace(old, new)
    names = {"__name__": document}
    for block in BLOCK.finditer(text):
        # Errors then name the line of the document.
        above = text.count("\n", 0, block.start(1))
        exec(compile("\n" * above + block[1], document, "exec"), names)
    return names
