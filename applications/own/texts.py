"""A column of texts, and their labels."""

import keras
import numpy as np
import scipy.sparse

from applications.own.data import OwnData
from applications.own.records import read_records

CHUNK = 512


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
    records = read_records(file, id, label, trusted, trusted_share, seed)
    if text not in records.columns:
        raise ValueError(
            f"{file} has no column {text!r}; it has {list(records.columns)} "
            "besides. Set `text`."
        )
    texts = records.columns[text].tolist()
    vectorize = keras.layers.TextVectorization(
        max_tokens=words, ngrams=2, output_mode="tf_idf"
    )
    vectorize.adapt(texts)
    parts = [
        scipy.sparse.csr_matrix(vectorize(texts[i : i + CHUNK]).numpy())
        for i in range(0, len(texts), CHUNK)
    ]

    def complete(network):
        text = keras.Input((), dtype="string", name="text")
        return keras.Model(text, network(vectorize(text)))

    x = scipy.sparse.vstack(parts, format="csr").astype(np.float32)
    return OwnData(records, x, texts, complete)
