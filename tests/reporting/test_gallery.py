import base64

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tensorflow as tf

from keras_influence.reporting.gallery import LONG_TEXT, shower


def decoded(card):
    data = base64.b64decode(card["image"].partition("base64,")[2])
    return tf.io.decode_png(data).numpy()


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (lambda x: x, lambda x: x),
        (lambda x: (x / 255).astype("float32"), lambda x: x),
        (lambda x: x.astype("float32"), lambda x: x),
        (lambda x: x / 127.5 - 1, lambda x: x),
    ],
    ids=["uint8", "to one", "to 255", "around zero"],
)
@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 1), (8, 6, 3), (8, 6, 4)])
def test_images_of_any_range(scale, expected, shape):
    images = np.random.default_rng(0).integers(0, 256, (4, *shape), "uint8")
    images.flat[:2] = 0, 255
    card = shower(scale(images))(2)
    assert card["tiny"]
    np.testing.assert_array_equal(
        decoded(card).reshape(shape), expected(images[2])
    )


def test_large_images_become_small():
    card = shower(np.full((1, 400, 800, 3), 7, "uint8"))(0)
    assert decoded(card).shape == (96, 192, 3)
    assert np.all(decoded(card) == 7)
    assert not card["tiny"]


@pytest.mark.parametrize("shape", [(1000, 1), (2000, 3), (1, 1000, 3)])
def test_series_are_no_pictures(shape):
    """Of a pixel or none beside a thousand."""
    assert shower(np.full((2, *shape), 7, "uint8"))(1) == {}


def test_long_images():
    card = shower(np.full((1, 960, 20, 3), 7, "uint8"))(0)
    assert decoded(card).shape == (192, 4, 3)


def test_images_of_several_sizes():
    sizes = (4, 5), (9, 3), (300, 30)
    images = [np.full((*size, 3), k, "uint8") for k, size in enumerate(sizes)]
    show = shower(images)
    for k, shape in enumerate([(4, 5, 3), (9, 3, 3), (192, 19, 3)]):
        assert decoded(show(k)).shape == shape
        assert np.all(decoded(show(k)) == k)
    assert [show(k)["tiny"] for k in range(3)] == [True, True, False]
    # Levels from 0 to 1, over all of them.
    parts = [np.full((2, 2), 0.0), np.full((3, 2), 1.0)]
    assert [decoded(shower(parts)(k)).max() for k in range(2)] == [0, 255]
    assert shower([[1], [2, 3]])(0) == {}


def test_sparse_rows():
    matrix = scipy.sparse.csr_matrix([[0, 2.5, 0, 1], [0, 0, 0, 0]])
    show = shower(matrix)
    assert show(0) == {"row": [("2", 2.5), ("4", 1.0)], "rest": []}
    assert show(1) == {"row": [], "rest": []}


@pytest.mark.parametrize("length", [10, 400, 4000, 40_000])
def test_a_text_is_cut_between_words(length):
    text = "word " * (length // 5)
    card = shower([text])(0)
    whole = card["text"] + card["rest"]
    assert whole.rstrip(" …") == text[:LONG_TEXT].strip()
    assert not card["rest"] or card["text"].endswith("word")


def test_numbers_that_a_person_reads():
    assert shower(np.array([[0.1, 1e-9]], "float32"))(0)["row"] == [
        ("1", 0.1),
        ("2", 1e-9),
    ]


def test_rows_of_tables():
    frame = pd.DataFrame({"a": [1.5, 2], "b": ["x", "y"]}, index=[7, 0])
    assert shower(frame)(0) == {"row": [("a", 1.5), ("b", "x")], "rest": []}
    card = shower(np.arange(24).reshape(2, 12))(1)
    assert card["row"][0] == ("1", 12)
    assert len(card["row"]) + len(card["rest"]) == 12


@pytest.mark.parametrize(
    "examples",
    [None, np.zeros((2, 3, 4, 5, 6)), {"tokens": np.zeros((2, 3))}],
    ids=["none", "video", "tokens"],
)
def test_what_cannot_be_shown(examples):
    assert shower(examples)(0) == {}


@pytest.mark.parametrize("of", [list, lambda x: pd.Series(x, index=[1, 0, 2])])
def test_texts_of_which_one_is_missing(of):
    show = shower(of([None, "a", "b"]))
    assert show(0) == {}
    assert show(1)["text"] == "a"
