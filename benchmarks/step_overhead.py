"""What learning the weights adds to a training step.

    python -m benchmarks.step_overhead [--rounds 10] [--json PATH]

Compares, interleaved in one process, a hand-written Keras `train_step` of the
same objective with `InfluenceModel`: WRN-28-2, 10 classes, 8 labelled and 56
unlabelled images in two views, a validation batch of 56, last layer, exact
Hessian. Plain and update steps are timed; an update every N steps follows as
((N - 1)·plain + update) / N.
"""

import argparse

import keras
import numpy as np
import tensorflow as tf
from keras import ops

import keras_influence as ki
from applications.wide_resnet import wide_resnet
from benchmarks import harness

LABELED, UNLABELED, CLASSES = 8, 56, 10


class HandWritten(keras.Model):
    """FixMatch with one constant weight, as a user would write it."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.labeled_metric = keras.metrics.Mean("labeled_loss")
        self.unlabeled_metric = keras.metrics.Mean("unlabeled_loss")
        self.mask_metric = keras.metrics.Mean("mask_rate")

    def call(self, inputs, training=None):
        """The network's logits."""
        return self.network(inputs, training=training)

    def train_step(self, data):
        """One step on labelled and unlabelled examples together."""
        x, y = data["labeled"]
        views = data["unlabeled"]["views"]
        inputs = ops.concatenate([x, views["weak"], views["strong"]])
        with tf.GradientTape() as tape:
            logits = self.network(inputs, training=True)
            labeled, weak, strong = tf.split(
                logits, [LABELED, UNLABELED, UNLABELED]
            )
            labeled_loss = self.loss(y, labeled)
            p = tf.stop_gradient(ops.softmax(weak))
            mask = ops.cast(ops.max(p, -1) >= 0.95, "float32")
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                ops.argmax(p, -1), strong
            )
            unlabeled_loss = ops.mean(mask * losses)
            loss = labeled_loss + unlabeled_loss
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(
            zip(gradients, self.trainable_variables, strict=True)
        )
        self._loss_tracker.update_state(loss)
        self.labeled_metric.update_state(labeled_loss)
        self.unlabeled_metric.update_state(unlabeled_loss)
        self.mask_metric.update_state(mask)
        return self.compute_metrics(x, y, labeled)


def batch(rng):
    def images(n):
        return rng.normal(size=(n, 32, 32, 3)).astype("float32")

    return {
        "labeled": (images(LABELED), rng.integers(CLASSES, size=LABELED)),
        "unlabeled": {
            "views": {"weak": images(UNLABELED), "strong": images(UNLABELED)},
            "index": np.arange(UNLABELED),
        },
    }


def compiled(model, **kwargs):
    model.compile(
        optimizer=keras.optimizers.SGD(0.03, momentum=0.9, nesterov=True),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        **kwargs,
    )
    return model


def learning(network, rng, inner_steps):
    validation = (
        rng.normal(size=(UNLABELED, 32, 32, 3)).astype("float32"),
        rng.integers(CLASSES, size=UNLABELED),
    )
    return compiled(
        ki.InfluenceModel(network, num_unlabeled=UNLABELED),
        unlabeled_loss=ki.losses.FixMatch(confidence=0.95),
        influence=ki.Influence(),
        validation_set=validation,
        inner_steps=inner_steps,
    )


def main():
    """Measures, prints the table and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", default=None)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    models = {
        "hand-written": compiled(HandWritten(wide_resnet())),
        "plain step": learning(wide_resnet(), rng, inner_steps=10**9),
        "update step": learning(wide_resnet(), rng, inner_steps=1),
    }
    data = tf.data.Dataset.from_tensors(batch(rng)).repeat()

    def step(model):
        model.make_train_function()
        iterator = iter(data)
        return lambda: model.train_function(iterator)

    functions = {name: step(model) for name, model in models.items()}
    # The part of an update that no estimator of the influence can save.
    judge = models["update step"].network
    images = rng.normal(size=(UNLABELED, 32, 32, 3)).astype("float32")
    functions["validation forward"] = tf.function(
        lambda: judge(images, training=False), autograph=False
    )
    seconds = harness.interleave(functions, arguments.rounds)
    for every in (2, 10, 100):  # By default, every 2.
        seconds[f"update every {every} (derived)"] = [
            ((every - 1) * plain + update) / every
            for plain, update in zip(
                seconds["plain step"], seconds["update step"], strict=True
            )
        ]
    relative = harness.ratios(seconds, "hand-written")
    rows = [
        {
            "method": name,
            "median s": float(np.median(values)),
            "x hand-written": relative[name],
        }
        for name, values in seconds.items()
    ]
    harness.report("Step overhead, WRN-28-2", rows, arguments.json)


if __name__ == "__main__":
    main()
