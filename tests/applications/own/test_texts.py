import keras
import numpy as np
import pandas as pd
import pytest

from applications.own.texts import own_texts


@pytest.fixture
def path(tmp_path):
    table = {
        "review": ["good good film", "bad film", "Good, <br />FILM!", "so, so"],
        "label": ["+", "-", "+", ""],
        "trusted": [1, 1, 0, 0],
    }
    pd.DataFrame(table).to_csv(tmp_path / "a.csv", index=False)
    return str(tmp_path / "a.csv")


def assert_saved(data, texts, folder):
    """That the finished network, loaded again, takes the texts; gives it."""
    network = keras.Sequential(
        [keras.Input(data.x.shape[1:]), keras.layers.Dense(2)]
    )
    data.complete(network).save(folder / "a.keras")
    loaded = keras.saving.load_model(folder / "a.keras")
    found = loaded.predict(
        keras.ops.convert_to_tensor(texts, "string"), verbose=0
    )
    expected = network.predict(data.x.toarray(), verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    return loaded


def test_bags_of_words(path):
    data = own_texts(0, path, text="review")
    x = data.x.toarray()
    assert x.dtype == "float32"
    assert len(x) == 4
    assert np.any(x[0] != x[1])
    assert data.labels.tolist() == [0, 1, 0, -1]
    assert data.shown[1] == "bad film"


def test_the_finished_network_takes_texts(path):
    data = own_texts(0, path, text="review")
    network = keras.Sequential(
        [keras.Input(data.x.shape[1:]), keras.layers.Dense(2)]
    )
    texts = keras.ops.convert_to_tensor(data.shown, "string")
    found = data.complete(network).predict(texts, verbose=0)
    expected = network.predict(data.x.toarray(), verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_weights_of_words_are_those_of_keras(path):
    data = own_texts(0, path, text="review")
    layer = keras.layers.TextVectorization(ngrams=2, output_mode="tf_idf")
    layer.adapt(data.shown)
    expected = layer(data.shown).numpy()
    np.testing.assert_allclose(data.x.toarray(), expected, rtol=1e-6)


def test_words_with_line_breaks_can_be_saved(tmp_path):
    words = ["a\x85", "a\x85", "\u2028b", "c", "\x85"]
    trusted = [1, 1, 1, 1, 0]
    table = {"text": words, "label": [*"xyxyy"], "trusted": trusted}
    pd.DataFrame(table).to_csv(tmp_path / "a.csv", index=False)
    data = own_texts(0, str(tmp_path / "a.csv"))
    assert_saved(data, words, tmp_path)


def test_a_column_without_words(tmp_path):
    table = {"text": ["", "..", ""], "label": [*"xyx"], "trusted": [1, 1, 0]}
    pd.DataFrame(table).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match=r"Column 'text' of .* has no words"):
        own_texts(0, str(tmp_path / "a.csv"))


def test_a_column_that_is_not_there(path):
    with pytest.raises(
        ValueError, match=r"no column 'text'; it has \['review'\]"
    ):
        own_texts(0, path)


@pytest.mark.parametrize("words", [0, 1, 2.5])
def test_too_few_words(path, words):
    with pytest.raises(ValueError, match="`words` must be an integer of at"):
        own_texts(0, path, text="review", words=words)


def test_rows_without_a_text_are_left_out(tmp_path):
    table = {
        "text": ["a b", " ", "c d", "", "e"],
        "label": [*"xxyyx"],
        "trusted": [1, 1, 1, 0, 0],
    }
    pd.DataFrame(table).to_csv(tmp_path / "a.csv", index=False)
    data = own_texts(0, str(tmp_path / "a.csv"))
    assert data.skipped == [("2", "no text"), ("4", "no text")]
    assert data.shown == ["a b", "c d", "e"]
    assert data.x.shape[0] == len(data.labels) == len(data.trusted) == 3


@pytest.mark.parametrize(
    ("texts", "known"),
    [
        (["好电影很棒", "坏电影", "好", "坏"], {"好", "坏", "电 影"}),
        (["หนังดี", "หนังแย่", "ดี", "แย่"], {"ด ี"}),
        (["良い映画", "悪い映画", "良い", "悪い"], {"良 い", "映 画"}),
    ],
)
def test_words_without_spaces(tmp_path, texts, known):
    table = {"text": texts, "label": [*"+-+-"], "trusted": [1, 1, 0, 0]}
    pd.DataFrame(table).to_csv(tmp_path / "a.csv", index=False)
    data = own_texts(0, str(tmp_path / "a.csv"))
    loaded = assert_saved(data, texts, tmp_path)
    assert known <= set(loaded.layers[1].get_vocabulary())
