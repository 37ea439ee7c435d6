"""Which of two steps runs, with a model that only counts."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_influence import keras_private
from keras_influence.models import train_function
from keras_influence.models.schedule import Schedule
from keras_influence.models.train_function import TrainFunction


@pytest.fixture
def model(monkeypatch):
    """Each step logs what it did, and counts as Keras does."""
    optimizer = keras.optimizers.SGD(gradient_accumulation_steps=None)
    optimizer.build([])

    def train_step(data, updates):
        optimizer._iterations.assign_add(1)
        model.ran.append((data, updates))
        return {"data": data}

    def on_iterator(_, step):
        return lambda iterator: [
            step(next(iterator)) for _ in range(model.steps_per_execution)
        ][-1]

    def on_data(_, step, jit_compile):
        model.compiled.append(jit_compile)
        return step

    monkeypatch.setattr(train_function, "steps_on_iterator", on_iterator)
    monkeypatch.setattr(train_function, "step_on_data", on_data)
    model = types.SimpleNamespace(
        train_step=train_step,
        optimizer=optimizer,
        schedule=Schedule(3, 0),
        steps_per_execution=2,
        jit_compile=True,
        suits_xla=True,
        on_nonfinite="skip",
        ran=[],
        compiled=[],
    )
    return model


@pytest.mark.parametrize("per_execution", [1, 2, 5])
def test_every_batch_runs_its_own_step(model, per_execution):
    model.steps_per_execution = per_execution
    run, iterator = TrainFunction(model), iter(range(10))
    for _ in range(10 // per_execution):
        logs = run(iterator)
    assert logs == {"data": 9}
    assert model.ran == [(i, i in (2, 5, 8)) for i in range(10)]


def test_a_single_step_does_without_keras_loop(model, monkeypatch):
    def on_iterator(*_):
        return lambda iterator: pytest.fail("Keras' loop ran.")

    monkeypatch.setattr(train_function, "steps_on_iterator", on_iterator)
    model.steps_per_execution = 1
    run, iterator = TrainFunction(model), iter(range(4))
    assert [run(iterator)["data"] for _ in range(4)] == [0, 1, 2, 3]


def test_accumulated_batches_make_one_step(model):
    model.optimizer.gradient_accumulation_steps = 2
    model.schedule = Schedule(2, 1)
    run, iterator = TrainFunction(model), iter(range(12))
    for _ in range(6):
        run(iterator)
    # Steps 2 and 4 of the network, and there the second batch.
    assert [i for i, updates in model.ran if updates] == [5, 9]


def test_the_optimizer_is_asked_once_an_epoch(model, monkeypatch):
    asked = []

    def batches_seen(optimizer):
        asked.append(optimizer)
        return keras_private.batches_seen(optimizer)

    monkeypatch.setattr(train_function, "batches_seen", batches_seen)
    run, iterator = TrainFunction(model), iter(range(40))
    for _ in range(5):
        run(iterator)
    assert len(asked) == 1
    model.optimizer._iterations.assign(100)  # a checkpoint was loaded
    run.count_anew()
    run(iterator)
    assert len(asked) == 2
    assert model.ran[-2:] == [(10, False), (11, True)]  # steps 100 and 101
    # An overflow is a step that does not count.
    scaled = keras.optimizers.LossScaleOptimizer(model.optimizer)
    model.optimizer = scaled
    run(iterator)
    run(iterator)
    assert len(asked) == 4


def test_data_that_end(model):
    run = TrainFunction(model)
    model.schedule = Schedule(1, 0)
    assert run(iter([7])) == {"data": 7}
    with pytest.raises(StopIteration):
        run(iter([]))


@pytest.mark.parametrize("suits_xla", [False, True])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_what_xla_compiles(model, suits_xla, jit_compile):
    model.suits_xla, model.jit_compile = suits_xla, jit_compile
    TrainFunction(model)
    assert model.compiled == [jit_compile, jit_compile and suits_xla]


def test_errors_where_they_are_asked_for(model):
    def assert_finite():
        raise FloatingPointError

    model.training_metrics = types.SimpleNamespace(assert_finite=assert_finite)
    run = TrainFunction(model)
    run(iter(range(2)))
    model.on_nonfinite = "raise"
    with pytest.raises(FloatingPointError):
        run(iter(range(2)))
    assert np.ravel([i for i, _ in model.ran]).tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("noticed", ["Connection reset", "a bad heartbeat"])
def test_a_lost_worker_is_told_whatever_was_noticed(model, noticed):
    message = f"Collective ops is aborted by: {noticed} of /task:1"

    def train_step(*_, **__):
        raise tf.errors.UnavailableError(None, None, message)

    model.train_step = train_step
    with pytest.raises(tf.errors.UnavailableError) as lost:
        TrainFunction(model)(iter(range(2)))
    assert str(lost.value).startswith("A worker of the cluster has ended")
    assert str(lost.value).endswith(message)


def test_other_errors_pass(model):
    error = tf.errors.InvalidArgumentError(None, None, "An id is too large")

    def train_step(*_, **__):
        raise error

    model.train_step = train_step
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        TrainFunction(model)(iter(range(2)))
    assert raised.value is error
