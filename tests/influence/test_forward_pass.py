import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_influence.influence.forward_pass import (
    NetworkState,
    StatelessNetwork,
    TrainingPass,
)
from tests.cases.models import FEATURES, draw, network

X = draw(6, 0)[0]


@pytest.fixture
def built():
    return network()


def snapshot(built):
    return [v.numpy() for v in built.variables]


def test_a_pass_keeps_what_it_started_from(built):
    before = [v.numpy() for v in built.non_trainable_variables]
    head = built.layers[-1]
    forward = TrainingPass(built, [head], again=True)
    with forward:
        logits = forward(X)
        losses = [tf.reduce_sum(logits**2, -1)]
    run = forward.differentiable(losses)
    for found, value in zip(run.before.non_trainable, before, strict=True):
        np.testing.assert_array_equal(found, value)
    # Batch statistics and seeds did move.
    after = [v.numpy() for v in built.non_trainable_variables]
    assert any((a != b).any() for a, b in zip(after, before, strict=True))
    (record,) = run.recording.records
    assert record.layer is head
    delta = run.tape.gradient(run.losses[0], record.outputs)
    np.testing.assert_allclose(delta, 2 * logits, rtol=1e-6)
    # Persistent: differentiated once more.
    assert run.tape.gradient(run.losses[0], record.outputs) is not None


def test_logits_are_as_wide_as_the_variables():
    layer = keras.layers.Dense(2, dtype="mixed_bfloat16")
    built = keras.Sequential([keras.Input((FEATURES,)), layer])
    with TrainingPass(built, []) as forward:
        assert forward(X).dtype == "float32"


@pytest.mark.parametrize("training", [False, True])
def test_a_stateless_network_moves_nothing(built, training):
    before = snapshot(built)
    stateless = StatelessNetwork(built, built.trainable_variables, training)
    first = stateless(stateless.parameters, X)
    np.testing.assert_array_equal(first, stateless(stateless.parameters, X))
    for now, then in zip(snapshot(built), before, strict=True):
        np.testing.assert_array_equal(now, then)
    expected = built(X, training=training)
    np.testing.assert_allclose(first, expected, rtol=1e-5, atol=1e-6)


def test_values_in_scope_take_their_places(built):
    kernel, bias = built.layers[-1].trainable_variables
    stateless = StatelessNetwork(built, [bias, kernel], training=False)
    for found, variable in zip(
        stateless.parameters, (bias, kernel), strict=True
    ):
        np.testing.assert_array_equal(found, variable.numpy())
    moved = stateless([bias.value + 1.0, kernel.value], X)
    np.testing.assert_allclose(
        moved, built(X, training=False) + 1.0, rtol=1e-5, atol=1e-6
    )


def test_the_state_of_another_time(built):
    then = NetworkState.of(built)
    expected = built(X, training=False)
    built.set_weights([w + 1.0 for w in built.get_weights()])
    stateless = StatelessNetwork(built, [], training=False, state=then)
    stateless.variables, logits = [], stateless
    found, _ = built.stateless_call(
        then.trainable, then.non_trainable, X, training=False
    )
    assert logits.state is then
    np.testing.assert_allclose(found, expected, rtol=1e-5)
