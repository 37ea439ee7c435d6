"""A small training, and the page about it."""

import keras
import numpy as np

import keras_influence as ki
from tests.cases.models import LOSS, draw

CLASSES = ["cat & dog", "<script>alert(1)</script>", "$owl$ " * 9]


def trained(n=30, steps=12):
    """A model after `fit`, its unlabelled data, and what `fit` returned."""
    (x, y), trusted = draw(n, 1), draw(12, 0)
    network = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="head")]
    )
    model = ki.InfluenceModel(network, num_unlabeled=n)
    model.compile(
        optimizer="sgd",
        loss=LOSS,
        unlabeled_loss=ki.losses.GivenLabels(),
        validation_set=trusted,
        metrics=["accuracy"],
    )
    train = ki.data.semi_supervised(
        trusted, (x, y), batch_size=4, unlabeled_ratio=2
    )
    weight_history = ki.callbacks.WeightHistory(every=4)
    history = model.fit(
        train,
        epochs=2,
        steps_per_epoch=steps // 2,
        callbacks=[weight_history],
        validation_data=draw(20, 3),
        verbose=0,
    )
    return model, (x, y), history, weight_history


def texts(n=30):
    return [
        f"<b>Review</b> {k}\n'quoted' & \"more\" {'word ' * 40 * (k % 3)}"
        for k in range(n)
    ]


def images(n=30):
    return np.random.default_rng(0).integers(0, 256, (n, 40, 30, 3), "uint8")
