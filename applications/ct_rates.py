import json
import pathlib

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from applications.image_views import LearnedCTAugment


class CTAugmentRates(keras.callbacks.Callback):
    """Learns CTAugment's rates, one probe batch a step, and writes them.

    A probe is a batch of weakly augmented labelled images. Their predictions
    come from the network in inference mode, with the averaged weights where
    the optimizer keeps an average. `ct_augment.json` holds the rates of every
    operation when training ends. The rates are saved and restored with the
    model. Batches that are prefetched were drawn by the rates of earlier
    steps, so trainings are alike, but not bit for bit.

    Args:
        view: a `LearnedCTAugment`.
        labeled: tuple `(x, y)` of arrays, the labelled images.
        directory: path, the folder to write to.
        batch_size: int, probes a step. Defaults to `64`.
        seed: int, seed of the probes. Defaults to `0`.

    Reference: section 2.3 of [ReMixMatch](https://arxiv.org/abs/1911.09785).
    """

    def __init__(
        self,
        view: LearnedCTAugment,
        labeled: tuple,
        directory,
        batch_size: int = 64,
        seed: int = 0,
    ):
        super().__init__()
        self.view = view
        self.labeled = tuple(np.asarray(part) for part in labeled)
        self.path = pathlib.Path(directory) / "ct_augment.json"
        self.batch_size = batch_size
        self.seed = seed
        self._probe = None

    def set_model(self, model):
        """Makes the rates a part of what the model saves."""
        super().set_model(model)
        model.ct_augment = self.view.ct_augment

    def on_train_begin(self, logs=None):
        """Compiles the probe for the model's network."""
        x, y = (tf.constant(part) for part in self.labeled)
        network = getattr(self.model, "network", self.model)

        def probe():
            step = ops.cast(self.model.optimizer.iterations, "int32")
            seeds = tf.random.split(tf.stack([self.seed, step]), 3)
            rows = tf.random.stateless_uniform(
                (self.batch_size,), seeds[0], maxval=len(x), dtype="int32"
            )
            images = self.view.weak(ops.take(x, rows, axis=0), seed=seeds[1])
            images, drawn = self.view.ct_augment.probe(images, seeds[2])
            logits, _ = network.stateless_call(
                _averaged(self.model.optimizer),
                [v.value for v in network.non_trainable_variables],
                ops.cast(images, "float32"),
                training=False,
            )
            probabilities = ops.softmax(ops.cast(logits, "float32"))
            self.view.ct_augment.update(drawn, ops.take(y, rows), probabilities)

        eager = getattr(self.model, "run_eagerly", False)
        self._probe = probe if eager else tf.function(probe)

    def on_train_batch_end(self, batch, logs=None):
        """Moves the rates of the bins that the probes were drawn from."""
        self._probe()

    def on_train_end(self, logs=None):
        """Writes the rates."""
        rates = {
            name: [np.round(bins, 4).tolist() for bins in parameters]
            for name, parameters in self.view.ct_augment.named_rates.items()
        }
        text = json.dumps(rates, indent=2)
        self.path.write_text(text + "\n", encoding="utf-8")


def _averaged(optimizer):
    """The optimizer's averages of the trainable variables, or these."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    # Keras gives no public access to the averages.
    if optimizer.use_ema:
        variables = optimizer._model_variables_moving_average
    else:
        variables = optimizer._trainable_variables
    return [v.value for v in variables]
