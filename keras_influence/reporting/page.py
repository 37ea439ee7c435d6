"""The page that a report is."""

import pathlib

FOLDER = pathlib.Path(__file__).parent


def write_page(path: str | pathlib.Path, **content) -> pathlib.Path:
    """Fills the template of a report.

    Args:
        path: path of the HTML file. Folders are created.
        **content: what the template names.

    Returns:
        The path.

    Raises:
        ImportError: if jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise ImportError(
            "A report needs jinja2, which is not installed. Install it with "
            '`pip install "keras-influence[report]"`.'
        ) from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("report.html").render(content)
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A text may hold halves of characters, which no file can.
    path.write_bytes(text.encode("utf-8", "backslashreplace"))
    return path
