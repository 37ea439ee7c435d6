"""From texts to token ids, once for every data set."""

import contextlib
import hashlib
import html
import os
import pathlib
import re
import tempfile
from collections.abc import Sequence
from zipfile import BadZipFile

import numpy as np
import tensorflow as tf

_TAGS = re.compile(
    r"</?(?:a|b|blockquote|br|div|em|font|h[1-6]|hr|i|img|li|ol|p|pre|small|"
    r"span|strong|u|ul)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)


def clean_html(text: str) -> str:
    """A text without HTML's tags and entities, in single spaces.

    Example:
    >>> clean_html("Good.<br /><br />Tom &amp; <i>Jerry</i>, a < b")
    'Good. Tom & Jerry , a < b'
    """
    return " ".join(html.unescape(_TAGS.sub(" ", text)).split())


def encode(
    texts: Sequence[str], tokenizer, sequence_length: int = 128
) -> np.ndarray:
    """Token ids of texts: `[CLS]`, the *end* of the text, `[SEP]`, padding.

    The end of a review tells more than its beginning.

    Args:
        texts: sequence of strings. An empty one has no token of its own.
        tokenizer: a `keras_nlp.models.BertTokenizer`.
        sequence_length: integer, at least 3. Defaults to `128`.

    Returns:
        int32 array of shape `(len(texts), sequence_length)`.
    """
    if sequence_length < 3:
        raise ValueError(
            "`sequence_length` must be at least 3: `[CLS]`, one token and "
            f"`[SEP]`. Received: sequence_length={sequence_length}"
        )
    start, end = tokenizer.cls_token_id, tokenizer.sep_token_id

    def pack(batch):
        tokens = tokenizer(batch)[:, 2 - sequence_length :]
        column = tf.ones_like(batch, "int32")[:, None]
        tokens = tf.concat([start * column, tokens, end * column], axis=1)
        return tokens.to_tensor(
            tokenizer.pad_token_id, shape=(None, sequence_length)
        )

    if not len(texts):
        return np.zeros((0, sequence_length), "int32")
    batches = tf.data.Dataset.from_tensor_slices(list(texts)).batch(256)
    batches = batches.map(pack, tf.data.AUTOTUNE)
    return np.concatenate(list(batches.as_numpy_iterator()))


def encode_once(
    name: str,
    texts: Sequence[str],
    tokenizer,
    sequence_length: int = 128,
    cache_dir=None,
) -> np.ndarray:
    """`encode`, kept in a file that the next call reads.

    Args:
        name: string, the name of the data set, for the file's name.
        texts: sequence of strings. Other texts, another vocabulary or another
            length make another file.
        tokenizer: a `keras_nlp.models.BertTokenizer`.
        sequence_length: integer, at least 3. Defaults to `128`.
        cache_dir: path of a folder. Defaults to `None`:
            `~/.keras/keras_influence`.

    Returns:
        int32 array of shape `(len(texts), sequence_length)`.
    """
    folder = pathlib.Path(cache_dir or "~/.keras/keras_influence").expanduser()
    name = f"{pathlib.Path(name).name}-{sequence_length}"
    file = folder / f"{name}-{_digest(texts, tokenizer)}.npz"
    # A file that was damaged since is written anew.
    damaged = contextlib.suppress(
        OSError, EOFError, ValueError, KeyError, BadZipFile
    )
    with damaged, file.open("rb") as data:
        return np.load(data, allow_pickle=False)["token_ids"]
    token_ids = encode(texts, tokenizer, sequence_length)
    folder.mkdir(parents=True, exist_ok=True)
    # A run that is killed here leaves no file with half of the tokens.
    with tempfile.TemporaryDirectory(dir=folder) as part:
        np.savez(pathlib.Path(part, "part.npz"), token_ids=token_ids)
        os.replace(pathlib.Path(part, "part.npz"), file)
    return token_ids


def bert_inputs(token_ids: np.ndarray, tokenizer) -> dict:
    """The inputs of a BERT for texts of one segment.

    Args:
        token_ids: int32 array of shape `(n, sequence_length)`.
        tokenizer: a `keras_nlp.models.BertTokenizer`.

    Returns:
        dict with `"token_ids"`, `"segment_ids"` and `"padding_mask"`.
    """
    return {
        "token_ids": token_ids,
        "segment_ids": np.zeros_like(token_ids),
        "padding_mask": token_ids != tokenizer.pad_token_id,
    }


def _digest(texts, tokenizer):
    how = [tokenizer.lowercase, tokenizer.strip_accents]
    digest = hashlib.sha256(repr(how).encode())
    for part in (tokenizer.get_vocabulary(), texts):
        digest.update(f"{len(part)} ".encode())
        for text in part:
            digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:16]
