"""Influence after training: Eq. 6 over whole data sets."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_influence.data.checks import check_integer
from keras_influence.data.repeats import check_repeats
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
    with all `w_i = 1` and `n` examples that the loss does not ignore: the
    derivative of the mean validation loss in every `w_i`. A negative score
    means that the example helps.

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


class RankedExamples(NamedTuple):
    """Training examples by what they do to single predictions.

    Args:
        ids: int array of shape `(m, k)`, the places of the `k` training
            examples that count most for each of `m` predictions, most first.
        scores: float array of shape `(m, k)`, as of `influence_scores`.
    """

    ids: np.ndarray
    scores: np.ndarray


class TopExamples(NamedTuple):
    """What `top_k` found.

    Args:
        helpful: `RankedExamples` that lower the loss of the prediction.
        harmful: `RankedExamples` that raise it.
    """

    helpful: RankedExamples
    harmful: RankedExamples


def top_k(
    model: keras.Model,
    train: tuple | tf.data.Dataset,
    validation: tuple | tf.data.Dataset,
    k: int = 10,
    *,
    loss: keras.losses.Loss | Callable | str | None = None,
    influence: Influence | Unrolled | None = None,
    batch_size: int = 256,
    verbose: int | str = "auto",
) -> TopExamples:
    """Which training examples help or hurt each of some predictions.

    Ranks, for every validation example by itself, the training examples by
    the derivative of its loss in their weights. Only the best are kept.

    Args:
        model: as of `influence_scores`.
        train: as of `influence_scores`.
        validation: as of `influence_scores`.
        k: integer, how many to name; all training examples where there are
            fewer. Defaults to `10`.
        loss: as of `influence_scores`. Defaults to `None`.
        influence: as of `influence_scores`. Defaults to `None`.
        batch_size: as of `influence_scores`. Defaults to `256`.
        verbose: as of `influence_scores`, also of the predictions. Defaults
            to `"auto"`.

    Returns:
        A `TopExamples`: `helpful` and `harmful`, each with `ids` and `scores`
        of shape `(m, k)` for `m` validation examples.

    Raises:
        ValueError: as `influence_scores`, or if `k` is not positive.

    Example:
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> x, y = np.random.normal(size=(9, 4)), np.arange(9) % 3
    >>> found = top_k(model, (x, y), (x[:2], y[:2]), k=3, loss=loss)
    >>> found.harmful.ids.shape
    (2, 3)

    Reference: Koh and Liang, "Understanding Black-box Predictions via
    Influence Functions", 2017.
    """
    check_integer("k", k, 1)
    trained = TrainedModel(model, train, loss, influence, batch_size, verbose)
    if isinstance(validation, tf.data.Dataset):
        check_repeats("validation", validation)
    ranked = [], []
    for block in trained.blocks(trained.read("validation", validation)):
        for vector in trained.solutions(block):
            scores = trained.scores_by(vector)
            for rows, sign in zip(ranked, (1, -1), strict=True):
                ids = _smallest(sign * scores, k)
                rows.append((ids, scores[ids]))
    return TopExamples(
        *(
            RankedExamples(*map(np.stack, zip(*rows, strict=True)))
            for rows in ranked
        )
    )


def self_influence(
    model: keras.Model,
    train: tuple | tf.data.Dataset,
    *,
    loss: keras.losses.Loss | Callable | str | None = None,
    influence: Influence | Unrolled | None = None,
    batch_size: int = 256,
    verbose: int | str = "auto",
) -> np.ndarray:
    """How an example's own loss changes with its weight in training.

    What `influence_scores` gives for an example that is the whole validation
    set, for each in turn. The more negative, the more the prediction depends
    on having been trained on: such examples are rare, hard, or wrong.

    Args:
        model: as of `influence_scores`.
        train: as of `influence_scores`.
        loss: as of `influence_scores`. Defaults to `None`.
        influence: as of `influence_scores`. Defaults to `None`.
        batch_size: as of `influence_scores`. Defaults to `256`.
        verbose: as of `influence_scores`. Defaults to `"auto"`.

    Returns:
        Numpy array of shape `(n,)`.

    Raises:
        ValueError: as `influence_scores`.

    Example:
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> x, y = np.random.normal(size=(9, 4)), np.arange(9) % 3
    >>> bool((self_influence(model, (x, y), loss=loss) < 0).all())
    True

    Reference: Feldman and Zhang, "What Neural Networks Memorize and Why",
    2020.
    """
    trained = TrainedModel(model, train, loss, influence, batch_size, verbose)
    scores = []
    for block in trained.blocks(trained.train):
        solutions = trained.solutions(block)
        gradients = trained.gradients(block, trained.loss)
        scores.append(-np.sum(solutions * gradients, axis=-1))
    return trained.of_the_mean(np.concatenate(scores))


def group_influence(
    model: keras.Model,
    train: tuple | tf.data.Dataset,
    validation: tuple | tf.data.Dataset,
    groups: Sequence | np.ndarray,
    **arguments: Any,
) -> dict:
    """How the validation loss changes with the weight of groups of examples.

    The sums of `influence_scores` over groups, such as the annotators, sources
    or classes that training examples are from.

    Args:
        model: as of `influence_scores`.
        train: as of `influence_scores`.
        validation: as of `influence_scores`.
        groups: sequence of length `n`, the group of every training example in
            the order of the data: numbers, strings or tuples.
        **arguments: keyword arguments of `influence_scores`.

    Returns:
        Dictionary from groups to scores, the most harmful group first.

    Raises:
        ValueError: as `influence_scores`, or if `groups` has another length.

    Example:
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> x, y = np.random.normal(size=(9, 4)), np.arange(9) % 3
    >>> groups = ["Ann", "Bob", "Eve"] * 3
    >>> scores = group_influence(model, (x, y), (x, y), groups, loss=loss)
    >>> sorted(scores)
    ['Ann', 'Bob', 'Eve']

    Reference: Koh et al., "On the Accuracy of Influence Functions for
    Measuring Group Effects", 2019.
    """
    if tf.is_tensor(groups):
        groups = keras.ops.convert_to_numpy(groups)
    if groups is None:
        _check_groups([], None)
    listed = getattr(groups, "tolist", None)
    names = listed() if listed else list(groups)
    # Not a number is one group, though it does not equal itself.
    names = [np.nan if isinstance(g, float) and g != g else g for g in names]
    if isinstance(train, (tuple, list)) and len(train) == 2:
        _check_groups(names, len(train[1]))
    scores = influence_scores(model, train, validation, **arguments)
    _check_groups(names, len(scores))
    # Not `np.unique`, which cannot sort names beside `None`.
    totals = dict.fromkeys(names, 0.0)
    for group, score in zip(names, scores.tolist(), strict=True):
        totals[group] += score
    return dict(sorted(totals.items(), key=lambda item: -item[1]))


def _check_groups(names, count):
    if len(names) != count or any(isinstance(name, list) for name in names):
        raise ValueError(
            "Argument `groups` must have one group for each training example, "
            f"a number, a string or a tuple. Received: {len(names)} groups, as "
            f"{names[:1]}, for {count} examples"
        )


def _smallest(scores, k):
    """The places of the `k` smallest numbers, in their order."""
    k = min(k, len(scores))
    places = np.argpartition(scores, k - 1)[:k]
    return places[np.argsort(scores[places], kind="stable")]
