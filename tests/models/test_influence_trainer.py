"""One training step against the gradient of the loss, written out."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_influence as ki
from tests.cases.models import (
    FEATURES,
    UNLABELED,
    RowSGD,
    compiled,
    data,
    draw,
    fit,
    linear_network,
)

LAMBDA = np.linspace(0.2, 1.8, UNLABELED)


@pytest.fixture
def model():
    built = linear_network(kernel_regularizer=keras.regularizers.L2(0.1))
    return compiled(
        built,
        initial_weight=LAMBDA,
        max_weight=None,
        optimizer=keras.optimizers.SGD(0.5),
        weight_optimizer=RowSGD(1.0),
        influence=ki.Influence(solver=ki.solvers.Identity()),
    )


def losses(kernel, bias, x, y):
    logits = tf.cast(x, "float32") @ kernel + bias
    return tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)


def test_a_step_moves_network_and_weights(model):
    (batch,) = data().take(1)
    unlabeled = batch["unlabeled"]
    (view,) = unlabeled["views"].values()
    index = unlabeled["index"].numpy()
    theta = [tf.constant(v.numpy()) for v in model.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(theta)
        value = tf.reduce_mean(losses(*theta, *batch["labeled"]))
        own = losses(*theta, view, unlabeled["label"])
        weights = tf.constant(LAMBDA[index], "float32")
        value += tf.reduce_mean(weights * own)
        value += 0.1 * tf.reduce_sum(theta[0] ** 2)
    gradients = tape.gradient(value, theta)
    scores = -influence_of_rows(theta, model, view, unlabeled["label"])
    logs = model.train_step(batch, updates=True)
    for variable, before, gradient in zip(
        model.trainable_variables, theta, gradients, strict=True
    ):
        np.testing.assert_allclose(
            variable, before - 0.5 * gradient, rtol=1e-5, atol=1e-6
        )
    np.testing.assert_allclose(logs["loss"], value, rtol=1e-5)
    moved = model.example_weights - LAMBDA
    np.testing.assert_allclose(moved[index], -scores, rtol=1e-4, atol=1e-5)
    rest = np.setdiff1d(np.arange(UNLABELED), index)
    np.testing.assert_allclose(moved[rest], 0.0, atol=1e-6)


def influence_of_rows(theta, model, x, y):
    """`⟨∇L(V), ∇l_u⟩`, with the identity for the Hessian."""
    with tf.GradientTape() as tape:
        tape.watch(theta)
        outer = tf.reduce_mean(losses(*theta, *model.validation_set.draw(0)))
    outer = tape.gradient(outer, theta)
    with tf.GradientTape() as tape:
        tape.watch(theta)
        own = losses(*theta, x, y)
    rows = tape.jacobian(own, theta)
    return np.sum(rows[0] * outer[0], (1, 2)) + np.sum(rows[1] * outer[1], 1)


def test_a_plain_step_leaves_the_weights_alone(model):
    (batch,) = data().take(1)
    model.train_step(batch)
    np.testing.assert_allclose(model.example_weights, LAMBDA, rtol=1e-6)
    assert (
        float(model.training_metrics.updates.result()["updates_skipped"]) == 0
    )


def test_the_head_is_not_known_before_the_network_is_built():
    model = compiled(keras.Sequential([keras.layers.Dense(3)]))
    with pytest.raises(ValueError, match="last layer is not known"):
        _ = model.head
    model.network.build((None, FEATURES))
    (batch,) = data().take(1)
    model.train_step(batch)
    assert model.head.layer is model.network.layers[-1]


@pytest.mark.parametrize(
    ("influence", "deep"),
    [
        (ki.Influence(), False),
        (ki.Influence("all", curvature="gauss_newton"), True),
        (ki.Unrolled(2, parameters="last_layer"), True),
    ],
)
def test_what_differentiates_through_the_network(influence, deep):
    assert compiled(linear_network(), influence=influence).is_deep is deep


@pytest.mark.parametrize("labels", ["sparse", "one-hot"])
def test_a_step_is_traced_once(monkeypatch, labels):
    """Also with metrics that Keras would make within the first trace."""
    traced, step = [], ki.InfluenceModel.train_step

    def train_step(self, data, updates=False):
        traced.append(updates)
        return step(self, data, updates)

    monkeypatch.setattr(ki.InfluenceModel, "train_step", train_step)
    x, y = draw(12, 1)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if labels == "one-hot":
        y = np.eye(3, dtype="float32")[y]
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model = compiled(
        linear_network(),
        loss=loss,
        metrics=["accuracy"],
        validation_set=(x, y),
        inner_steps=2,
    )
    logs = fit(model, 6, data(labeled=(x, y)))
    assert sorted(traced) == [False, True]
    assert logs["accuracy"] > 0
