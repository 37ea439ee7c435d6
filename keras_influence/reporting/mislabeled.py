"""Which labels of a data set do harm."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np

from keras_influence.data.examples import as_examples
from keras_influence.data.semi_supervised import semi_supervised
from keras_influence.influence.influence import Influence
from keras_influence.influence.post_hoc import influence_scores
from keras_influence.losses import GivenLabels
from keras_influence.models.influence_model import InfluenceModel
from keras_influence.reporting.predictions import (
    least_believed_first,
    probabilities_of,
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
    trusted: tuple,
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
            logits. It stays as it is.
        train: tuple `(x, y)` of arrays; `y` holds integers.
        trusted: tuple `(x, y)` of arrays, examples whose labels are right:
            some hundreds that somebody has checked.
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
        seed: integer, seed of the training anew. Defaults to `0`.
        verbose: as for `keras.Model.fit`. Defaults to `"auto"`.

    Returns:
        A `Mislabeled`.

    Raises:
        ValueError: if there is no loss, a set is empty, or the estimator
            found no solution.

    Example:
    ```python
    found = ki.find_mislabeled(network, (x, y), (x_checked, y_checked))
    x[found.order[:20]]  # look at these first
    ki.report(found.model, "report.html", x, y, history=found.history)
    ```

    Reference: Koh and Liang, "Understanding Black-box Predictions via
    Influence Functions", 2017, section 5.4, for influence.
    """
    loss = loss or getattr(network, "loss", None)
    scores = influence_scores(
        network, train, trusted, loss=loss, influence=influence
    )
    keras.utils.set_random_seed(seed)
    x, y = as_examples("train", tuple(train), {2: "(x, y)"})
    model = InfluenceModel(keras.models.clone_model(network), len(y))
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
    steps = max(1, round(len(y) / (batch_size * unlabeled_ratio)))
    history = model.fit(
        batches, epochs=epochs, steps_per_epoch=steps, verbose=verbose
    )
    quality = model.label_quality
    order = least_believed_first(quality, probabilities_of(model, x), y)
    return Mislabeled(
        order, scores, model.example_weights, quality, model, history
    )
