from collections.abc import Sequence

import keras
import tensorflow as tf
from keras import ops

from keras_influence import replicas
from keras_influence.models.training_loss import TrainingLoss
from keras_influence.solvers import Reason

# Why an update was skipped, as the logs name it.
SKIPPED = {
    "skipped_not_finite": Reason.NOT_FINITE,
    "skipped_indefinite": Reason.NOT_POSITIVE_DEFINITE,
    "skipped_diverged": Reason.DIVERGED,
}


class Tally(keras.metrics.Metric):
    """Means of several numbers, and counts of what was left out of them.

    All in one variable: on a small network, a metric for each number would
    take as long as a quarter of the step.

    Args:
        means: sequence of names.
        counts: sequence of names.
        name: string, the metric's own.
        of_nothing: float, a mean of no numbers: 0 or NaN. Defaults to `0.0`.

    Example:
    >>> tally = Tally(("loss",), ("skipped",), name="tally")
    >>> tally.update_state(True, [3.0], [1.0])
    >>> tally.update_state(False, [np.nan], [1.0])
    >>> {name: float(value) for name, value in tally.result().items()}
    {'loss': 3.0, 'skipped': 1.0}
    """

    def __init__(
        self,
        means: Sequence[str],
        counts: Sequence[str],
        name: str,
        of_nothing: float = 0.0,
    ):
        super().__init__(name=name, dtype="float32")
        self.means, self.counts = tuple(means), tuple(counts)
        self.divide = ops.divide_no_nan if of_nothing == 0 else ops.divide
        self.totals = self.add_variable(
            (1 + len(self.means) + len(self.counts),), "zeros", name="totals"
        )

    def update_state(self, kept, means, counts) -> None:
        """Adds numbers to their means or, where left out, to the counts.

        Args:
            kept: boolean scalar tensor.
            means: list of scalar tensors, added if `kept`.
            counts: list of scalar tensors, added if not.
        """
        means, counts = (
            ops.stack([ops.cast(number, "float32") for number in numbers])
            for numbers in (means, counts)
        )
        kept_row = tf.concat([[1.0], means, [0.0] * len(self.counts)], 0)
        # Replicas leave out a step together, and their counts are added up.
        counts /= replicas.count()
        other_row = tf.concat([[0.0] * (1 + len(self.means)), counts], 0)
        # Not a product: what is left out may be infinite.
        self.totals.assign_add(ops.where(kept, kept_row, other_row))

    def result(self) -> dict:
        """Every name's mean or count."""
        totals = ops.convert_to_tensor(self.totals)
        kept, means, counts = tf.split(
            totals, [1, len(self.means), len(self.counts)]
        )
        means = self.divide(means, kept)
        return {
            **dict(zip(self.means, tf.unstack(means), strict=True)),
            **dict(zip(self.counts, tf.unstack(counts), strict=True)),
        }


class TrainingMetrics:
    """The metrics of training that `fit` shows beside Keras' own.

    Args:
        learns: boolean, whether the weights move, so that updates are shown.
    """

    def __init__(self, learns: bool):
        means = "labeled_loss", "unlabeled_loss", "mask_rate"
        means += "weight_mean", "weight_std"
        # A loss of 0 would be the best of all.
        self.steps = Tally(means, ["steps_skipped"], "steps", float("nan"))
        self.metrics = [self.steps]
        if learns:
            self.updates = Tally(
                ("hypergradient_norm", "solver_residual"),
                ("updates_skipped", *SKIPPED),
                name="updates",
            )
            self.metrics.append(self.updates)

    @property
    def names(self) -> list[str]:
        """What the logs have of these metrics."""
        return [n for m in self.metrics for n in (*m.means, *m.counts)]

    def assert_finite(self) -> None:
        """Raises if a step or an update of this epoch was not finite."""
        for metric in self.metrics:
            for name in ("steps_skipped", "skipped_not_finite"):
                if float(metric.result().get(name, 0)):
                    raise FloatingPointError(
                        f"Numbers are not finite (`{name}` in the logs): NaN "
                        "or infinity in the data, a learning rate that is too "
                        "large, or overflow of half precision. "
                        "`on_nonfinite='skip'` goes on without such steps."
                    )

    def step(self, losses: TrainingLoss, finite: tf.Tensor) -> None:
        """Keeps a step's losses, and mask and weights of its batch.

        Args:
            losses: the `TrainingLoss`.
            finite: boolean scalar tensor; a step that is not is only counted.
        """
        numbers = [losses.labeled, losses.unlabeled, ops.mean(losses.mask)]
        numbers += [ops.mean(losses.weights), ops.std(losses.weights)]
        self.steps.update_state(finite, numbers, [1.0])

    def update(self, norm, residual, reason, valid):
        """Keeps an update of the weights, or counts why it was skipped.

        Args:
            norm: scalar tensor, that of the derivatives.
            residual: scalar tensor, the solver's.
            reason: integer scalar tensor, the `solvers.Reason`.
            valid: boolean scalar tensor, whether the weights moved.
        """
        reasons = [reason == code.value for code in SKIPPED.values()]
        self.updates.update_state(valid, [norm, residual], [1.0, *reasons])
