"""Influence after training: Eq. 6 over whole data sets."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_influence.influence.influence import Influence
from keras_influence.influence.trained_model import TrainedModel
from keras_influence.influence.unrolled import Unrolled


def influence_scores(
    model: keras.Model,
    train: tuple | tf.data.Dataset,
    validation: tuple | tf.data.Dataset,
    *,
    loss: keras.losses.Loss | Callable | str | None = None,
    influence: Influence | Unrolled | None = None,
    batch_size: int = 256,
    verbose: int | str = "auto",
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
        verbose: `1` for a progress bar, `0` for none, `"auto"` for one where
            it is worth one: from 100 batches on. Defaults to `"auto"`.

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
    trained = TrainedModel(model, train, loss, influence, batch_size, verbose)
    return trained.scores(trained.read("validation", validation))
