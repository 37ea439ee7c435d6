"""Which labels of a data set do harm."""

import contextlib
import random
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_influence.data.checks import check_integer
from keras_influence.data.examples import as_examples
from keras_influence.data.semi_supervised import semi_supervised
from keras_influence.influence.influence import Influence
from keras_influence.influence.per_example_loss import PerExampleLoss
from keras_influence.influence.post_hoc import influence_scores
from keras_influence.influence.trained_model import loss_of
from keras_influence.layers.clone import untrained_clone
from keras_influence.losses import GivenLabels
from keras_influence.models.influence_model import InfluenceModel
from keras_influence.reporting.predictions import (
    least_believed_first,
    probabilities_of,
)

# Losses of rows with a number for every class.
ROWS = (
    keras.losses.CategoricalCrossentropy,
    keras.losses.CategoricalFocalCrossentropy,
)


class Mislabeled(NamedTuple):
    """What `find_mislabeled` found.

    Attributes:
        order: int array of shape `(n,)`, the places of the examples, the least
            believed first.
        influence: float array of shape `(n,)`, as `influence_scores` gives it:
            positive for examples that do harm.
        weights: float array of shape `(n,)`, learned in a training anew.
        quality: float array of shape `(n,)`, the `label_quality` of that
            training: below 0.5 a label is doubted.
        model: the `InfluenceModel` of that training, for `report`.
        history: what its `fit` returned.
    """

    order: np.ndarray
    influence: np.ndarray
    weights: np.ndarray
    quality: np.ndarray
    model: InfluenceModel
    history: keras.callbacks.History


def find_mislabeled(
    network: keras.Model,
    train: tuple,
    trusted: tuple | tf.data.Dataset,
    *,
    loss: keras.losses.Loss | Callable | str | None = None,
    influence: Influence | None = None,
    optimizer: keras.optimizers.Optimizer | str | None = None,
    epochs: int = 20,
    batch_size: int = 32,
    unlabeled_ratio: float = 2,
    seed: int = 0,
    verbose: str | int = "auto",
) -> Mislabeled:
    """Ranks the examples of a labelled set by the harm that they do.

    A copy of the network is trained anew, with weights, and its label quality
    makes the order. What `influence_scores` says of the network as it is stands
    beside it: which labels hurt it most, wrong or not.

    Args:
        network: a built `keras.Model` that was trained on `train` and gives
            logits. It stays as it is; the copy has its frozen layers and what
            preprocessing layers were adapted to.
        train: tuple `(x, y)` of arrays; `y` holds integers.
        trusted: the same, or a `tf.data.Dataset` of single examples, whose
            labels are right: some hundreds that somebody has checked.
        loss: a Keras loss of logits. `None` takes the network's compiled one.
            Defaults to `None`.
        influence: an `Influence`. `None` takes the default one. Defaults to
            `None`.
        optimizer: a `keras.optimizers.Optimizer` or its name, for the training
            anew. `None` takes `Adam(0.001)`. Defaults to `None`.
        epochs: integer, how often the training passes over `train`. Defaults
            to `20`.
        batch_size: integer, trusted examples a step. Defaults to `32`.
        unlabeled_ratio: number, other examples for each of those. Defaults to
            `2`.
        seed: integer, seed of the training anew, set for TensorFlow as
            `keras.utils.set_random_seed` does. Defaults to `0`.
        verbose: as for `keras.Model.fit`. Defaults to `"auto"`.

    Returns:
        A `Mislabeled`.

    Raises:
        ValueError: if there is no loss, a set is empty, its labels are not
            integers, an argument is outside its range, or the estimator found
            no solution.

    Example:
    ```python
    found = ki.find_mislabeled(network, (x, y), (x_checked, y_checked))
    x[found.order[:20]]  # look at these first
    ki.report(found.model, "report.html", x, y, history=found.history)
    ```

    Reference: Koh and Liang, "Understanding Black-box Predictions via
    Influence Functions", 2017, section 5.4, for influence.
    """
    check_integer("epochs", epochs, 1)
    if getattr(optimizer, "built", False):
        raise ValueError(
            "Argument `optimizer` must be a new one: it keeps what it learned "
            f"of another model. Received: optimizer={optimizer!r}"
        )
    x, y = train = _classes("train", train)
    if not isinstance(trusted, tf.data.Dataset):
        trusted = _classes("trusted", trusted)
    loss = loss_of(network, loss)
    if isinstance(PerExampleLoss(loss).loss, ROWS):
        raise ValueError(
            "Argument `loss` must be one of integer labels, which `train` and "
            "`trusted` have, as SparseCategoricalCrossentropy(from_logits="
            f"True). Received: loss={loss!r}"
        )
    with _seeded(seed), _judged_by("trusted"):
        model = InfluenceModel(untrained_clone(network), len(y))
        model.compile(
            optimizer=optimizer or keras.optimizers.Adam(0.001),
            loss=loss,
            unlabeled_loss=GivenLabels(),
            validation_set=trusted,
            metrics=["accuracy"],
        )
    batches = semi_supervised(
        labeled=trusted,
        unlabeled=train,
        batch_size=batch_size,
        unlabeled_ratio=unlabeled_ratio,
        seed=seed,
    )
    # After all else that could be refused: it can take long.
    scores = influence_scores(
        network, train, trusted, loss=loss, influence=influence
    )
    steps = max(1, round(len(y) / (batch_size * unlabeled_ratio)))
    history = model.fit(
        batches, epochs=epochs, steps_per_epoch=steps, verbose=verbose
    )
    quality = model.label_quality
    order = least_believed_first(quality, probabilities_of(model, x), y)
    return Mislabeled(
        order, scores, model.example_weights, quality, model, history
    )


@contextlib.contextmanager
def _judged_by(name):
    """Lets errors call `validation_set` what it is called here."""
    try:
        yield
    except ValueError as error:
        text = str(error).replace("validation_set", name)
        raise ValueError(text) from error


@contextlib.contextmanager
def _seeded(seed):
    """Seeds everything, and lets Python and NumPy go on as before."""
    before = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def _classes(name, data):
    """Examples `(x, y)` with `y` of shape `(n,)`, integers."""
    if isinstance(data, list):
        data = tuple(data)
    if not isinstance(data, tuple) or len(data) != 2:
        parts = f" with {len(data)} parts" if isinstance(data, tuple) else ""
        raise ValueError(
            f"`{name}` must be a tuple (x, y) of arrays, whose places are what "
            f"is found. Received: {name} of type {type(data).__name__}{parts}"
        )
    x, y = as_examples(name, data, {2: "(x, y)"})
    labels = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if labels.ndim != 1 or (labels != np.round(labels)).any():
        raise ValueError(
            f"`{name}` must have one whole number a row for its labels, the "
            f"class; `np.argmax(y, -1)` makes it of one-hot ones. Received: "
            f"labels of shape {y.shape} and type {y.dtype}"
        )
    return x, labels.astype("int64")
