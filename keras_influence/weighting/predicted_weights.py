import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.weighting.example_weights import (
    ExampleWeights,
    checked_ids,
)
from keras_influence.weighting.t_statistics import TStatistics


@keras.saving.register_keras_serializable(package="keras_influence")
class PredictedWeights(keras.layers.Layer):
    """The weights that a `WeightNetwork` gives, in place of `ExampleWeights`.

    Args:
        weight_network: a `WeightNetwork`.
        num_examples: integer, the number of unlabelled examples, whose last
            weights are kept to look at; or `None` to keep none.
        initial_weight: float between 0 and `max_weight`, where every weight
            starts. Defaults to `1.0`.
        max_weight: float, the upper bound of a weight. Defaults to `2.0`.

    Raises:
        ValueError: if an argument is outside its range.
    """

    def __init__(
        self,
        weight_network,
        num_examples=None,
        initial_weight=1.0,
        max_weight=2.0,
        **kwargs,
    ):
        super().__init__(**{**kwargs, "dtype": "float32"})
        in_range = np.isscalar(initial_weight) and max_weight is not None
        if not in_range or not 0 < initial_weight < max_weight:
            raise ValueError(
                "With `weight_network`, argument `max_weight` must be a number "
                "and `initial_weight` one between 0 and it. Received: "
                f"initial_weight={initial_weight!r}, max_weight={max_weight!r}"
            )
        keeps_evidence = "evidence" in weight_network.signals
        if num_examples is None and (weight_network.residual or keeps_evidence):
            raise ValueError(
                "A `WeightNetwork` with `residual=True` or the signal "
                "'evidence' has numbers for every example: argument "
                "`num_unlabeled` must be how many there are. Without both, "
                "as in WeightNetwork(('loss', 'confidence', 'entropy')), it "
                "may be None. Received: num_unlabeled=None, "
                f"signals={weight_network.signals}, "
                f"residual={weight_network.residual}"
            )
        self.weight_network = weight_network
        self.num_examples = num_examples
        self.initial_weight = initial_weight
        self.max_weight = max_weight
        self.last = None
        if num_examples is not None:
            self.last = ExampleWeights(num_examples, initial_weight, max_weight)
        self.residuals = None
        if weight_network.residual:
            self.residuals = ExampleWeights(num_examples, 0.0, None)
        self.statistics = TStatistics(num_examples) if keeps_evidence else None

    # The optimizer moves φ, which has no bounds; the sigmoid keeps λ in its.
    bounds = None

    @property
    def values(self):
        """Every example's weight when it was last seen.

        Raises:
            ValueError: if the model keeps none.
        """
        if self.last is None:
            raise ValueError(
                "This model keeps no weights of single examples. Make it with "
                "`num_unlabeled` as the number of unlabelled examples."
            )
        return self.last.values

    @property
    def signals(self) -> list:
        """What the weights depend on."""
        return self.weight_network.signals

    @property
    def learned(self) -> list:
        """The variables that the weight optimizer moves: `φ`."""
        own = [] if self.residuals is None else self.residuals.learned
        return [*self.weight_network.network.trainable_variables, *own]

    def build(self, input_shape):
        """Builds the weight network on signals of this shape."""
        if not self.weight_network.built:
            self.weight_network.build(input_shape)
        self.built = True

    def call(self, index, signals):
        """The weights of examples, shape `(n,)`, from their signals."""
        share = self.initial_weight / self.max_weight
        outputs = self.weight_network(signals) + np.log(share / (1 - share))
        if self.residuals is not None:
            outputs += self.residuals(index)
        return self.max_weight * ops.sigmoid(outputs)

    def observe(self, examples):
        """The signals of examples, shape `(n, width)`."""
        return self.weight_network.observe(examples)

    def checked(self, index):
        """The ids themselves, if all are of examples."""
        return checked_ids(index, self.num_examples)

    def evidence(self, index):
        """The t statistics of examples, or `None` if they are not kept."""
        return None if self.statistics is None else self.statistics(index)

    def add_evidence(self, index, hypergradient):
        """Counts the derivatives of one update, where they are kept."""
        if self.statistics is not None:
            self.statistics.add(*_of_all_replicas(index, hypergradient))

    def remember(self, index, weights):
        """Keeps the weights of examples, to look at."""
        if self.last is not None:
            self.last.assign(*_of_all_replicas(index, weights))

    def gradients(self, index, signals, hypergradient) -> list:
        """`Σ_u d L(V) / d λ_u · dλ_u / dφ`, for each of `learned`."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for variable in self.learned:
                tape.watch(variable.value)
            weights = self(index, signals)
        variables = [variable.value for variable in self.learned]
        return tape.gradient(weights, variables, hypergradient)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "weight_network": serialize(self.weight_network),
            "num_examples": self.num_examples,
            "initial_weight": self.initial_weight,
            "max_weight": self.max_weight,
        }

    @classmethod
    def from_config(cls, config: dict) -> "PredictedWeights":
        """A `PredictedWeights` from `get_config`'s dictionary."""
        deserialize = keras.saving.deserialize_keras_object
        network = deserialize(config["weight_network"])
        return cls(**{**config, "weight_network": network})


def _of_all_replicas(*parts):
    replica = tf.distribute.get_replica_context()
    if replica.num_replicas_in_sync == 1:
        return parts
    return [replica.all_gather(part, axis=0) for part in parts]
