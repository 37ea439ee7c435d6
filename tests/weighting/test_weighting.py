"""Weights of a user's own kind."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_influence as ki
from tests.cases.models import (
    LOSS,
    UNLABELED,
    RowSGD,
    data,
    draw,
    fit,
    linear_network,
)


@keras.saving.register_keras_serializable("test_weighting")
class Falling(ki.Weighting):
    """One learned number: how fast weights fall with the loss."""

    signals = ("loss",)

    def build(self, input_shape):
        self.slope = self.add_weight(shape=(), initializer="zeros")
        self.seen = self.add_weight(
            shape=(self.num_examples,), initializer="zeros", trainable=False
        )
        super().build(input_shape)

    def call(self, examples):
        return keras.ops.exp(-self.slope * examples.losses)

    def after_step(self, examples, weights):
        self.seen.value.scatter_update(
            tf.IndexedSlices(weights, examples.index)
        )

    @property
    def values(self):
        return self.seen


def made(**arguments):
    model = ki.InfluenceModel(
        linear_network(),
        weighting=Falling(num_examples=UNLABELED),
        mean_weight=1.0,
    )
    model.compile(
        loss=LOSS,
        unlabeled_loss=ki.losses.GivenLabels(),
        validation_set=draw(12, 2, noise=0.2),
        **arguments,
    )
    return model


def half_wrong():
    x, y = draw(UNLABELED, 1, noise=0.2)
    y[::2] = (y[::2] + 1) % 3
    return data(labeled=draw(12, 0, noise=0.2), unlabeled=(x, y))


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_weights_of_a_users_own_kind_learn(run_eagerly, tmp_path):
    steps = 10 if run_eagerly else 60
    model = made(run_eagerly=run_eagerly, inner_steps=1)
    logs = fit(model, steps, half_wrong())
    assert logs["updates_skipped"] == 0
    falling = model.weighting.weighting
    assert float(falling.slope) > 0.01
    weights = model.example_weights
    assert weights[::2].mean() < weights[1::2].mean()
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(copy.example_weights, weights)
    assert copy.weighting.weighting.slope == falling.slope


def test_gradients_are_those_of_finite_differences():
    weighting = Falling(num_examples=3)
    weighting.build((None, 4))
    losses = np.array([0.5, 1.0, 2.0], "float32")
    examples = ki.Examples(np.arange(3), losses=losses)
    hypergradient = tf.constant([1.0, -2.0, 3.0])

    def value(slope):
        return np.sum(hypergradient.numpy() * np.exp(-slope * losses))

    weights, gradients = weighting.differentiable(examples)
    np.testing.assert_array_equal(weights, [1.0, 1.0, 1.0])
    (gradient,) = gradients(hypergradient)
    expected = (value(1e-3) - value(-1e-3)) / 2e-3
    np.testing.assert_allclose(gradient, expected, rtol=1e-4)


def regularized(weight_network, steps=1, **arguments):
    model = ki.InfluenceModel(
        linear_network(), UNLABELED, weight_network=weight_network
    )
    model.compile(
        optimizer=keras.optimizers.SGD(0.1),
        loss=LOSS,
        unlabeled_loss=ki.losses.GivenLabels(),
        weight_optimizer=RowSGD(0.1),
        validation_set=draw(10, 2),
        inner_steps=1,
        **arguments,
    )
    fit(model, steps, half_wrong())
    return model


@pytest.mark.parametrize("kind", ["kernel", "activity"])
def test_regularisers_of_a_weight_network_count(kind):
    """Their gradient is added to that of the hypergradients."""

    def hidden(penalty):
        keras.utils.set_random_seed(0)
        layer = keras.layers.Dense(4, **{f"{kind}_regularizer": penalty})
        network = keras.Sequential(
            [layer, keras.layers.Dense(1, kernel_initializer="zeros")]
        )
        weight_network = ki.WeightNetwork(("loss", "entropy"), network)
        regularized(weight_network)
        return layer.kernel.numpy()

    zero, small, twice = (
        hidden(keras.regularizers.L2(factor)) for factor in (0.0, 0.01, 0.02)
    )
    assert np.abs(small - zero).max() > 1e-6
    np.testing.assert_allclose(twice - zero, 2 * (small - zero), atol=1e-6)
    if kind == "kernel":
        first = hidden(None)
        np.testing.assert_allclose(first, zero, atol=1e-7)
        # The output starts at zeros: the penalty alone moves the kernel.
        np.testing.assert_allclose(small, 0.998 * zero, rtol=1e-5)


def test_a_refused_update_does_not_regularise():
    class Refuses(ki.solvers.Exact):
        def solve(self, operator, vector):
            solution = super().solve(operator, vector)
            failed = tf.constant(ki.solvers.Reason.FAILED.value)
            return solution._replace(reason=failed)

    layer = keras.layers.Dense(1, kernel_regularizer="l2")
    keras.utils.set_random_seed(0)
    layer.build((None, 1))
    before = layer.kernel.numpy()
    weight_network = ki.WeightNetwork("loss", layer)
    influence = ki.Influence(solver=Refuses())
    regularized(weight_network, steps=3, influence=influence)
    np.testing.assert_array_equal(layer.kernel, before)


def test_arguments_that_a_weighting_stands_for():
    with pytest.raises(ValueError, match="`weighting` stands in place"):
        ki.InfluenceModel(
            linear_network(), 20, weighting=Falling(num_examples=20)
        )
    with pytest.raises(ValueError, match="`weighting` must be a"):
        ki.InfluenceModel(linear_network(), weighting=ki.WeightNetwork())


def test_what_a_subclass_must_write():
    weighting = ki.Weighting()
    with pytest.raises(NotImplementedError, match=r"implement `call"):
        weighting.call(ki.Examples(np.arange(2)))
    with pytest.raises(ValueError, match="keeps no weights"):
        weighting.values  # noqa: B018


class Column(ki.Weighting):
    """A number for each example, but in a column."""

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(), initializer="ones")
        super().build(input_shape)

    def call(self, examples):
        return self.scale * examples.losses[:, None]


def test_weights_of_another_shape():
    weighting = Column(3)
    weighting.build((None, 2))
    examples = ki.Examples(np.arange(3), losses=tf.ones(3))
    with pytest.raises(ValueError, match=r"`Column.call` must return .*3, 1"):
        weighting.differentiable(examples)
