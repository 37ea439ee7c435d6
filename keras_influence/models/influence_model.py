import contextlib
import functools

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.influence.head import find_head, symbolic_inputs
from keras_influence.influence.influence import Influence
from keras_influence.influence.network_objective import ForwardPass
from keras_influence.influence.per_example_loss import PerExampleLoss
from keras_influence.influence.scope import scope_variables
from keras_influence.layers import Recording
from keras_influence.losses import UnlabeledLoss
from keras_influence.models.batch import Batch
from keras_influence.models.batch_weights import BatchWeights
from keras_influence.models.choices import check_choices
from keras_influence.models.objectives import (
    LastLayerObjectives,
    NetworkObjectives,
    Step,
    UnrolledObjectives,
)
from keras_influence.models.schedule import Schedule, TwoSteps
from keras_influence.models.step_buffer import StepBuffer
from keras_influence.models.training_loss import training_loss
from keras_influence.models.training_metrics import TrainingMetrics
from keras_influence.models.validation_set import ValidationSet
from keras_influence.optimizers import MAdam, RowOptimizer
from keras_influence.solvers import Unrolled
from keras_influence.weighting.example_weights import ExampleWeights
from keras_influence.weighting.predicted_weights import PredictedWeights
from keras_influence.weighting.weight_network import WeightNetwork


@keras.saving.register_keras_serializable(package="keras_influence")
class InfluenceModel(keras.Model):
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
            are `0` to `num_unlabeled - 1`. With a `weight_network`, `None`
            keeps no weights of single examples.
        initial_weight: float, where every weight starts. Defaults to `1.0`.
        max_weight: float, the upper bound of a weight; the lower is 0. `None`
            for no upper bound. Defaults to `2.0`.
        weight_network: a `keras_influence.WeightNetwork`, which gives the
            weights from what is seen of an example. `None` learns one number
            for every example. Defaults to `None`.
        mean_weight: float, a budget: the weights of the unmasked examples of
            a batch are rescaled to this mean, so that they can neither all
            fall to 0 nor all rise to their bound. `None` leaves them as they
            are. Defaults to `None`.

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
        num_unlabeled: int | None,
        initial_weight: float = 1.0,
        max_weight: float | None = 2.0,
        weight_network: WeightNetwork | None = None,
        mean_weight: float | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not isinstance(network, keras.Model):
            raise ValueError(
                "Argument `network` must be a `keras.Model`. Received: "
                f"network={network!r} of type {type(network)}"
            )
        self.network = network
        if mean_weight is not None and not mean_weight > 0:
            raise ValueError(
                "Argument `mean_weight` must be a positive number or None. "
                f"Received: mean_weight={mean_weight!r}"
            )
        self.mean_weight = mean_weight
        self.weight_network = weight_network
        weights = (num_unlabeled, initial_weight, max_weight)
        self.weighting = (
            ExampleWeights(*weights, name="weighting")
            if weight_network is None
            else PredictedWeights(weight_network, *weights, name="weighting")
        )
        self.built = network.built
        self._head = None
        self._updates = False
        self.progress = None

    @property
    def trainable_variables(self) -> list:
        """The network's: what the network's optimizer moves."""
        return self.network.trainable_variables

    @property
    def example_weights(self) -> np.ndarray:
        """The weights in the order of the unlabelled data, a numpy array."""
        return ops.convert_to_numpy(self.weighting.values)

    def call(self, inputs, training=None):
        """The network's logits."""
        return self.network(inputs, training=training)

    def compile(
        self,
        optimizer="sgd",
        loss=None,
        unlabeled_loss: UnlabeledLoss = None,
        weight_optimizer: RowOptimizer | None = None,
        influence: Influence | None = None,
        validation_set=None,
        inner_steps: int | None = 100,
        warmup_steps: int = 0,
        validation_draw: int = 256,
        metrics=None,
        **kwargs,
    ):
        """Configures the training of the network and of the weights.

        Args:
            optimizer: a `keras.optimizers.Optimizer` or its name, for the
                network. Defaults to `"sgd"`.
            loss: a Keras loss of logits, for the labelled examples.
            unlabeled_loss: a `keras_influence.losses.UnlabeledLoss`.
            weight_optimizer: a `keras_influence.optimizers.RowOptimizer`, for
                the weights. `None` takes `MAdam(0.01)`. Defaults to `None`.
            influence: a `keras_influence.Influence`. `None` takes the
                default one. Defaults to `None`.
            validation_set: tuple `(x, y)` of arrays or a `tf.data.Dataset` of
                single examples: what the weights are judged by. It is kept in
                memory, is not saved with the model, and is not `fit`'s
                `validation_data`.
            inner_steps: integer, network steps for every step of the weights.
                `None` keeps the weights constant. Defaults to `100`.
            warmup_steps: integer, network steps before the weights move.
                Defaults to `0`.
            validation_draw: integer, how many validation examples judge one
                update. Defaults to `256`.
            metrics: Keras metrics of the labelled examples. Defaults to
                `None`.
            **kwargs: as for `keras.Model.compile`.
        """
        weight_optimizer = weight_optimizer or MAdam(0.01)
        influence = Influence() if influence is None else influence
        check_choices(unlabeled_loss, weight_optimizer, influence)
        self._check_solver(influence.solver)
        schedule = Schedule(inner_steps, warmup_steps)
        optimizer = keras.optimizers.get(optimizer)
        self.per_example_loss = PerExampleLoss(loss)
        super().compile(
            optimizer=optimizer,
            loss=self.per_example_loss.loss,
            metrics=metrics,
            **kwargs,
        )
        self.unlabeled_loss = unlabeled_loss
        self.weight_optimizer = weight_optimizer
        self.weight_optimizer.bounds = self.weighting.bounds
        self.influence = influence
        solver = influence.solver
        unrolled = isinstance(solver, Unrolled)
        self.past_steps = StepBuffer(solver.steps) if unrolled else None
        self.schedule = schedule
        self.validation_draw = validation_draw
        self.validation_set = validation_set
        self.progress = TrainingMetrics(learned=schedule.learns)
        self._arguments = {
            "optimizer": optimizer,
            "loss": self.per_example_loss.loss,
            "unlabeled_loss": unlabeled_loss,
            "weight_optimizer": weight_optimizer,
            "influence": self.influence,
            "inner_steps": inner_steps,
            "warmup_steps": warmup_steps,
            "validation_draw": validation_draw,
            "metrics": metrics,
            **kwargs,
        }
        if self.network.built:
            self._prepare(symbolic_inputs(self.network))

    def _check_solver(self, solver):
        bound = self.weight_network is not None or self.mean_weight is not None
        if isinstance(solver, Unrolled) and bound:
            raise ValueError(
                "`Unrolled` moves the weights of past batches, which a "
                "`weight_network` and a `mean_weight` do not allow: choose "
                f"another solver. Received: influence.solver={solver!r}"
            )

    @property
    def validation_set(self) -> ValidationSet | None:
        """What the weights are judged by; set it anew after loading."""
        return self._validation_set

    @validation_set.setter
    def validation_set(self, data):
        if data is not None:
            data = ValidationSet(data, self.validation_draw)
        self._validation_set = data
        # The compiled step holds the set it was traced with.
        self.train_function = None
        self._check_labels()

    def _check_labels(self):
        if self._head is not None and self.validation_set is not None:
            self.per_example_loss.check_labels(
                "validation_set", self.validation_set.labels, self._head.classes
            )

    def _prepare(self, inputs):
        """Finds the head and creates the optimizers' variables, once."""
        if self._head is None and inputs is not None:
            self._head = find_head(self.network, inputs)
            self._check_labels()
        if not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        if self._head is None:
            return
        if self.weight_network is not None and not self.weighting.built:
            width = self.weight_network.width(self._head.width)
            self.weighting.build((None, width))
        self.weight_optimizer.build(self.weighting.learned)

    def fit(self, x=None, y=None, **kwargs):
        """As `keras.Model.fit`, on `keras_influence.data.semi_supervised`."""
        if self.schedule.learns and self.validation_set is None:
            raise ValueError(
                "Learning the weights needs a validation set to judge them "
                "by. Pass `validation_set=(x, y)` to `compile()` or, after "
                "loading a model, set `model.validation_set = (x, y)`; "
                "`inner_steps=None` keeps the weights constant."
            )
        # The data set is shuffled already; Keras warns where this is `True`.
        return super().fit(x, y, **{"shuffle": False, **kwargs})

    def _symbolic_build(self, iterator=None, data_batch=None):
        # Under a strategy Keras calls the model on a batch, to build it.
        if isinstance(data_batch, dict):
            data_batch = data_batch["labeled"]
        super()._symbolic_build(iterator, data_batch)

    def make_train_function(self, force=False):
        """Two compiled steps, with and without an update of the weights."""
        if self.train_function is None or force:
            make = super().make_train_function
            self.train_function = TwoSteps(self, make)
        return self.train_function

    @contextlib.contextmanager
    def tracing(self, updates: bool, steps: int):
        """Makes `train_step` the one with or without an update.

        Args:
            updates: boolean, whether the weights move in the step.
            steps: integer, steps of one execution.
        """
        before = self.steps_per_execution
        self._updates, self.steps_per_execution = updates, steps
        try:
            yield
        finally:
            self._updates, self.steps_per_execution = False, before

    def train_step(self, data):
        """One step of the network and, on update steps, of the weights."""
        batch = Batch.from_data(data)
        if self._head is None:
            self._prepare(batch.x)
        batch.index = self.weighting.checked(batch.index)
        batch.y = self.per_example_loss.checked(batch.y, self._head.classes)
        # Before the forward pass, which moves batch statistics and seeds.
        observed = self._updates or self.past_steps is not None
        objectives = self._objectives() if observed else None
        records = self._updates or "features" in self.weighting.signals
        recording = Recording() if records else contextlib.nullcontext()
        weights = BatchWeights(
            *(self.weighting, batch, self.mean_weight),
            lambda: self._head.features(recording),
        )
        with tf.GradientTape(persistent=self._updates) as tape:
            with recording:
                logits = self.network(batch.inputs(), training=True)
            losses = training_loss(
                batch,
                ops.cast(logits, self.network.trainable_variables[0].dtype),
                self.per_example_loss,
                self.unlabeled_loss,
                weights,
                self.optimizer.iterations,
            )
            total = losses.labeled + losses.unlabeled
            total += sum(ops.cast(p, total.dtype) for p in self.network.losses)
            replicas = self.distribute_strategy.num_replicas_in_sync
            scaled = self.optimizer.scale_loss(total / replicas)
        gradients = tape.gradient(scaled, self.trainable_variables)
        step = Step(
            batch,
            ForwardPass(recording, tape, losses.parts),
            self.per_example_loss,
            self._unlabeled_losses,
            losses.factors,
            losses.mask,
        )
        if self._updates:
            self._update_weights(objectives, step, weights)
        if self.past_steps is not None:
            objectives.remember(step)
        self.optimizer.apply_gradients(
            zip(gradients, self.trainable_variables, strict=True)
        )
        if self.weight_network is not None:
            self.weighting.remember(batch.index, losses.weights)
        self.progress.step(losses)
        self._loss_tracker.update_state(total)
        return self.compute_metrics(
            batch.x, batch.y, losses.logits, batch.sample_weight
        )

    @property
    def is_deep(self) -> bool:
        """Whether the influence differentiates through the network."""
        last_layer = self.influence.parameters == "last_layer"
        return not last_layer or self.past_steps is not None

    def _unlabeled_losses(self, logits, label):
        return self.unlabeled_loss(logits, label, self.optimizer.iterations)[0]

    def _objectives(self):
        parameters = self.influence.parameters
        if not self.is_deep:
            return LastLayerObjectives(self.network, self._head)
        if parameters == "last_layer":
            variables = self._head.variables
        else:
            variables = scope_variables(self.network, parameters)
        if self.past_steps is None:
            return NetworkObjectives(self.network, variables)
        return UnrolledObjectives(self.network, variables, self.past_steps)

    def _update_weights(self, objectives, step, weights):
        """Eq. 6 for the batch, and one step of its weights."""
        x, y = self.validation_set.draw(self.weight_optimizer.iterations)
        loss = self.influence.outer_loss(self.per_example_loss)
        index, hypergradient, solution = objectives.hypergradient(
            self.influence, step, objectives.outer(x, y, loss)
        )
        valid = solution.valid & ops.all(ops.isfinite(hypergradient))
        # M-Adam leaves examples with a zero gradient alone.
        hypergradient = ops.where(valid, hypergradient, 0.0)
        if self.weight_network is not None:
            self.weighting.add_evidence(index, hypergradient)
        self.weight_optimizer.apply(
            weights.gradients(index, hypergradient), self.weighting.learned
        )
        self.progress.update(hypergradient, solution.residual, ~valid)

    @property
    def metrics(self) -> list:
        """Keras' own metrics and those of training."""
        progress = self.progress.metrics.values() if self.progress else ()
        return [*super().metrics, *progress]

    def test_step(self, data):
        """As Keras' own, without the metrics of training."""
        logs = super().test_step(data)
        return {k: v for k, v in logs.items() if k not in self.progress.metrics}

    def _seeds(self):
        """The states of dropout's seeds, which Keras does not save."""
        saved = {id(v) for v in self.network.weights}
        return [v for v in self.network.variables if id(v) not in saved]

    def save_own_variables(self, store):
        """Saves what resumed training needs to draw the same dropout."""
        for i, seed in enumerate(self._seeds()):
            store[str(i)] = seed

    def load_own_variables(self, store):
        """Loads what `save_own_variables` saved."""
        for i, seed in enumerate(self._seeds()):
            seed.assign(store[str(i)])

    def get_config(self):
        """The constructor's arguments, serialised."""
        return {
            "name": self.name,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
            "network": keras.saving.serialize_keras_object(self.network),
            "num_unlabeled": self.weighting.num_examples,
            "initial_weight": self.weighting.initial_weight,
            "max_weight": self.weighting.max_weight,
            "weight_network": keras.saving.serialize_keras_object(
                self.weight_network
            ),
            "mean_weight": self.mean_weight,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """A model from `get_config`'s dictionary."""
        deserialize = functools.partial(
            keras.saving.deserialize_keras_object, custom_objects=custom_objects
        )
        return cls(**{k: deserialize(v) for k, v in config.items()})

    def get_compile_config(self):
        """The arguments of `compile`, without the validation set."""
        return keras.saving.serialize_keras_object(self._arguments)

    def compile_from_config(self, config):
        """Compiles from `get_compile_config`'s dictionary."""
        self.compile(**keras.saving.deserialize_keras_object(config))
