"""Examples as people see them: pictures, texts and rows of tables."""

import base64
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_influence.callbacks.plots import are_images
from keras_influence.data.sparse_rows import SparseRows

# What a card shows before it is opened, and at most.
SHORT_TEXT, LONG_TEXT, SHORT_ROW = 280, 5000, 8
PIXELS, TINY = 192, 48
# What is longer, in parts of its width, is no picture.
LONGEST = 48


def shower(examples) -> Callable[[int], dict]:
    """A function that shows one example, by its place.

    Args:
        examples: array of images or of rows, a list of images of any sizes or
            of texts, a sparse matrix, a data frame or dict of columns, or
            `None`.

    Returns:
        A function from a place to a dict with `"image"`, a data URI, and
        `"tiny"`, whether it has few pixels; or `"text"` and `"rest"`; or
        `"row"` and `"rest"`, pairs of a column's name and a value; or nothing,
        for what is none of these.

    Example:
    >>> shower(["short", "long " * 100])(0)
    {'text': 'short', 'rest': ''}
    >>> shower({"age": [31, 47], "town": ["Bonn", "Ulm"]})(1)
    {'row': [('age', 47), ('town', 'Ulm')], 'rest': []}
    """
    if isinstance(examples, dict) or hasattr(examples, "columns"):
        names = list(examples)
        columns = [np.asarray(examples[name]) for name in names]
        if all(column.ndim == 1 for column in columns):
            return lambda i: _row(names, [column[i] for column in columns])
        return lambda i: {}
    if examples is None:
        return lambda i: {}
    if hasattr(examples, "tocsr") or isinstance(examples, tf.SparseTensor):
        rows = SparseRows(examples)
        return lambda i: _entries(rows.gather(tf.constant([i])).numpy()[0])
    if are_images(examples):
        images = np.asarray(examples)
        scale = _scale(images)
        return lambda i: _image(scale(images[i]))
    if _is_ragged(examples):
        images = list(map(np.asarray, examples))
        if not all(are_images(image[None]) for image in images):
            return lambda i: {}
        scale = _scale(np.concatenate([image.ravel() for image in images]))
        return lambda i: _image(scale(images[i]))
    if np.ndim(examples) == 2:
        names = range(1, np.shape(examples)[1] + 1)
        return lambda i: _row(names, examples[i])
    if np.ndim(examples) == 1:
        texts = list(examples)  # A pandas series looks in its index.
        return lambda i: _text(texts[i])
    return lambda i: {}


def _is_ragged(examples):
    """Whether NumPy makes no array of it, as of images of several sizes."""
    try:
        np.shape(examples)
    except ValueError:
        return True
    return False


def _image(image):
    if max(image.shape[:2]) > LONGEST * min(image.shape[:2]):
        return {}  # a series
    # Few pixels are shown as such, not as a blur.
    return {"image": _data_uri(image), "tiny": max(image.shape[:2]) <= TINY}


def _entries(row):
    """What is not zero, by the number of its column."""
    places = np.flatnonzero(row)
    return _row(places + 1, row[places])


def _row(names, values):
    cells = [
        (str(name), _plain(value))
        for name, value in zip(names, values, strict=True)
    ]
    return {"row": cells[:SHORT_ROW], "rest": cells[SHORT_ROW:]}


def _plain(value):
    """Python's own number, floats to the digits that a person reads."""
    if isinstance(value, np.floating):
        return float(f"{value:.6g}")
    return value.item() if isinstance(value, np.generic) else value


def _text(text):
    if not isinstance(text, str | bytes):
        return {}
    text = text.decode(errors="replace") if isinstance(text, bytes) else text
    if len(text) > LONG_TEXT:
        text = text[:LONG_TEXT] + " …"
    if len(text) <= 1.3 * SHORT_TEXT:
        return {"text": text, "rest": ""}
    cut = text.rfind(" ", SHORT_TEXT // 2, SHORT_TEXT)
    cut = SHORT_TEXT if cut < 0 else cut
    return {"text": text[:cut], "rest": text[cut:]}


def _scale(images):
    """What makes an image of such values one of gray levels."""
    if images.dtype == np.uint8:
        return lambda image: image
    low, high = float(images.min()), float(images.max())
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    span = max(high - low, 1e-6)
    return lambda image: np.round((image - low) / span * 255).astype("uint8")


def _data_uri(image):
    image = image[..., None] if image.ndim == 2 else image
    if max(image.shape[:2]) > PIXELS:
        small = tf.image.resize(
            image, (PIXELS, PIXELS), antialias=True, preserve_aspect_ratio=True
        )
        image = tf.cast(tf.clip_by_value(tf.round(small), 0, 255), "uint8")
    data = base64.b64encode(tf.io.encode_png(image).numpy())
    return f"data:image/png;base64,{data.decode()}"
