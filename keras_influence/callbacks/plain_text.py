"""Text from data, made safe for spreadsheets, Markdown and pictures."""

import numbers
import re
import unicodedata

import numpy as np

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NUMBER = re.compile(r"[+-]?\d+([.]\d+)?([eE][+-]?\d+)?")
# What Markdown and GitHub's additions to it give a meaning inside a line.
_MARKUP = re.compile(r"[\\`*_{}\[\]!|#~$@]|(?<=:)/|(?<=www)\.", re.IGNORECASE)


def one_line(value) -> str:
    r"""A value as text in one line, without control characters.

    Args:
        value: anything.

    Example:
    >>> one_line("two\n lines\x1b")
    'two lines'
    """
    return _encodable(" ".join(_CONTROL.sub(" ", str(value)).split()))


def spreadsheet_cell(value):
    """A value of a CSV file that no spreadsheet takes for a formula.

    Args:
        value: anything.

    Returns:
        Text that begins as a formula does, with an apostrophe before it; other
        values, numbers among them, as they are.

    Example:
    >>> [spreadsheet_cell(value) for value in ("=1+1", -2, "-2", "fine")]
    ["'=1+1", -2, '-2', 'fine']

    Reference: [CSV injection](https://owasp.org/www-community/attacks/CSV_Injection).
    """
    if value is None or isinstance(value, numbers.Number | np.bool_):
        return value
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    text = _encodable(str(text))
    # Spreadsheets read the full-width forms of these signs as well.
    start = unicodedata.normalize("NFKC", text.lstrip()[:1])
    if start in ("=", "+", "-", "@") or text[:1] in ("\t", "\r", "\n"):
        return text if _NUMBER.fullmatch(text) else f"'{text}"
    return text


def markdown_cell(value) -> str:
    r"""A value for a Markdown table, shown as it is: no markup, no links.

    Args:
        value: anything.

    Example:
    >>> print(markdown_cell("a | <b>, ![x](http://y)"))
    a \| &lt;b&gt;, \!\[x\](http:\//y)
    """
    text = _MARKUP.sub(r"\\\g<0>", one_line(value))
    text = re.sub(r"&(?=[#\w])", "&amp;", text)
    return text.replace("<", "&lt;").replace(">", "&gt;")


def _encodable(text):
    """Without halves of characters, which no file can hold."""
    return text.encode(errors="backslashreplace").decode()
