import keras

# Of the logs, and as what they are shown.
SHOWN = {
    "loss": "loss",
    "accuracy": "accuracy",
    "weight_mean": "weight",
    "updates_skipped": "skipped",
    "val_accuracy": "test",
}


class ShortProgress(keras.callbacks.ProgbarLogger):
    """Keras' progress bar in a line of at most 100 columns.

    Skipped updates are shown once there are any, in place of another number.

    Args:
        tested: bool, whether the accuracy of the test set is shown in place of
            that in training. Defaults to `False`.

    Example:
    >>> bar = ShortProgress()
    >>> bar.short({"loss": 1.0, "weight_std": 0.2, "weight_mean": 1.5})
    {'loss': 1.0, 'weight': 1.5}
    """

    def __init__(self, tested: bool = False):
        super().__init__()
        self.hidden = "accuracy" if tested else "val_accuracy"
        self.replaced = "weight_mean" if tested else "accuracy"

    def short(self, logs: dict) -> dict:
        """The logs that are shown, by the names that they are shown by."""
        hidden = {self.hidden, "updates_skipped"}
        if logs.get("updates_skipped"):
            hidden = {self.hidden, self.replaced}
        return {
            name: logs[key]
            for key, name in SHOWN.items()
            if key in logs and key not in hidden
        }

    def on_train_batch_end(self, batch, logs=None):
        """Moves the bar."""
        super().on_train_batch_end(batch, self.short(logs or {}))

    def on_epoch_end(self, epoch, logs=None):
        """Fills the bar."""
        super().on_epoch_end(epoch, self.short(logs or {}))
