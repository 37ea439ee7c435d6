import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.data.checks import check_label_form
from keras_influence.influence.forward_pass import TrainingPass
from keras_influence.influence.head import Head
from keras_influence.influence.influence import Influence
from keras_influence.influence.per_example_loss import PerExampleLoss
from keras_influence.influence.unrolled import Unrolled
from keras_influence.keras_private import (
    batches_seen,
    loss_tracker,
    metric_variables,
    own_statistics,
    reducible,
    replace_layer,
    scales_loss,
    symbolic_build,
)
from keras_influence.losses import UnlabeledLoss
from keras_influence.losses.unlabeled_loss import softmax_shares
from keras_influence.models.batch import Batch
from keras_influence.models.choices import check_evaluated, check_judged
from keras_influence.models.hypergradient import (
    Step,
    drawn,
    hypergradient,
    inner_objective,
    outer_objective,
    past_steps,
    stored_step,
)
from keras_influence.models.nonfinite import (
    Statistics,
    all_finite,
    replaced_unless,
)
from keras_influence.models.ring_buffer import RingBuffer
from keras_influence.models.schedule import Schedule
from keras_influence.models.train_function import TrainFunction
from keras_influence.models.training_loss import training_loss
from keras_influence.models.training_metrics import TrainingMetrics
from keras_influence.models.validation_set import ValidationSet, check_judges
from keras_influence.optimizers import RowOptimizer
from keras_influence.solvers import Reason
from keras_influence.weighting import Weighting


class InfluenceTrainer(keras.Model):
    """The steps of an `InfluenceModel`, which is configured in there.

    Reference: algorithm 1 of "Not All Unlabeled Data are Equal".
    """

    network: keras.Model
    weighting: Weighting
    past_steps: RingBuffer | None
    memory: RingBuffer | None
    _head: Head | None
    _trained_before: bool
    _validation_set: ValidationSet | None
    # Of `compile`.
    optimizer: keras.optimizers.Optimizer
    per_example_loss: PerExampleLoss
    unlabeled_loss: UnlabeledLoss
    weight_optimizer: RowOptimizer
    influence: Influence | Unrolled
    schedule: Schedule
    on_nonfinite: str
    validation_draw: int
    training_metrics: TrainingMetrics

    @property
    def validation_set(self) -> ValidationSet | None:
        """What the weights are judged by; set it anew after loading."""
        return self._validation_set

    @validation_set.setter
    def validation_set(self, data: tuple | list | tf.data.Dataset | None):
        new = None
        if data is not None:
            new = ValidationSet(data, self.validation_draw, self._draws)
            if self._head is not None:
                loss, outer = self.per_example_loss, self.influence.outer
                check_judges(new, self._head, loss, outer)
        # After loading there was none, and what is remembered is of this one.
        if self._validation_set is not None and self.memory is not None:
            self.memory.clear()
        self._validation_set = new
        self._make_room()
        # The compiled step holds the set it was traced with.
        if self.train_function is not None:
            self.make_train_function(force=True)

    @property
    def _draws(self):
        return 1 if self.memory is None else self.memory.length

    def _make_room(self):
        """For features of validation examples, once it is known how much."""
        data, head, memory = self._validation_set, self._head, self.memory
        if data is None or head is None or memory is None or data.draws == 1:
            return
        shape = data.batch_size, head.width
        features = tf.zeros(shape, head.variables[0].dtype)
        example = drawn(features, data.draw(0)[1], tf.ones(shape[:1]))
        with self.distribute_strategy.scope():
            # A file may have had draws of another size.
            if not memory.fits(example):
                memory = RingBuffer(memory.length, name=memory.name)
                replace_layer(self, "memory", memory)
            memory.prepare(example)

    def make_train_function(self, force: bool = False) -> TrainFunction:
        """Two compiled steps, with and without an update of the weights."""
        if self.train_function is None or force:
            self.train_function = TrainFunction(self)
        return self.train_function

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        symbolic_build(self, iterator, data_batch)

    def _symbolic_build(self, iterator=None, data_batch=None):
        # Under a strategy Keras calls the model on a batch, to build it.
        if isinstance(data_batch, dict):
            data_batch = data_batch["labeled"]
        super()._symbolic_build(iterator, data_batch)
        # Replicas cannot make, within a step, what they share.
        if data_batch is not None:
            self._prepare(data_batch[0])

    def train_step(self, data: Any, updates: bool = False) -> dict:
        """One step of the network and, if `updates`, of the weights.

        Args:
            data: an element of `keras_influence.data.semi_supervised`.
            updates: boolean, whether the weights move. Defaults to `False`.
        """
        batch = self._checked(Batch.from_data(data))
        statistics = Statistics(
            [*own_statistics(self.network), *self._loss_variables]
        )
        batch = self._prepared(batch)
        again = updates or self.past_steps is not None
        forward = TrainingPass(self.network, [self.head.layer], again)
        with forward:
            logits = forward(batch.inputs())
            losses = self._training_loss(batch, logits, forward)
            total = losses.labeled + losses.unlabeled
            total += sum(ops.cast(p, total.dtype) for p in self.network.losses)
            scaled = self.optimizer.scale_loss(total)
        share = 1 / self.distribute_strategy.num_replicas_in_sync
        gradients = forward.tape.gradient(
            [scaled], self.trainable_variables, [ops.cast(share, scaled.dtype)]
        )
        finite = all_finite(total, gradients)
        step = Step(
            batch=batch,
            forward_pass=forward.differentiable(losses.parts),
            factors=losses.factors,
            mask=losses.mask,
        )
        if updates:
            self._update_weights(step, losses, finite)
        if self.past_steps is not None:
            self.past_steps.push(stored_step(self._scope(), step))
        self._move_network(gradients, finite)
        statistics.restore_unless(finite)
        self.weighting.after_step(
            _unless_skipped(losses.examples, finite), losses.weights
        )
        return self._logs(batch, losses, total, finite)

    @property
    def head(self) -> Head:
        """The network's last layer, which the first batch finds at the latest.

        Raises:
            ValueError: if it is not known yet.
        """
        if self._head is None:
            raise ValueError(
                "The network's last layer is not known before `compile()` or, "
                "where the network is not built, the first step of `fit()`."
            )
        return self._head

    def _prepare(self, inputs: Any) -> None:
        raise NotImplementedError

    def _checked(self, batch: Batch) -> Batch:
        if self._head is None:
            self._prepare(batch.x)
        if self._validation_set is not None:
            check_label_form(
                "validation_set", self._validation_set.data[1], batch.y
            )
        index = self.weighting.assert_in_range(batch.index)
        y = self.per_example_loss.assert_in_range(batch.y, self.head.classes)
        return dataclasses.replace(batch, index=index, y=y)

    def _prepared(self, batch):
        """The views and labels as the unlabelled loss wants them."""
        views, label = self.unlabeled_loss.prepare(
            self.network, batch.views, batch.label, self.optimizer.iterations
        )
        return dataclasses.replace(batch, views=views, label=label)

    @property
    def _loss_variables(self):
        state = self.unlabeled_loss.state
        return [] if state is None else state.variables

    def _training_loss(self, batch, logits, forward):
        features = None
        if "features" in self.weighting.signals:
            features = self.head.features(forward.recording)
        return training_loss(
            batch=batch,
            logits=logits,
            features=features,
            loss=self.per_example_loss,
            unlabeled_loss=self.unlabeled_loss,
            weighting=self.weighting,
            step=self.optimizer.iterations,
        )

    def _scope(self) -> Any:  # A `VariablesScope` with `past_steps`.
        return self.influence.scope(self.network, self._head)

    @property
    def is_deep(self) -> bool:
        """Whether the influence differentiates through the network."""
        return (
            self.influence.parameters != "last_layer"
            or self.past_steps is not None
        )

    @property
    def suits_xla(self) -> bool:
        """Whether XLA should compile the updates of the weights.

        Its second derivatives of max-pooling are wrong, and its factorisation
        of a small matrix takes longer than all of a step without XLA.
        """
        influence, size = self.influence, float("inf")
        if self.is_deep or isinstance(influence, Unrolled):
            return False
        if self._head is not None:
            size = sum(v.shape.num_elements() for v in self._head.variables)
        return not influence.factorises(size)

    def _unlabeled_losses(self, logits, label):
        return self.unlabeled_loss(logits, label, self.optimizer.iterations)[0]

    def _update_weights(self, step, losses, finite):
        """Eq. 6 for the batch, and one step of its weights."""
        scope, steps = self._scope(), [step]
        if self.past_steps is not None:
            steps = past_steps(scope, self.past_steps, step)
        loss, unlabeled_loss = self.per_example_loss, self._unlabeled_losses
        softmax = softmax_shares(self.unlabeled_loss, step.batch.views)
        inner = [
            inner_objective(scope, s, loss, unlabeled_loss, softmax)
            for s in steps
        ]
        check_judged(self)
        judges: Any = self._validation_set
        x, y = judges.draw(self.weight_optimizer.iterations)
        memory = self.memory if judges.draws > 1 else None
        outer_loss = self.influence.outer_loss(loss)
        outer = outer_objective(scope, x, y, outer_loss, memory)
        found = hypergradient(self.influence, scope, inner, outer, steps)
        solution = found.solution
        finite &= ops.isfinite(found.norm)
        valid = solution.valid & finite
        reason = ops.where(finite, solution.reason, Reason.NOT_FINITE.value)
        # M-Adam leaves examples with a zero gradient alone.
        derivatives = ops.where(valid, found.derivatives, 0.0)
        examples = losses.examples._replace(index=found.index)
        weight_gradients = losses.weight_gradients
        if self.past_steps is not None:
            # Of examples of past steps; their weights depend on ids alone.
            _, weight_gradients = self.weighting.differentiable(examples)
        gradients = weight_gradients(derivatives)
        self.weighting.after_update(examples, derivatives)
        self.weight_optimizer.apply(
            gradients, self.weighting.trainable_variables
        )
        self.training_metrics.update(
            found.norm, solution.residual, reason, valid
        )

    def _move_network(self, gradients, finite):
        # A loss-scale optimizer must see the overflow, to lower its scale.
        number = float("nan") if scales_loss(self.optimizer) else 0.0
        gradients = replaced_unless(finite, gradients, number)
        self.optimizer.apply_gradients(
            zip(gradients, self.trainable_variables, strict=True)
        )

    def _logs(self, batch, losses, total, finite):
        self.training_metrics.step(losses, finite)
        # Gradients alone overflow where a loss-scale optimizer begins.
        known = ops.isfinite(total)
        loss_tracker(self).update_state(
            ops.where(known, total, 0.0), ops.cast(known, "float32")
        )
        kept = Statistics(metric_variables(self))
        logs = self.compute_metrics(
            batch.x, batch.y, losses.logits, batch.sample_weight
        )
        kept.restore_unless(finite)
        return reducible(self.distribute_strategy, logs)

    @property
    def metrics(self) -> list:
        """Keras' own metrics and those of training."""
        own = getattr(self, "training_metrics", None)
        return [*super().metrics, *(own.metrics if own else ())]

    def get_metrics_result(self) -> dict:
        """As Keras' own, with a loss of NaN where none was finite, not 0."""
        mean = loss_tracker(self)
        loss = mean.total / mean.count
        return {**super().get_metrics_result(), mean.name: loss}

    def reset_metrics(self) -> None:
        """As Keras' own: an epoch begins."""
        super().reset_metrics()
        self._count_steps_anew()

    def _count_steps_anew(self):
        if self.train_function is not None:
            self.train_function.count_anew()

    def test_step(self, data: Any) -> dict:
        """As Keras' own, without the metrics of training."""
        check_evaluated(data)
        logs = super().test_step(data)
        own = self.training_metrics.names
        logs = {k: v for k, v in logs.items() if k not in own}
        return reducible(self.distribute_strategy, logs)

    def predict_step(self, data: Any) -> Any:
        """As Keras' own."""
        check_evaluated(data)
        return super().predict_step(data)

    def _seeds(self):
        """The states of dropout's seeds, which Keras does not save."""
        saved = {id(v) for v in self.network.weights}
        return [v for v in self.network.variables if id(v) not in saved]

    @property
    def _has_trained(self):
        """Whether the weights may no longer be those that they started as."""
        return self._trained_before or (
            self.compiled and batches_seen(self.optimizer) > 0
        )

    def save_own_variables(self, store) -> None:
        """Saves what resumed training needs to draw the same dropout."""
        store["has_trained"] = np.array(self._has_trained)
        for i, seed in enumerate(self._seeds()):
            store[str(i)] = seed

    def load_own_variables(self, store) -> None:
        """Loads what `save_own_variables` saved."""
        for i, seed in enumerate(self._seeds()):
            seed.assign(store[str(i)])
        # Files of before do not tell.
        known = "has_trained" in store
        self._trained_before = bool(store["has_trained"]) if known else True
        self._count_steps_anew()


def _unless_skipped(examples, finite):
    """The examples, without losses where their step is taken back.

    Activations can hide what is not finite from a loss.
    """
    nan = float("nan")
    return examples._replace(losses=ops.where(finite, examples.losses, nan))
