"""A kept trace is another model's, never another problem's."""

import keras
import numpy as np
import pytest

import keras_influence as ki
from keras_influence.influence import compiled_scores
from tests.cases.influence import assert_close

CROSSENTROPY = keras.losses.CategoricalCrossentropy
random = np.random.default_rng(0)
X, VALIDATION_X = random.normal(size=(11, 4)), random.normal(size=(5, 4))
Y, VALIDATION_Y = (np.eye(3)[random.integers(0, 3, n)] for n in (11, 5))


def network(head=keras.layers.Dense, **arguments):
    if head is keras.layers.Dense:
        arguments = {"units": 3, **arguments}
    layers = [keras.Input((4,), dtype="float64")]
    return keras.Sequential([*layers, head(dtype="float64", **arguments)])


def scores(model, loss=None, influence=None, classes=3):
    loss = loss or CROSSENTROPY(from_logits=True)
    y, validation_y = (
        np.eye(classes)[labels.argmax(-1) % classes]
        for labels in (Y, VALIDATION_Y)
    )
    validation = VALIDATION_X, validation_y
    return ki.influence_scores(
        model, (X, y), validation, loss=loss, influence=influence
    )


def kept(function):
    """A function's result, and how many traces were kept and used for it."""
    before = compiled_scores._kept_trace.cache_info()
    result = function()
    after = compiled_scores._kept_trace.cache_info()
    return result, (after.misses - before.misses, after.hits - before.hits)


def without_traces(monkeypatch, function):
    with monkeypatch.context() as patch:
        patch.setattr(compiled_scores, "_is_known", lambda part: False)
        return function()


def own_penalty(kernel):
    return keras.ops.sum(kernel**2)


def own_loss(labels, logits):
    return keras.ops.sum((labels - logits) ** 2, -1)


@pytest.fixture(autouse=True)
def clear():
    compiled_scores._kept_trace.cache_clear()


def test_a_trace_serves_models_of_a_kind(monkeypatch):
    first, second = network(), network()
    _, used = kept(lambda: scores(first))
    assert used == (1, 0)
    ours, used = kept(lambda: scores(second))
    assert used == (0, 1)
    assert_close(ours, without_traces(monkeypatch, lambda: scores(second)))


@pytest.mark.parametrize(
    "change",
    [
        {"loss": CROSSENTROPY(from_logits=True, label_smoothing=0.3)},
        {"loss": keras.losses.BinaryCrossentropy(from_logits=True)},
        {"influence": ki.Influence(outer="margin")},
        {"influence": ki.Influence(solver=ki.solvers.Exact(0.5))},
        {"model": network(use_bias=False)},
        {"model": network(kernel_regularizer=keras.regularizers.L2(1.0))},
        {"model": network(ki.layers.BinaryLogits), "classes": 2},
        {"model": network(units=2), "classes": 2},
    ],
)
def test_another_problem_is_another_trace(change, monkeypatch):
    arguments = {"model": network(), **change}
    scores(network())
    ours, used = kept(lambda: scores(**arguments))
    assert used == (1, 0)
    assert_close(ours, without_traces(monkeypatch, lambda: scores(**arguments)))


@pytest.mark.parametrize(
    "change",
    [
        {"loss": own_loss},
        {"loss": keras.losses.Huber(delta=0.1)},  # not in its configuration
        {"influence": ki.Influence(outer=own_loss)},
        {"model": network(kernel_regularizer=own_penalty)},
    ],
)
def test_what_a_configuration_does_not_say_is_not_kept(change):
    _, used = kept(lambda: scores(**{"model": network(), **change}))
    assert used == (0, 0)
