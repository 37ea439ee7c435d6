"""What a user chose for an `InfluenceModel`, and what does not fit together."""

import inspect
import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_influence import solvers
from keras_influence.influence.added_losses import warn_of_added_losses
from keras_influence.influence.head import Head, find_head, trace_outputs
from keras_influence.influence.influence import Influence
from keras_influence.influence.unrolled import Unrolled
from keras_influence.losses import UnlabeledLoss
from keras_influence.models.schedule import Schedule
from keras_influence.optimizers import RowOptimizer
from keras_influence.weighting import (
    ExampleWeights,
    MeanBudget,
    PredictedWeights,
    Weighting,
    WeightNetwork,
)


def check_network(network: object) -> None:
    """Raises unless `network` is a Keras model."""
    if not isinstance(network, keras.Model):
        raise ValueError(
            "Argument `network` must be a `keras.Model`. Received: "
            f"network={network!r} of type {type(network)}"
        )
    if _is_overridden(network, "train_step", "compute_loss"):
        warnings.warn(
            f"`{type(network).__name__}` has a `train_step` or `compute_loss` "
            "of its own, which `InfluenceModel` does not call: it trains by "
            "the `loss` and the `unlabeled_loss` of `compile()`.",
            stacklevel=3,
        )
    strategy = tf.distribute.get_strategy()
    if isinstance(strategy, tf.distribute.ParameterServerStrategy):
        raise ValueError(
            "`InfluenceModel` cannot train under a `ParameterServerStrategy`, "
            "as Keras 3 cannot: take a `MirroredStrategy` or, on several "
            f"machines, a `MultiWorkerMirroredStrategy`. Received: {strategy}"
        )


def _is_overridden(model, *names):
    return any(
        getattr(type(model), name) is not getattr(keras.Model, name)
        for name in names
    )


def check_overridden(model: keras.Model) -> None:
    """Raises where a subclass of `InfluenceModel` has what nothing calls."""
    if _is_overridden(model, "compute_loss"):
        raise ValueError(
            "Training does not call `compute_loss()`: write a Keras loss or a "
            "`keras_influence.losses.UnlabeledLoss`, or `add_loss()` in a "
            f"layer. Received: `{type(model).__name__}`, which overrides it"
        )
    if "updates" not in inspect.signature(model.train_step).parameters:
        raise ValueError(
            "`train_step(data, updates=False)` is told whether this step "
            "updates the weights, and must pass that on. Received: "
            f"`{type(model).__name__}`, whose `train_step` has no `updates`"
        )


def head(
    network: keras.Model,
    inputs: Any,
    influence: Influence | Unrolled,
    schedule: Schedule,
) -> Head:
    """The network's last layer, where it suits the weights' learning.

    Args:
        network: a built `keras.Model`.
        inputs: as of `find_head`.
        influence: the estimator.
        schedule: the `Schedule` of updates.

    Raises:
        ValueError: as `find_head`, or if there is a single logit, which no
            loss on unlabelled examples takes.
    """
    head = find_head(network, inputs)
    adds_losses = head.adds_losses
    if schedule.learns and influence.parameters != "last_layer":
        _, adds_losses = trace_outputs(network, inputs)
    if schedule.learns:
        warn_of_added_losses(influence, adds_losses)
        check_moves(influence, head)
    if head.classes < 2:
        raise ValueError(
            "Argument `network` must have a logit for each of two classes or "
            "more; one with a single logit can end in "
            "`keras_influence.layers.BinaryLogits`. Received: layer "
            f"{head.layer.name!r} with {head.classes} logit"
        )
    return head


def check_moves(influence: Influence | Unrolled, head: Head) -> None:
    """Raises where the influence is through a last layer that never moves."""
    if influence.parameters == "last_layer" and not head.layer.trainable:
        raise ValueError(
            "The weights are judged through the last layer, which must be "
            "trainable. Received: layer "
            f"{head.layer.name!r} with trainable=False. Set it to True, or "
            "take an `influence` with `parameters='all'`"
        )


def weighting(
    num_unlabeled: int | None,
    initial_weight: float | None,
    max_weight: float | None,
    weight_network: WeightNetwork | str | None,
    mean_weight: float | None,
    own: Weighting | None,
) -> Weighting:
    """The `Weighting` that arguments of `InfluenceModel` ask for."""
    if own is not None:
        _check_own(own, num_unlabeled, initial_weight)
        return own if mean_weight is None else MeanBudget(own, mean_weight)
    named = isinstance(weight_network, str)
    if named and weight_network == "recommended":
        weight_network = WeightNetwork()
    elif weight_network is not None and not isinstance(
        weight_network, WeightNetwork
    ):
        raise ValueError(
            "Argument `weight_network` must be 'recommended', a "
            "`keras_influence.WeightNetwork` or None; a "
            "`keras_influence.Weighting` is given as `weighting`. Received: "
            f"weight_network={weight_network!r}"
        )
    start = initial_weight
    if start is None:  # until `compile` knows the unlabelled loss
        bounded = isinstance(max_weight, (int, float, np.number))
        start = min(1.0, max_weight / 2) if bounded else 1.0
    kept: Any = num_unlabeled, start, max_weight  # None is refused there
    if weight_network is None:
        weights = ExampleWeights(*kept)
    else:
        weights = PredictedWeights(weight_network, *kept)
    return weights if mean_weight is None else MeanBudget(weights, mean_weight)


def _check_own(own, num_unlabeled, initial_weight):
    if not isinstance(own, Weighting):
        raise ValueError(
            "Argument `weighting` must be a `keras_influence.Weighting`. "
            f"Received: weighting={own!r}"
        )
    if num_unlabeled is not None or initial_weight is not None:
        raise ValueError(
            "Argument `weighting` stands in place of `num_unlabeled` and "
            "`initial_weight`: leave them out. Received: "
            f"num_unlabeled={num_unlabeled!r}, "
            f"initial_weight={initial_weight!r}"
        )


def start(weighting: Weighting, unlabeled_loss: UnlabeledLoss) -> None:
    """Lets weights that were given no start begin where the loss says."""
    try:
        weighting.start(unlabeled_loss.initial_weight)
    except ValueError as error:
        raise ValueError(
            "Weights start at the `initial_weight` of the unlabelled loss, "
            "unless `InfluenceModel` is given one. Received: unlabeled_loss="
            f"{unlabeled_loss!r}. {error}"
        ) from None


def unlabeled(unlabeled_loss: UnlabeledLoss | None) -> UnlabeledLoss:
    """The argument itself, if it is a loss on unlabelled examples."""
    if not isinstance(unlabeled_loss, UnlabeledLoss):
        raise ValueError(
            "Argument `unlabeled_loss` must be a "
            "`keras_influence.losses.UnlabeledLoss`. Received: "
            f"unlabeled_loss={unlabeled_loss!r}"
        )
    return unlabeled_loss


def influence(chosen: Influence | Unrolled | None) -> Influence | Unrolled:
    """The estimator, by default one as exact as the scores of a batch are."""
    if chosen is not None:
        return chosen
    # Beside exact ones the scores correlate by more than 0.999.
    solver = solvers.Exact(0.01, "largest_eigenvalue", tolerance=2e-2)
    return Influence(solver=solver)


def check_arguments(arguments: dict, on_nonfinite: str) -> None:
    """Raises where `compile` was given what it cannot honour.

    Args:
        arguments: dictionary, the further arguments of `keras.Model.compile`.
        on_nonfinite: `"skip"` or `"raise"`.
    """
    if arguments.get("loss_weights") is not None:
        raise ValueError(
            "Argument `loss_weights` is not taken: the labelled loss counts "
            "by 1, the unlabelled one by the examples' weights. Scale "
            "`initial_weight`, or the loss itself. Received: "
            f"loss_weights={arguments['loss_weights']!r}"
        )
    if on_nonfinite not in ("skip", "raise"):
        raise ValueError(
            "Argument `on_nonfinite` must be 'skip' or 'raise'. "
            f"Received: on_nonfinite={on_nonfinite!r}"
        )


def check_learning(
    optimizer, weight_optimizer, influence, weighting: Weighting
) -> None:
    """Raises unless `compile` was given what can learn these weights.

    Args:
        optimizer: the network's.
        weight_optimizer: a `RowOptimizer`.
        influence: an `Influence` or `Unrolled`.
        weighting: the model's `Weighting`.
    """
    if optimizer is None:
        raise ValueError(
            "Argument `optimizer` must be a `keras.optimizers.Optimizer` or "
            "its name. Received: optimizer=None"
        )
    if not isinstance(weight_optimizer, RowOptimizer):
        raise ValueError(
            "Argument `weight_optimizer` must be a "
            "`keras_influence.optimizers.RowOptimizer`, such as `MAdam`: "
            "other optimizers move the weights of examples that are not "
            f"in the batch. Received: weight_optimizer={weight_optimizer!r}"
        )
    if not isinstance(influence, (Influence, Unrolled)):
        raise ValueError(
            "Argument `influence` must be a `keras_influence.Influence` or "
            f"`keras_influence.Unrolled`. Received: influence={influence!r}"
        )
    if influence.steps and weighting.signals:
        raise ValueError(
            "`Unrolled` moves the weights of past batches, which must depend "
            "on nothing but the ids: take `weight_network=None` and no "
            "`mean_weight`, or another influence. Received: "
            f"influence={influence!r}, weights by {list(weighting.signals)}"
        )


def draws(
    influence: Influence | Unrolled, schedule: Schedule, reuse: int
) -> int:
    """Of how many draws the examples are that judge an update.

    Args:
        influence: the estimator; features are of use to the last layer only.
        schedule: the `Schedule` of updates.
        reuse: integer, for how many steps of the network they are used.
    """
    deep = influence.parameters != "last_layer" or influence.steps
    if deep or not schedule.learns:
        return 1
    return schedule.updates_within(reuse)


def set_bounds(weight_optimizer: RowOptimizer, weighting: Weighting) -> None:
    """Gives the optimizer the weights' bounds, unless the user gave some.

    Raises:
        ValueError: if the user's are wider.
    """
    given, own = weight_optimizer.bounds, weighting.bounds
    if given is None:
        weight_optimizer.set_default_bounds(own)
    elif own is not None and not (own[0] <= given[0] < given[1] <= own[1]):
        raise ValueError(
            "Argument `weight_optimizer` has bounds outside those of a weight, "
            f"{own}: make the model with another `max_weight`, or leave "
            f"`bounds` out. Received: bounds={given}"
        )


def check_judged(model: Any) -> None:
    """Raises where an `InfluenceModel` is to learn, and nothing judges."""
    if model.schedule.learns and model.validation_set is None:
        raise ValueError(
            "Learning the weights needs a validation set to judge them "
            "by. Pass `validation_set=(x, y)` to `compile()` or, after "
            "loading a model, set `model.validation_set = (x, y)`; "
            "`inner_steps=None` keeps the weights constant."
        )


def check_fit(model: Any, x: Any, arguments: dict) -> None:
    """Raises where `fit` cannot do what its arguments ask for.

    Args:
        model: the `InfluenceModel`.
        x: argument of `fit`.
        arguments: dictionary, the others.
    """
    if x is None:
        raise ValueError(
            "`fit()` needs data, as `keras_influence.data.semi_supervised` "
            "makes it. Received: x=None"
        )
    if not model.compiled:
        raise ValueError(
            "Call `compile()` before `fit()`. A model that was loaded with "
            "`compile=False` has no losses and optimizers yet."
        )
    check_judged(model)
    if model.built and not model.trainable_variables:
        raise ValueError(
            "Nothing in `network` is trainable: there is nothing that weights "
            "could count for. Received: "
            f"network={model.network.name!r} with trainable="
            f"{model.network.trainable}"
        )
    for name, remedy in _REFUSED.items():
        given = arguments.get(name)
        if given is not None and not (name == "validation_split" and not given):
            raise ValueError(
                f"Argument `{name}` of `fit()` is not taken: {remedy}. "
                f"Received: {name} of type {type(given).__name__}"
            )
    validation = arguments.get("validation_data")
    shape = getattr(validation, "shape", None)
    if shape is not None:
        raise ValueError(
            "Argument `validation_data` of `fit()` must be a tuple (x, y) or a "
            "data set of such. Received: an array or a tensor of shape "
            f"{tuple(shape)}"
        )
    check_evaluated(getattr(validation, "element_spec", None))
    _check_count(model.weighting.num_examples, x)
    endless = isinstance(x, tf.data.Dataset) and (
        x.cardinality() == tf.data.INFINITE_CARDINALITY
    )
    if endless and arguments.get("steps_per_epoch") is None:
        raise ValueError(
            "Argument `steps_per_epoch` must be an integer: the data set has "
            "no end, and neither would the first epoch. Received: "
            "steps_per_epoch=None"
        )


def check_evaluated(data: Any) -> None:
    """Raises where data to evaluate, or its specification, is that of `fit`."""
    if isinstance(data, dict) and {"labeled", "unlabeled"} <= data.keys():
        raise ValueError(
            "Data of `keras_influence.data.semi_supervised` is for `fit()`. "
            "Evaluate on labelled examples, as `validation_data=(x, y)` or "
            f"`evaluate(x, y)`. Received: batches of {sorted(data)}"
        )


def _check_count(expected, data):
    """Compares `num_unlabeled` with what `semi_supervised` counted."""
    count = getattr(data, "num_unlabeled", None)
    if expected is None or count is None or count == expected:
        return
    message = (
        "Argument `num_unlabeled` must be the number of unlabelled examples. "
        f"Received: num_unlabeled={expected}, data with {count} of them"
    )
    if count > expected:
        raise ValueError(message)
    warnings.warn(
        f"{message}. The weights of the others stay as they are.", stacklevel=4
    )


_REFUSED = {
    "y": "the labels are in the data set, as "
    "`keras_influence.data.semi_supervised` makes it",
    "sample_weight": "give `labeled=(x, y, sample_weight)` to "
    "`keras_influence.data.semi_supervised`",
    "class_weight": "give each labelled example the weight of its class, as "
    "`labeled=(x, y, sample_weight)` to `keras_influence.data.semi_supervised`",
    "batch_size": "it is an argument of `keras_influence.data.semi_supervised`",
    "validation_split": "split with `keras_influence.data.split`, and pass "
    "`validation_data`",
}
