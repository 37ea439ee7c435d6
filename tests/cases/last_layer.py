"""Objectives of a last layer, and the same written out."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.influence.head import Head
from keras_influence.influence.last_layer import LastLayerCurvature
from keras_influence.influence.objective import Term
from keras_influence.influence.per_example_loss import PerExampleLoss
from keras_influence.influence.scope import LastLayerScope
from keras_influence.layers import BinaryLogits
from tests.cases.influence import (
    assert_close,
    explicit_hessian,
    explicit_jacobian,
)

random = np.random.default_rng(0)


def soft_labels(n, classes):
    return random.dirichlet(np.ones(classes), n)


LOSSES = {
    "sparse": (
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        lambda n, classes: random.integers(0, classes, n),
    ),
    "sparse_ignoring_a_class": (
        keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, ignore_class=1
        ),
        lambda n, classes: random.integers(0, classes, n),
    ),
    "categorical": (
        keras.losses.CategoricalCrossentropy(from_logits=True),
        soft_labels,
    ),
    "label_smoothing": (
        keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=0.2
        ),
        lambda n, classes: np.eye(classes)[random.integers(0, classes, n)],
    ),
    "binary": (
        keras.losses.BinaryCrossentropy(from_logits=True),
        lambda n, classes: random.integers(0, 2, (n, classes)),
    ),
    "mse": (
        keras.losses.MeanSquaredError(),
        lambda n, classes: random.normal(size=(n, classes)),
    ),
}


def dense(features, units, use_bias, kind=keras.layers.Dense, **arguments):
    if kind is keras.layers.Dense:
        arguments["units"] = units
    layer = kind(use_bias=use_bias, dtype="float64", **arguments)
    layer.build((None, features))
    layer.set_weights([random.normal(size=w.shape) for w in layer.weights])
    return layer


class Problem:
    """An objective of the last layer, and the same written out."""

    def __init__(self, layer, parts):
        self.layer, self.parts = layer, parts
        head = Head(layer)
        terms = [
            Term(loss, tf.constant(weights))
            if labels is None
            else Term.of_labels(loss, labels, weights)
            for _, loss, labels, weights in parts
        ]
        features = [tf.constant(a) for a, *_ in parts]
        scope = LastLayerScope(head, lambda features: features)
        self.objective = scope.objective(features, terms, stack=list)
        self.terms = self.objective.terms
        self.parameters = [v.numpy() for v in head.variables]

    def losses(self, parameters):
        kernel, *bias = parameters
        losses = []
        for a, loss, labels, _ in self.parts:
            z = tf.einsum("nvd,dc->nvc", tf.constant(a), kernel)
            z = z + bias[0] if bias else z
            if isinstance(self.layer, BinaryLogits):
                z = tf.concat([z, -z], -1)
            losses.append(loss(z) if labels is None else loss(labels, z[:, 0]))
        return losses

    def value(self, parameters):
        value = 0.0
        for (*_, weights), losses in zip(
            self.parts, self.losses(parameters), strict=True
        ):
            value += tf.reduce_sum(weights * losses)
        kernel, *bias = parameters
        if self.layer.kernel_regularizer:
            value += self.layer.kernel_regularizer(kernel)
        if bias and self.layer.bias_regularizer:
            value += self.layer.bias_regularizer(bias[0])
        return value

    def hessian(self):
        return explicit_hessian(self.value, self.parameters)

    def gradients(self):
        """Explicit per-example gradients, one array a term."""
        return [
            explicit_jacobian(lambda p, i=i: self.losses(p)[i], self.parameters)
            for i in range(len(self.parts))
        ]


def labeled(name, n, features, units):
    loss, labels = LOSSES[name]
    weights = random.uniform(size=n) * random.integers(0, 2, n)
    a = random.normal(size=(n, 1, features))
    return a, PerExampleLoss(loss), labels(n, units), weights


def over_views(z):
    """Both views get gradient, and so do blocks between them."""
    p = ops.softmax(z, -1)
    return ops.sum(p[:, 0] * -ops.log_softmax(z[:, -1], -1), -1)


def convex_over_views(z):
    apart = ops.sum((z[:, 0] - z[:, -1]) ** 2, -1)
    return apart + ops.sum(ops.logsumexp(z, -1), -1)


def mixed_views(z):
    """Blocks between the views that are not symmetric themselves."""
    return ops.sum(ops.tanh(z[:, 0]) * ops.roll(z[:, -1], 1, -1) ** 2, -1)


def unlabeled(n, views, features, loss=over_views):
    a = random.normal(size=(n, views, features))
    return a, loss, None, random.uniform(size=n)


def check(problem):
    """Matrix, product, gradient and scores against autodiff."""
    hessian = problem.hessian()
    curvature = LastLayerCurvature(problem.objective)
    assert_close(curvature.as_matrix(), hessian)
    vector = random.normal(size=len(hessian))
    assert_close(curvature.matvec(tf.constant(vector)), hessian @ vector)
    assert_close(
        problem.objective.gradient(),
        explicit_jacobian(lambda p: problem.value(p)[None], problem.parameters)[
            0
        ],
    )
    scores = problem.objective.directional_derivatives(tf.constant(vector))
    for ours, gradients in zip(scores, problem.gradients(), strict=True):
        assert_close(ours, gradients @ vector)
