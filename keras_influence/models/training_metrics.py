from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_influence.models.training_loss import TrainingLoss
from keras_influence.solvers import Reason


class TrainingMetrics:
    """The metrics of training that `fit` shows beside Keras' own.

    Args:
        learns: boolean, whether the weights move, so that updates are shown.
    """

    def __init__(self, learns: bool):
        means = ["labeled_loss", "unlabeled_loss", "mask_rate"]
        means += ["weight_mean", "weight_std"]
        sums = ["steps_skipped"]
        if learns:
            means += ["hypergradient_norm", "solver_residual"]
            sums += ["updates_skipped", *SKIPPED]
        self.metrics: dict[str, Any] = {
            name: keras.metrics.Mean(name) for name in means
        }
        self.metrics |= {name: keras.metrics.Sum(name) for name in sums}

    def assert_finite(self) -> None:
        """Raises if a step or an update of this epoch was not finite."""
        for name in ("steps_skipped", "skipped_not_finite"):
            if name in self.metrics and float(self.metrics[name].result()):
                raise FloatingPointError(
                    f"Numbers are not finite (`{name}` in the logs): NaN or "
                    "infinity in the data, a learning rate that is too large, "
                    "or overflow of half precision. `on_nonfinite='skip'` "
                    "goes on without such steps."
                )

    def step(self, losses: TrainingLoss, finite: tf.Tensor) -> None:
        """Keeps a step's losses, and mask and weights of its batch.

        Args:
            losses: the `TrainingLoss`.
            finite: boolean scalar tensor; a step that is not is only counted.
        """
        kept = ops.cast(finite, "float32")
        for name, value in (
            ("labeled_loss", losses.labeled),
            ("unlabeled_loss", losses.unlabeled),
            ("mask_rate", ops.mean(losses.mask)),
            ("weight_mean", ops.mean(losses.weights)),
            ("weight_std", ops.std(losses.weights)),
        ):
            value = ops.where(finite, value, 0.0)
            self.metrics[name].update_state(value, kept)
        self.metrics["steps_skipped"].update_state(1.0 - kept)

    def update(self, norm, residual, reason, valid):
        """Keeps an update of the weights, or counts why it was skipped.

        Args:
            norm: scalar tensor, that of the derivatives.
            residual: scalar tensor, the solver's.
            reason: integer scalar tensor, the `solvers.Reason`.
            valid: boolean scalar tensor, whether the weights moved.
        """
        kept = ops.cast(valid, "float32")
        norm = ops.where(valid, norm, 0.0)
        residual = ops.where(valid, residual, 0.0)
        self.metrics["hypergradient_norm"].update_state(norm, kept)
        self.metrics["solver_residual"].update_state(residual, kept)
        self.metrics["updates_skipped"].update_state(1.0 - kept)
        for name, code in SKIPPED.items():
            is_reason = ops.cast(reason == code.value, "float32")
            self.metrics[name].update_state((1.0 - kept) * is_reason)


# Why an update was skipped, as the logs name it.
SKIPPED = {
    "skipped_not_finite": Reason.NOT_FINITE,
    "skipped_indefinite": Reason.NOT_POSITIVE_DEFINITE,
    "skipped_diverged": Reason.DIVERGED,
}
