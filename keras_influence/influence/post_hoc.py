"""Influence after training: Eq. 6 over whole data sets."""

import tempfile
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.data.examples import as_examples
from keras_influence.data.sparse_rows import SparseRows, gather_examples
from keras_influence.influence.head import find_head
from keras_influence.influence.influence import Influence
from keras_influence.influence.objective import Objective, Term
from keras_influence.influence.per_example_loss import PerExampleLoss
from keras_influence.influence.scope import LastLayerScope
from keras_influence.influence.streamed import StreamedObjective
from keras_influence.influence.unrolled import Unrolled
from keras_influence.solvers import Reason

# Numbers (features and logits) that one step of the solver works on.
CHUNK = 2**25


def influence_scores(
    model: keras.Model,
    train: tuple | tf.data.Dataset,
    validation: tuple | tf.data.Dataset,
    *,
    loss: keras.losses.Loss | Callable | str | None = None,
    influence: Influence | Unrolled | None = None,
    batch_size: int = 256,
) -> np.ndarray:
    """How the validation loss changes with the weight of a training example.

    For a trained model and the objective `(1/n)·Σ w_i l_i` plus regularisers,
    with all `w_i = 1`: the derivative of the mean validation loss in every
    `w_i`. A negative score means that the example helps.

    Args:
        model: a built `keras.Model` that gives logits.
        train: tuple `(x, y)` of arrays, or a `tf.data.Dataset` of single
            examples, which is streamed and must give the same order each time.
        validation: like `train`.
        loss: a Keras loss of logits. `None` takes the model's compiled one.
            Defaults to `None`.
        influence: an `Influence` or `Unrolled`. `None` takes the default
            `Influence`. Defaults to `None`.
        batch_size: integer, examples in one pass of the network. Defaults to
            `256`.

    Returns:
        Numpy array of shape `(n,)`.

    Raises:
        ValueError: if there is no loss, a data set is empty, or the solver
            found no solution, as for a Hessian that is not positive definite.

    Example:
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> x, y = np.random.normal(size=(9, 4)), np.arange(9) % 3
    >>> influence_scores(model, (x, y), (x, y), loss=loss).shape
    (9,)

    Reference: Eq. 6 and appendix E of "Not All Unlabeled Data are Equal".
    """
    loss = loss or getattr(model, "loss", None)
    if loss is None:
        raise ValueError(
            "Argument `loss` is needed, because the model is not compiled. "
            "Received: loss=None"
        )
    loss = PerExampleLoss(loss)
    influence = influence or Influence()
    inside: Any = _batches("train", train, batch_size)
    outside: Any = _batches("validation", validation, batch_size)
    head = None
    if influence.parameters == "last_layer":
        head = find_head(model, next(iter(inside))[0])
    scope = influence.scope(model, head)
    if head is not None and not scope.is_deep:
        classes = head.classes
        inside = _features("train", scope, inside, loss, classes)
        outside = _features("validation", scope, outside, loss, classes)
        # What enters the head is computed: it is all that is left to run.
        scope = LastLayerScope(head, tf.convert_to_tensor)
    inner = _objective(scope, inside, loss, penalty=1.0)
    outer = _objective(scope, outside, influence.outer_loss(loss), penalty=0)
    scores, solution = influence.scores(inner, outer)
    if not bool(solution.valid):
        raise ValueError(
            "Argument `influence` found no solution: "
            f"{Reason(int(solution.reason)).text}. Received: "
            f"influence={influence!r}, relative residual "
            f"{float(solution.residual):.3g} after "
            f"{int(solution.products)} products"
        )
    # The objective is the mean of the losses: each counts by 1/n.
    return ops.convert_to_numpy(scores[0]) / len(scores[0])


def _objective(scope, batches, loss, penalty: float) -> Objective:
    """The mean loss over batches `(x, y)`, and so much of the regularisers."""
    sizes = [int(tf.shape(y)[0]) for _, y in batches]
    count, parts = sum(sizes), len(sizes)

    def objective(batch):
        x, y = batch
        weights = ops.ones((ops.shape(y)[0],), "float64") / count
        term = Term.of_labels(loss, y, weights)
        return scope.objective(x, [term], penalty_share=penalty / parts)

    if parts == 1 and isinstance(batches, list):
        return objective(batches[0])
    return StreamedObjective(objective, batches, parts)


def _features(name, scope, batches, loss, classes) -> list:
    """All that enters the head, as a list of few batches `(features, y)`."""
    layer = scope.head.layer
    dtype, width = layer.kernel.dtype, layer.kernel.shape[0]
    run = tf.function(
        scope.features, [batches.element_spec[0]], autograph=False
    )
    labels = []
    # The system keeps in memory what fits; the file has no name.
    with tempfile.TemporaryFile() as file:
        for x, y in batches:
            features = run(x).numpy()
            _check_finite(name, features)
            file.write(features.tobytes())
            labels.append(y.numpy())
        file.flush()
        labels = np.concatenate(labels)
        loss.check_labels(name, labels, classes)
        features = np.memmap(file, dtype, "r", shape=(len(labels), width))
    rows = max(CHUNK // (width + classes), 1)
    return [
        (features[i : i + rows], labels[i : i + rows])
        for i in range(0, len(labels), rows)
    ]


def _check_finite(name, features):
    wrong = ~np.isfinite(features).all(-1)
    if wrong.any():
        raise ValueError(
            f"Argument `{name}` must have inputs for which the network is "
            f"finite. Received: {wrong.sum()} examples in one batch whose "
            "features are NaN or infinite"
        )


def _batches(name, data, batch_size):
    """Arrays or a data set of single examples as batches `(x, y)`."""
    if isinstance(data, list):
        data = tuple(data)
    data = as_examples(name, data, {2: "(x, y)"})
    if isinstance(data, tf.data.Dataset):
        if not any(True for _ in data.take(1)):
            raise ValueError(
                f"Argument `{name}` must hold at least one example. Received "
                "an empty data set."
            )
        return data.batch(batch_size)
    rows = tf.data.Dataset.range(len(data[1])).batch(batch_size)
    data = keras.tree.map_structure(
        lambda leaf: (
            leaf if isinstance(leaf, SparseRows) else tf.constant(leaf)
        ),
        data,
    )
    return rows.map(lambda rows: gather_examples(data, rows))
