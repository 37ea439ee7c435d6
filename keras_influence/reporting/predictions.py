"""What a network says of examples, and which labels are least believed."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.data.examples import as_examples
from keras_influence.data.sparse_rows import SparseRows, gather_examples

BATCH = 256


def probabilities_of(model: keras.Model, x: Any) -> np.ndarray:
    """What a network says of inputs, batch by batch.

    Args:
        model: an `InfluenceModel`, or any `keras.Model` that gives logits.
        x: an array, a nest of arrays, or a sparse matrix.

    Returns:
        Float array of shape `(n, classes)`.
    """
    network: Any = getattr(model, "network", model)
    (x,) = as_examples(
        "examples", x if isinstance(x, tuple) else (x,), {1: "x"}
    )
    x = keras.tree.map_structure(
        lambda leaf: (
            leaf if isinstance(leaf, SparseRows) else tf.constant(leaf)
        ),
        x,
    )
    count = keras.tree.flatten(x)[0].shape[0]
    rows = tf.data.Dataset.range(count).batch(BATCH)
    logits = network.predict(
        rows.map(lambda rows: gather_examples(x, rows)), verbose=0
    )
    return ops.convert_to_numpy(ops.softmax(ops.cast(logits, "float32")))


def least_believed_first(quality, probabilities, labels) -> np.ndarray:
    """The places of examples, from the one that is most surely wrong.

    Args:
        quality: float array of shape `(n,)`, such as a model's
            `label_quality`; to two digits, and then the probability of the
            label decides. NaN, not known, counts as 0.5.
        probabilities: float array of shape `(n, classes)`.
        labels: int array of shape `(n,)`; -1, no label, takes the predicted
            one.

    Returns:
        Int array of shape `(n,)`.

    Example:
    >>> least_believed_first(
    ...     np.array([0.9, 0.2, 0.9]), np.array([[0.7, 0.3]] * 3), [0, -1, 1])
    array([1, 2, 0])
    """
    labels = np.where(
        np.asarray(labels) < 0, np.argmax(probabilities, 1), labels
    )
    likely = np.take_along_axis(probabilities, labels[:, None], 1)[:, 0]
    return np.lexsort((likely, np.nan_to_num(quality, nan=0.5).round(2)))
