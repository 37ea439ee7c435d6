"""A column of texts, and their labels."""

import re

import keras
import numpy as np
import scipy.sparse

from applications.own.data import OwnData
from applications.own.records import read_records
from keras_influence.data.checks import check_integer

CHUNK = 512
# Thai, Lao, Burmese and Khmer; Japanese and Chinese.
SCRIPTS = "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]"


def own_texts(
    seed: int,
    file: str = "",
    text: str = "text",
    label: str = "label",
    id: str = "",
    trusted: str = "trusted",
    trusted_share: float | None = None,
    words: int = 20_000,
) -> OwnData:
    """Texts of a table, as bags of words.

    Where words are written without spaces, as in Chinese and Thai, characters
    stand for words. Rows without a text are left out.

    Args:
        seed: int, seed of all draws.
        file: str, path of the table, CSV or Parquet.
        text: str, its column of texts. Defaults to `"text"`.
        label: str, its column of labels. Defaults to `"label"`.
        id: str, its column of unique names. Defaults to `""`: row numbers.
        trusted: str, its column that says which labels somebody has checked.
            Defaults to `"trusted"`.
        trusted_share: float, the share of labels to trust where there is no
            such column. Defaults to `None`.
        words: int, how many of the most frequent words, and pairs of words,
            the network knows. Defaults to `20_000`.
    """
    check_integer("words", words, 2)
    records = read_records(file, id, label, trusted, trusted_share, seed)
    if text not in records.columns:
        raise ValueError(
            f"{file} has no column {text!r}; it has {list(records.columns)} "
            "besides. Set `text`."
        )
    texts = records.columns[text]
    empty = (texts.str.strip(" \t\r\n") == "").to_numpy(bool)
    skipped = [(str(name), "no text") for name in records.ids[empty]]
    records, texts = records.take(~empty), texts[~empty].tolist()
    split = "character" if _without_spaces(texts) else "whitespace"
    count = keras.layers.TextVectorization(
        max_tokens=words, ngrams=2, split=split, output_mode="count"
    )
    count.adapt(texts or [""])
    vocabulary = count.get_vocabulary(include_special_tokens=False)
    if not vocabulary:
        raise ValueError(f"Column {text!r} of {file} has no words. Set `text`.")
    vectorize, x = _bags(texts, count, vocabulary, split)

    def complete(network):
        text = keras.Input((), dtype="string", name="text")
        return keras.Model(text, network(vectorize(text)))

    return OwnData(records, x, texts, complete, skipped=skipped)


def _without_spaces(texts):
    """Whether most letters are of scripts that put none between words."""
    without, letters = (
        sum(len(re.findall(kind, text)) for text in texts)
        for kind in (SCRIPTS, r"[^\W\d_]")
    )
    return 2 * without > letters


def _bags(texts, count, vocabulary, split):
    """What brings texts into bags of words, and the bags.

    The vocabulary is an argument: it is saved with the layer's configuration.
    What `adapt` finds is saved line by line, and a word may have a line break
    of Unicode in it, such as U+0085.
    """
    parts = [
        scipy.sparse.csr_matrix(count(texts[i : i + CHUNK]).numpy())
        for i in range(0, len(texts), CHUNK)
    ]
    counts = scipy.sparse.vstack(parts, format="csr")
    idf = np.log(1 + len(texts) / (1 + counts[:, 1:].getnnz(axis=0)))
    vectorize = keras.layers.TextVectorization(
        ngrams=2,
        split=split,
        output_mode="tf_idf",
        vocabulary=vocabulary,
        idf_weights=idf,
    )
    # As Keras does, unknown words weigh as much as the mean word.
    bags = counts.multiply(np.append(np.mean(idf), idf))
    return vectorize, bags.tocsr().astype(np.float32)
