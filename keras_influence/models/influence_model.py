import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.data.checks import check_integer
from keras_influence.influence.head import (
    build_for_training,
    check_plain,
    symbolic_inputs,
)
from keras_influence.influence.influence import Influence
from keras_influence.influence.per_example_loss import PerExampleLoss
from keras_influence.influence.unrolled import Unrolled
from keras_influence.keras_private import (
    build_metrics,
    input_specs,
    replace_layer,
)
from keras_influence.losses import UnlabeledLoss
from keras_influence.models import choices
from keras_influence.models.influence_trainer import InfluenceTrainer
from keras_influence.models.ring_buffer import RingBuffer
from keras_influence.models.schedule import Schedule
from keras_influence.models.training_metrics import TrainingMetrics
from keras_influence.models.validation_set import ValidationSet, check_judges
from keras_influence.optimizers import RowOptimizer
from keras_influence.weighting import Weighting, WeightNetwork


@keras.saving.register_keras_serializable(package="keras_influence")
class InfluenceModel(InfluenceTrainer):
    """Trains a network and, in the same `fit`, a weight for every example.

    The network minimises the labelled loss plus the weighted losses of the
    unlabelled examples. Every `inner_steps` steps the weights of the examples
    in the batch take a step against the influence of these examples on the
    loss of the validation set:

        d L(V) / d λ_u = -∇L(V)ᵀ H⁻¹ ∇l_u

    Args:
        network: a `keras.Model` of any kind that maps inputs to logits and
            ends in a Dense layer.
        num_unlabeled: integer, the number of unlabelled examples; their ids
            are `0` to `num_unlabeled - 1`. `None` with a `weight_network` that
            keeps nothing of single examples. Defaults to `None`.
        initial_weight: float, where every weight starts, or `None` for the
            `initial_weight` of the unlabelled loss: 0.1 for given labels, 1
            for others. Defaults to `None`.
        max_weight: float, the upper bound of a weight, before `mean_weight`
            rescales it; the lower is 0. `None` for no upper bound. Defaults to
            `2.0`.
        weight_network: a `keras_influence.WeightNetwork`, which gives the
            weights from what is seen of an example; `"recommended"` for its
            default signals, or `None` to learn one number for every example.
            Defaults to `"recommended"`.
        mean_weight: float, a budget: the weights of the unmasked examples of
            a batch are rescaled to this mean, so that they can neither all
            fall to 0 nor all rise to their bound. `None` leaves them as they
            are. Defaults to `None`.
        weighting: a `keras_influence.Weighting` of your own, in place of
            `num_unlabeled`, `initial_weight`, `max_weight` and
            `weight_network`. Defaults to `None`.

    Example:

    >>> import keras_influence as ki
    >>> x = np.random.normal(size=(40, 4)).astype("float32")
    >>> y = (x[:, 0] > 0).astype("int32")
    >>> network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> train = ki.data.semi_supervised(
    ...     (x[:8], y[:8]), x[16:], batch_size=8, unlabeled_ratio=1)
    >>> model = ki.InfluenceModel(network, num_unlabeled=24)
    >>> model.compile(
    ...     optimizer="sgd",
    ...     loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ...     unlabeled_loss=ki.losses.PseudoLabel(confidence=0.6),
    ...     validation_set=(x[8:16], y[8:16]), inner_steps=2)
    >>> history = model.fit(train, steps_per_epoch=4, verbose=0)
    >>> model.example_weights.shape
    (24,)

    Reference: Eq. 6 and algorithm 1 of "Not All Unlabeled Data are Equal".
    """

    def __init__(
        self,
        network: keras.Model,
        num_unlabeled: int | None = None,
        initial_weight: float | None = None,
        max_weight: float | None = 2.0,
        weight_network: WeightNetwork | str | None = "recommended",
        mean_weight: float | None = None,
        weighting: Weighting | None = None,
        **kwargs,
    ):
        choices.check_network(network)
        # Of the network: it tells whether losses are scaled.
        super().__init__(**{"dtype": network.dtype_policy, **kwargs})
        self.network = network
        self.weighting = choices.weighting(
            num_unlabeled=num_unlabeled,
            initial_weight=initial_weight,
            max_weight=max_weight,
            weight_network=weight_network,
            mean_weight=mean_weight,
            own=weighting,
        )
        self.built = network.built
        self._start_is_given = initial_weight is not None or bool(weighting)
        self._trained_before = False
        self.loss_state = None
        self._head = None
        self.validation_draw = 256
        self.memory = None
        self._validation_set = None

    @property
    def trainable_variables(self) -> list:
        """The network's: what the network's optimizer moves."""
        return self.network.trainable_variables

    @property
    def trainable_weights(self) -> list:
        """The network's, too."""
        return self.network.trainable_weights

    @property
    def example_weights(self) -> np.ndarray:
        """The weights in the order of the unlabelled data, a numpy array."""
        return ops.convert_to_numpy(self.weighting.values)

    @property
    def label_quality(self) -> np.ndarray:
        """How far each example can be believed: below 0.5 it is doubted.

        The best ranking there is of wrong labels, lowest first, in the order
        of the unlabelled data. NaN where it is known that an example was not
        seen with a label, as with the default `weight_network`.
        """
        return self.weighting.quality()

    def set_weights(self, weights: list) -> None:
        """As Keras' own; `compile()` lets them start at nothing else."""
        super().set_weights(weights)
        self._trained_before = True

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """The network's logits."""
        return self.network(inputs, training=training)

    def export(self, filepath: str, **kwargs) -> None:
        """As `keras.Model.export`, of the network, which is what serves."""
        self.network.export(filepath, **kwargs)

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer | str = "sgd",
        loss: keras.losses.Loss | Callable | str | None = None,
        unlabeled_loss: UnlabeledLoss | None = None,
        weight_optimizer: RowOptimizer | None = None,
        influence: Influence | Unrolled | None = None,
        validation_set: tuple | tf.data.Dataset | None = None,
        inner_steps: int | None = 2,
        warmup_steps: int = 0,
        validation_draw: int = 256,
        validation_reuse: int = 4,
        metrics: list | None = None,
        on_nonfinite: str = "skip",
        **kwargs,
    ) -> None:
        """Configures the training of the network and of the weights.

        What is left out is what did best in `benchmarks/EFFECT.md`;
        `keras_influence.preset("paper")` has the paper's settings.

        Args:
            optimizer: a `keras.optimizers.Optimizer` or its name, for the
                network. Defaults to `"sgd"`.
            loss: a Keras loss of logits, for the labelled examples. There is
                no default: `None` is refused.
            unlabeled_loss: a `keras_influence.losses.UnlabeledLoss`, likewise.
            weight_optimizer: a `keras_influence.optimizers.RowOptimizer`, for
                the weights. `None` takes `MAdam(0.01)` for weights that are
                predicted, `Evidence(2.0)` for free ones. Defaults to `None`.
            influence: a `keras_influence.Influence` or `Unrolled`. `None` is
                the default `Influence()`, solved to 2e-2: the scores of a
                batch are noisier than that. Defaults to `None`.
            validation_set: tuple `(x, y)` of arrays or a `tf.data.Dataset` of
                single examples: what the weights are judged by. It is kept in
                memory, not saved with the model, and not `fit`'s
                `validation_data`. Trusted labels may train and judge. `None`
                keeps the one there is. Defaults to `None`.
            inner_steps: integer, network steps for every step of the weights.
                `None` keeps the weights constant. Defaults to `2`.
            warmup_steps: integer, network steps before the weights move, those
                that the optimizer has taken before among them. Defaults to
                `0`.
            validation_draw: integer, how many validation examples judge one
                update. Defaults to `256`.
            validation_reuse: integer, for how many steps of the network the
                features of a validation example are used before it passes
                through the network again; `1` passes all that judge in every
                update. Influences of more than the last layer do not use
                them again. After `set_weights()` by hand, set
                `validation_set` anew: it forgets them. Defaults to `4`.
            metrics: Keras metrics of the labelled data. Defaults to `None`.
            on_nonfinite: `"skip"` to leave out steps whose losses or gradients
                are not finite, and count them as `steps_skipped`; `"raise"`
                to stop. Defaults to `"skip"`.
            **kwargs: as for `keras.Model.compile`, but `loss_weights`.
        """
        weight_optimizer = weight_optimizer or self.weighting.optimizer()
        influence = choices.influence(influence)
        unlabeled_loss = choices.unlabeled(unlabeled_loss)
        choices.check_overridden(self)
        choices.check_arguments(kwargs, on_nonfinite)
        choices.check_learning(
            optimizer, weight_optimizer, influence, self.weighting
        )
        schedule = Schedule(inner_steps, warmup_steps)
        check_integer("validation_draw", validation_draw, 1)
        check_integer("validation_reuse", validation_reuse, 1)
        per_example_loss = PerExampleLoss(loss)
        arguments = {
            "optimizer": keras.optimizers.get(optimizer),
            "loss": per_example_loss.loss,
            "metrics": metrics,
            **kwargs,
        }
        draws = choices.draws(influence, schedule, validation_reuse)
        head = self._known_head(influence, schedule)
        judges = self._validation_set
        if validation_set is not None:
            judges = ValidationSet(validation_set, validation_draw, draws)
        check_judges(judges, head, per_example_loss, influence.outer)
        choices.set_bounds(weight_optimizer, self.weighting)
        if head is not None:
            self._build_what_learns(head, unlabeled_loss, weight_optimizer)
        if not (self._start_is_given or self._has_trained):
            choices.start(self.weighting, unlabeled_loss)
        # Nothing is refused from here on, and nothing half compiled.
        self._trained_before = self._has_trained
        super().compile(**arguments)
        self.per_example_loss = per_example_loss
        self.unlabeled_loss = unlabeled_loss
        replace_layer(self, "loss_state", unlabeled_loss.state)
        self.weight_optimizer = weight_optimizer
        self.influence = influence
        steps = influence.steps
        replace_layer(self, "past_steps", _buffer("past_steps", steps))
        self.schedule = schedule
        self.on_nonfinite = on_nonfinite
        self.validation_draw = validation_draw
        memory = _buffer("validation_features", draws if draws > 1 else 0)
        replace_layer(self, "memory", memory)
        self.training_metrics = TrainingMetrics(learns=schedule.learns)
        self._arguments = {
            **arguments,
            "unlabeled_loss": unlabeled_loss,
            "weight_optimizer": weight_optimizer,
            "influence": influence,
            "inner_steps": inner_steps,
            "warmup_steps": warmup_steps,
            "validation_draw": validation_draw,
            "validation_reuse": validation_reuse,
            "on_nonfinite": on_nonfinite,
        }
        self._head, self._validation_set = head, judges
        if judges is not None:
            judges.divide(validation_draw, draws)
        if self.network.built:
            self._prepare()

    def _known_head(self, influence, schedule):
        """The head, or `None` where only the first batch will tell."""
        inputs = symbolic_inputs(self.network) if self.network.built else None
        if inputs is None:
            return None
        return choices.head(self.network, inputs, influence, schedule)

    def _prepare(self, inputs=None):
        """Finds the head and creates the optimizers' variables, once."""
        if self._head is None and inputs is not None:
            self._build_for_training(inputs)
            chosen = self.influence, self.schedule
            head = choices.head(self.network, inputs, *chosen)
            judges, loss = self._validation_set, self.per_example_loss
            check_judges(judges, head, loss, self.influence.outer)
            self._head = head
        self.built = self.network.built
        self._make_room()
        if not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        # Here, if it can be, so that there is something to load into.
        if self._head is not None:
            self._build_what_learns(
                self._head, self.unlabeled_loss, self.weight_optimizer
            )
        elif self.weighting.built:
            self.weight_optimizer.build(self.weighting.trainable_variables)

    def _build_what_learns(self, head, unlabeled_loss, weight_optimizer):
        unlabeled_loss.start(
            self.network, head.classes, self.weighting.num_examples
        )
        if not self.weighting.built:
            self.weighting.build((None, head.width))
        weight_optimizer.build(self.weighting.trainable_variables)

    def _build_for_training(self, inputs):
        known = len(self.trainable_variables)
        build_for_training(self.network, inputs)
        if self.optimizer.built and len(self.trainable_variables) > known:
            raise ValueError(
                "`compile()` knew the network without the layers that only "
                "training calls. Call it before the network was called, or "
                "after `network(x, training=True)`. Received: "
                f"network={self.network.name!r}"
            )

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Any = None,
        **kwargs,
    ) -> Any:
        """As `keras.Model.fit`, on `keras_influence.data.semi_supervised`."""
        choices.check_fit(self, x, {"y": y, "batch_size": batch_size, **kwargs})
        inputs = input_specs(self, x)
        if self._head is None and inputs is not None:
            self._prepare(inputs)
        if self._head is not None:
            check_plain(self._head.layer)
            build_metrics(self, x, self._head.classes)
        # The data set is shuffled already; Keras warns where this is `True`.
        kwargs = {"shuffle": False, **kwargs}
        return super().fit(
            x, y, batch_size, epochs, verbose, callbacks, **kwargs
        )

    def get_config(self) -> dict:
        """The constructor's arguments, serialised."""
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "dtype": serialize(self.dtype_policy),
            "network": serialize(self.network),
            "weighting": serialize(self.weighting),
            "start_is_given": self._start_is_given,
        }

    @classmethod
    def from_config(
        cls, config: dict, custom_objects: dict | None = None
    ) -> "InfluenceModel":
        """A model from `get_config`'s dictionary."""
        deserialize = functools.partial(
            keras.saving.deserialize_keras_object, custom_objects=custom_objects
        )
        arguments = dict(config)
        # Files of before do not tell.
        start_is_given = arguments.pop("start_is_given", True)
        model = cls(**{k: deserialize(v) for k, v in arguments.items()})
        model._start_is_given = start_is_given
        return model

    def get_compile_config(self) -> dict:
        """The arguments of `compile`, without the validation set."""
        if not self.compiled:
            return {}
        serialize: Any = keras.saving.serialize_keras_object
        return serialize(self._arguments)

    def compile_from_config(self, config: dict) -> None:
        """Compiles from `get_compile_config`'s dictionary."""
        self.compile(**keras.saving.deserialize_keras_object(config))


def _buffer(name, length):
    return RingBuffer(length, name=name) if length else None
