import weakref
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.replicas import of_all_replicas
from keras_influence.weighting.example_weights import ExampleWeights
from keras_influence.weighting.running_means import RunningMeans
from keras_influence.weighting.signals import Examples
from keras_influence.weighting.t_statistics import TStatistics
from keras_influence.weighting.weight_network import WeightNetwork
from keras_influence.weighting.weighting import Weighting, quality_of

# How far below 0 the sigmoid goes before it is cut, as in L0 regularization.
STRETCH = 0.1
# What part of a mean loss another must be below to be clearly lower.
CLEARLY_LOWER = 0.5
# The weight networks of models that were built.
_TAKEN: weakref.WeakSet = weakref.WeakSet()


@keras.saving.register_keras_serializable(package="keras_influence")
class PredictedWeights(Weighting):
    """The weights that a `WeightNetwork` gives, in place of `ExampleWeights`.

    The weight optimizer moves `φ`, which has no bounds; a stretched sigmoid
    keeps `λ` in its own and reaches 0: a wrong label that counts only a little
    is learned by heart all the same when training is long.

    Where labels were given and mean losses are kept, no weight is above the one
    that would be left if the labels of the batch with less than half of its
    mean loss took the highest: the network says how much of a batch to
    believe, and a label must not be among those that are learned late. Where no
    mean loss is half of another, all labels are learned alike, and the network
    alone decides.

    Args:
        weight_network: a `WeightNetwork`.
        num_examples: integer, the number of unlabelled examples, whose last
            weights are kept to look at; or `None` to keep none.
        initial_weight: float between 0 and `max_weight`, where every weight
            starts. Defaults to `1.0`.
        max_weight: float, the upper bound of a weight. Defaults to `2.0`.

    Raises:
        ValueError: if an argument is outside its range.

    Example:

    >>> weighting = PredictedWeights(WeightNetwork("loss"), num_examples=3)
    >>> weighting.build((None, 8))
    >>> weighting(Examples(np.array([0, 2]), losses=np.ones(2))).numpy()
    array([1., 1.], dtype=float32)

    Reference: Shu et al., "Meta-Weight-Net", 2019; Louizos, Welling and
    Kingma, "Learning Sparse Neural Networks through L0 Regularization", 2018,
    for the stretched sigmoid.
    """

    def __init__(
        self,
        weight_network: WeightNetwork,
        num_examples: int | None = None,
        initial_weight: float = 1.0,
        max_weight: float = 2.0,
        **kwargs,
    ):
        super().__init__(num_examples, **kwargs)
        _check_range(initial_weight, max_weight)
        keeps_evidence = "evidence" in weight_network.signals
        keeps_losses = "mean_loss" in weight_network.signals
        if num_examples is None and (
            weight_network.residual or keeps_evidence or keeps_losses
        ):
            raise ValueError(
                "A `WeightNetwork` with `residual=True` or one of the signals "
                "'evidence' and 'mean_loss' has numbers for every example: "
                "argument `num_unlabeled` must be how many there are. Without "
                "them, as in WeightNetwork(('loss', 'confidence', 'entropy')), "
                "it may be None. Received: num_unlabeled=None, "
                f"signals={weight_network.signals}, "
                f"residual={weight_network.residual}"
            )
        self.weight_network = weight_network
        self.initial_weight = initial_weight
        self.max_weight = max_weight
        self.last = self.residuals = None
        self.statistics = self.mean_losses = None
        if num_examples is None:
            return
        self.last = ExampleWeights(
            num_examples, initial_weight, max_weight, trainable=False
        )
        if weight_network.residual:
            self.residuals = ExampleWeights(num_examples, 0.0, None)
        if keeps_evidence:
            self.statistics = TStatistics(num_examples)
        if keeps_losses:
            self.mean_losses = RunningMeans(num_examples)

    @property
    def signals(self) -> list:
        """What the weights depend on."""
        return self.weight_network.signals

    @property
    def values(self) -> Any:
        """Every example's weight when it was last seen."""
        return super().values if self.last is None else self.last.values

    def quality(self) -> np.ndarray:
        """As many are doubted as have low weights: those of high mean loss.

        The weights say how many examples do harm, the mean losses which, and
        more surely than a weight that changes from step to step.
        """
        if self.mean_losses is None:
            return super().quality()
        means = self.mean_losses.values
        seen = np.isfinite(means)
        if not seen.any():
            return means
        # Losses with a term of the whole batch can be negative.
        means = means - min(means[seen].min(), 0.0) + 1e-12
        doubted = quality_of(ops.convert_to_numpy(self.values)[seen]) < 0.5
        # The losses of those that are doubted, and the highest of the others.
        ordered = np.sort(means[seen])[::-1]
        limits = np.append(ordered, ordered[-1] / 2)
        limit = limits[np.count_nonzero(doubted)]
        return limit / (limit + means)

    def build(self, input_shape: tuple) -> None:
        """Builds the weight network on signals of this many features."""
        network = self.weight_network
        if not self.built and network in _TAKEN:
            raise ValueError(
                "Argument `weight_network` must be one that no other model "
                "has: what it learned there would be where the weights start. "
                "Make another; `WeightNetwork(network=old.network)` goes on "
                f"from what an old one learned. Received: {network!r}"
            )
        _TAKEN.add(network)
        if not network.built:
            network.build((None, network.width(input_shape[-1])))
        self.built = True

    def start(self, initial_weight: float) -> None:
        """Lets all weights start at a number.

        Raises:
            ValueError: if it is not between 0 and `max_weight`.
        """
        _check_range(initial_weight, self.max_weight)
        self.initial_weight = initial_weight
        if self.last is not None:
            self.last.start(initial_weight)

    def call(self, examples: Examples) -> tf.Tensor:
        """The weights of examples, shape `(n,)`, from their signals."""
        if self.statistics is not None:
            evidence = self.statistics(examples.index)
            examples = examples._replace(evidence=evidence)
        if self.mean_losses is not None:
            mean_loss = self.mean_losses(examples.index, examples.losses)
            examples = examples._replace(mean_loss=mean_loss)
        outputs = self.weight_network(self.weight_network.observe(examples))
        outputs += _logit_of(self.initial_weight / self.max_weight)
        if self.residuals is not None:
            outputs += self.residuals(examples)
        weights = self.max_weight * _stretched_sigmoid(outputs)
        if self.mean_losses is None or examples.label is None:
            return weights
        limits = _limits(weights, examples.mean_loss, _has_label(examples))
        # The derivative goes on as if there were no limit.
        return weights - ops.stop_gradient(ops.relu(weights - limits))

    def after_update(
        self, examples: Examples, hypergradient: tf.Tensor
    ) -> None:
        """Counts the derivatives, where evidence is kept."""
        if self.statistics is not None:
            self.statistics.add(*of_all_replicas(examples.index, hypergradient))

    def after_step(self, examples: Examples, weights: tf.Tensor) -> None:
        """Keeps the weights, to look at, and the losses."""
        if self.mean_losses is not None:
            losses = examples.losses
            if examples.label is not None:
                # Labels were given, but none to this one.
                losses = ops.where(_has_label(examples), losses, float("nan"))
            self.mean_losses.add(*of_all_replicas(examples.index, losses))
        if self.last is not None:
            # Of a step that was taken back, the losses are NaN.
            kept = tf.math.is_finite(examples.losses)
            weights = ops.where(kept, weights, self.last(examples))
            self.last.assign(*of_all_replicas(examples.index, weights))

    def get_config(self) -> dict:
        """The constructor's arguments."""
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "weight_network": serialize(self.weight_network),
            "initial_weight": self.initial_weight,
            "max_weight": self.max_weight,
        }

    @classmethod
    def from_config(cls, config: dict) -> "PredictedWeights":
        """A `PredictedWeights` from `get_config`'s dictionary."""
        deserialize = keras.saving.deserialize_keras_object
        network = deserialize(config["weight_network"])
        return cls(**{**config, "weight_network": network})


def _check_range(initial_weight, max_weight):
    numbers = all(
        isinstance(number, (int, float, np.number))
        for number in (initial_weight, max_weight)
    )
    if not numbers or not 0 < initial_weight < max_weight < np.inf:
        raise ValueError(
            "With a `weight_network`, argument `max_weight` must be a "
            "finite number and `initial_weight` one between 0 and it; "
            "`weight_network=None` learns one free number an example. "
            f"Received: initial_weight={initial_weight!r}, "
            f"max_weight={max_weight!r}"
        )


def _stretched_sigmoid(outputs):
    """Any number to one from 0, which it reaches, to 1."""
    stretched = (1 + STRETCH) * ops.sigmoid(outputs) - STRETCH
    # The derivative goes on where it is cut: a weight of 0 can rise again.
    return stretched + ops.stop_gradient(ops.relu(-stretched))


def _has_label(examples):
    """Whether an example came with a label, and counts.

    A loss may count what has none by what the network itself predicts.
    """
    label = ops.convert_to_tensor(examples.label)
    if len(label.shape) == 2 and label.shape[-1] != 1:
        known = ops.any(label > 0, -1)  # probabilities, or zeros for none
    else:
        known = ops.reshape(label, (-1,)) >= 0
    return known & (examples.mask > 0)


def _limits(weights, losses, labeled):
    """What is left to each once labels of clearly lower loss took the highest.

    Examples without a label keep their own weight, and take none.
    """
    labeled &= tf.math.is_finite(losses)
    losses = ops.where(labeled, losses, float("inf"))
    ranked = ops.where(labeled, weights, -1.0)
    ranked, all_losses = of_all_replicas(ranked, losses)
    ordered, _ = tf.math.top_k(ranked, ops.shape(ranked)[0])
    # Losses with a term of the whole batch can be negative.
    lowest = ops.minimum(ops.min(all_losses), 0.0)
    clearly_lower = lowest + CLEARLY_LOWER * (losses - lowest)
    place = tf.searchsorted(ops.sort(all_losses), clearly_lower)
    return ops.where(labeled, ops.take(ordered, place), weights)


def _logit_of(share):
    """What the stretched sigmoid takes to `share`."""
    sigmoid = (share + STRETCH) / (1 + STRETCH)
    return np.log(sigmoid / (1 - sigmoid))
