"""What a network says of examples, and how far their labels are believed."""

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


def belief(weights, probabilities, labels) -> np.ndarray:
    """How far each label is believed: its weight times its probability.

    Most wrong labels have a weight close to 0, as have some hard ones; which
    of these are wrong the network says better than the last digits of weights.

    Args:
        weights: float array of shape `(n,)`.
        probabilities: float array of shape `(n, classes)`.
        labels: int array of shape `(n,)`; -1, no label, takes the predicted
            one.

    Returns:
        Float array of shape `(n,)`.

    Example:
    >>> belief(np.array([1.0, 0.5]), np.array([[0.2, 0.8]] * 2), [0, -1])
    array([0.2, 0.4])
    """
    labels = np.where(
        np.asarray(labels) < 0, np.argmax(probabilities, 1), labels
    )
    return weights * np.take_along_axis(probabilities, labels[:, None], 1)[:, 0]
