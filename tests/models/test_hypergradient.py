import types

import keras
import numpy as np
import tensorflow as tf

from keras_influence.influence.forward_pass import NetworkState
from keras_influence.influence.scope import VariablesScope
from keras_influence.models.batch import Batch
from keras_influence.models.hypergradient import (
    ForwardPass,
    Step,
    hypergradient,
    inner_objective,
    outer_objective,
    past_steps,
    stored_step,
)
from keras_influence.models.ring_buffer import RingBuffer
from tests.cases.influence import assert_close

random = np.random.default_rng(0)


def step(mask, seed=0, state=None):
    draw = np.random.default_rng(seed).normal
    batch = Batch(
        x=draw(size=(2, 4)),
        y=np.array([0, 1]),
        sample_weight=None,
        views={"weak": draw(size=(3, 4)), "strong": draw(size=(3, 4))},
        index=np.array([7, 5, 6]) + 10 * seed,
        label=np.array([1, 0, 1]),
    )
    factors = tf.constant([0.5, 0.5]), tf.constant(mask) * 0.25
    past = ForwardPass(None, None, [], state)
    return Step(batch, past, factors, tf.constant(mask))


def dense():
    network = keras.Sequential(
        [keras.Input((4,), dtype="float64"), keras.layers.Dense(2)]
    )
    network.build()
    return network


class Scored:
    """An influence that gives these scores."""

    def step_scores(self, inner, outer):
        scores = [
            [None, tf.constant([1.0, 2.0, np.inf])],
            [None, tf.constant([4.0, -5.0, 6.0])],
        ]
        return scores[: len(inner)], "solution"


def test_masked_examples_have_no_derivative():
    steps = [step([1.0, 0.5, 0.0]), step([0.0, 1.0, 1.0], seed=1)]
    scope = types.SimpleNamespace(is_deep=True)
    found = hypergradient(Scored(), scope, [0, 0], None, steps)
    derivatives = [1.0, 1.0, 0.0, 0.0, -5.0, 6.0]
    np.testing.assert_array_equal(found.index, [7, 5, 6, 17, 15, 16])
    np.testing.assert_array_equal(found.derivatives, derivatives)
    np.testing.assert_allclose(found.norm, np.linalg.norm(derivatives))
    assert found.solution == "solution"


def squared(labels, logits):
    return tf.reduce_sum((logits - labels[:, None]) ** 2, -1)


def of_views(logits, label):
    difference = logits["weak"] - 2 * logits["strong"]
    return tf.reduce_sum(difference, -1) * tf.cast(label, difference.dtype)


def test_the_training_loss_of_a_step():
    network = dense()
    scope = VariablesScope(network, network.trainable_variables)
    present = step([1.0, 0.0, 1.0], state=NetworkState.of(network))
    objective = inner_objective(scope, present, squared, of_views)
    batch = present.batch
    labeled = squared(batch.y, network(batch.x))
    views = {name: network(x) for name, x in batch.views.items()}
    unlabeled = of_views(views, batch.label)
    losses = objective.losses(objective.parameters)
    assert_close(losses[0], labeled, 1e-5)
    assert_close(losses[1], unlabeled, 1e-5)
    value = tf.reduce_sum(present.factors[0] * labeled)
    value += tf.reduce_sum(present.factors[1] * unlabeled)
    assert_close(objective(objective.parameters), value, 1e-5)


def test_the_validation_loss_is_a_mean_without_penalties():
    network = dense()
    network.layers[-1].kernel.regularizer = keras.regularizers.L2(1.0)
    scope = VariablesScope(network, network.trainable_variables)
    x, y = random.normal(size=(5, 4)), np.arange(5.0)
    objective = outer_objective(scope, x, y, squared)
    expected = tf.reduce_mean(squared(tf.constant(y, "float32"), network(x)))
    assert_close(objective(objective.parameters), expected, 1e-5)


def test_past_steps_run_at_their_own_parameters():
    network = dense()
    scope = VariablesScope(network, network.trainable_variables)
    buffer, kernels = RingBuffer(3), []
    for number in (1, 2):
        network.set_weights([w + number for w in network.get_weights()])
        state = NetworkState.of(network)
        kernels.append(network.layers[-1].kernel.numpy())
        present = step([1.0, 0.0, 1.0], seed=number, state=state)
        buffer.push(stored_step(scope, present))
    found = past_steps(scope, buffer, present)
    assert len(found) == 3
    for past, kernel, seed in zip(found, kernels[::-1], (2, 1), strict=False):
        state = past.forward_pass.before
        np.testing.assert_array_equal(state.trainable[0], kernel)
        right = step([1.0, 0.0, 1.0], seed=seed)
        np.testing.assert_array_equal(past.batch.index, right.batch.index)
        np.testing.assert_array_equal(past.mask, [1.0, 0.0, 1.0])
        np.testing.assert_array_equal(past.factors[1], right.factors[1])
        assert past.batch.sample_weight is None
        assert past.forward_pass.tape is None
    np.testing.assert_array_equal(found[2].mask, 0.0)  # no such step yet
