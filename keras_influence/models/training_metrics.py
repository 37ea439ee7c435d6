import keras
from keras import ops


class TrainingMetrics:
    """The metrics of training that `fit` shows beside Keras' own.

    Args:
        learned: boolean, whether the weights move, so that updates are shown.
    """

    def __init__(self, learned: bool):
        means = ["labeled_loss", "unlabeled_loss", "mask_rate"]
        means += ["weight_mean", "weight_std"]
        if learned:
            means += ["hypergradient_norm", "solver_residual"]
        self.metrics = {name: keras.metrics.Mean(name) for name in means}
        if learned:
            skipped = keras.metrics.Sum("updates_skipped")
            self.metrics["updates_skipped"] = skipped

    def step(self, losses):
        """Keeps a step's losses, and mask and weights of its batch.

        Args:
            losses: the `TrainingLoss`.
        """
        self.metrics["labeled_loss"].update_state(losses.labeled)
        self.metrics["unlabeled_loss"].update_state(losses.unlabeled)
        self.metrics["mask_rate"].update_state(losses.mask)
        self.metrics["weight_mean"].update_state(losses.weights)
        self.metrics["weight_std"].update_state(ops.std(losses.weights))

    def update(self, hypergradient, residual, skipped):
        """Keeps an update of the weights, or counts that it was skipped."""
        kept = ops.cast(ops.logical_not(skipped), "float32")
        # A skipped update may have values that are not finite.
        norm = ops.where(skipped, 0.0, ops.norm(hypergradient))
        residual = ops.where(skipped, 0.0, residual)
        self.metrics["hypergradient_norm"].update_state(norm, kept)
        self.metrics["solver_residual"].update_state(residual, kept)
        self.metrics["updates_skipped"].update_state(1.0 - kept)
