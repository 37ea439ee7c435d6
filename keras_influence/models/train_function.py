import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import tensorflow as tf

from keras_influence.keras_private import (
    accumulation_steps,
    batches_seen,
    scales_loss,
    step_on_data,
    steps_on_iterator,
)
from keras_influence.models.step_errors import explained

if TYPE_CHECKING:
    from keras_influence.models.influence_trainer import InfluenceTrainer


class TrainFunction:
    """Two compiled steps, with and without an update of the weights.

    Which one runs is chosen here, in Python, so that plain steps carry no
    trace of the update.

    Args:
        model: the compiled `InfluenceModel`.
    """

    def __init__(self, model: "InfluenceTrainer"):
        self.model = model
        self.steps = model.steps_per_execution
        plain, update = (
            functools.partial(model.train_step, updates=updates)
            for updates in (False, True)
        )
        self.plain = steps_on_iterator(model, plain)
        update_by_xla = model.jit_compile and model.suits_xla
        self.on_data = {
            False: step_on_data(model, plain, model.jit_compile),
            True: step_on_data(model, update, update_by_xla),
        }

        self.count_anew()

    def count_anew(self) -> None:
        """Asks the optimizer, before the next step, how many there were.

        A read waits for the device; in between, steps are counted here.
        """
        self._batches = None

    def __call__(self, iterator: Iterator) -> dict:
        """Runs the next `steps_per_execution` steps.

        Raises:
            FloatingPointError: if the model is to raise where numbers are not
                finite, and some were not.
            tf.errors.OpError: if ids or labels are out of range, or another
                worker of the cluster was lost.
        """
        try:
            logs = self._run(iterator)
        except tf.errors.OpError as error:
            raise explained(error) from None
        if self.model.on_nonfinite == "raise":
            self.model.training_metrics.assert_finite()
        return logs

    def _run(self, iterator):
        updates = self._updates()
        # Keras' own loop; for a single step it takes half as long again.
        if self.steps > 1 and not any(updates):
            return self.plain(iterator)
        # Taken here: a graph that finds no data may have counted a step.
        logs = None
        for flag, data in zip(updates, iterator, strict=False):
            logs = self.on_data[flag](data)
        if logs is None:
            raise StopIteration
        return logs

    def _updates(self) -> list[bool]:
        """Which of the next batches update the weights.

        `inner_steps` counts steps of the network: where the optimizer
        accumulates gradients, the last batch of a step is the one.
        """
        optimizer = self.model.optimizer
        accumulated = accumulation_steps(optimizer)
        # A step of it that overflows does not count.
        if self._batches is None or scales_loss(optimizer):
            self._batches = batches_seen(optimizer)
        first = self._batches
        self._batches += self.steps
        return [
            self.model.schedule.updates(batch // accumulated)
            and (batch + 1) % accumulated == 0
            for batch in range(first, first + self.steps)
        ]
