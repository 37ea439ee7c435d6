import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_influence import keras_private


def nested():
    inner = keras.Sequential(
        [keras.Input((3,)), keras.layers.BatchNormalization(name="norm")],
        name="inner",
    )
    outer = [keras.Input((3,)), inner, keras.layers.Dense(2, name="head")]
    return keras.Sequential(outer, name="outer")


def test_all_layers():
    names = [layer.name for layer in keras_private.all_layers(nested())]
    assert {"outer", "inner", "norm", "head"} <= set(names)


def test_own_statistics_are_those_of_layers_that_train():
    network = nested()
    norm = network.get_layer("inner").get_layer("norm")
    network.get_layer("head").trainable = False
    found = keras_private.own_statistics(network)
    assert [id(v) for v in found] == [
        id(norm.moving_mean),
        id(norm.moving_variance),
    ]
    norm.trainable = False
    assert keras_private.own_statistics(network) == []


def test_seeds_are_no_statistics():
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.5)])
    assert keras_private.own_statistics(network) == []


@pytest.mark.parametrize("scaled", [False, True])
def test_batches_seen(scaled):
    variable = keras.Variable([1.0])
    optimizer = keras.optimizers.SGD(gradient_accumulation_steps=2)
    whole = (
        keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer
    )
    whole.build([variable])
    assert keras_private.batches_seen(whole) == 0
    assert keras_private.accumulation_steps(whole) == 2
    for _ in range(3):
        optimizer.apply([tf.ones(1)], [variable])
    assert keras_private.batches_seen(whole) == 3
    assert int(optimizer.iterations) == 1
    plain = keras.optimizers.SGD()
    plain.build([variable])
    assert keras_private.batches_seen(plain) == 0
    assert keras_private.accumulation_steps(plain) == 1


def test_the_place_of_a_variable():
    variables = [keras.Variable([float(i)]) for i in range(3)]
    optimizer = keras.optimizers.SGD()
    optimizer.build(variables)
    places = [keras_private.variable_place(optimizer, v) for v in variables]
    assert places == [0, 1, 2]


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_steps(run_eagerly):
    model = nested()
    model.compile(loss="mse", run_eagerly=run_eagerly, steps_per_execution=2)
    seen = []

    def step(data):
        seen.append(tf.executing_eagerly())
        return {"sum": tf.reduce_sum(data)}

    run = keras_private.step_on_data(model, step, jit_compile=False)
    assert float(run(tf.constant([1.0, 2.0]))["sum"]) == 3.0
    assert seen[-1] is run_eagerly
    numbers = iter(tf.data.Dataset.from_tensor_slices(np.eye(4)))
    run = keras_private.steps_on_iterator(model, step)
    run(numbers)
    np.testing.assert_array_equal(next(numbers), [0, 0, 1, 0])


def test_the_loss_that_fit_shows():
    model = nested()
    model.compile(loss="mse")
    tracker = keras_private.loss_tracker(model)
    assert tracker.name == "loss"
    tracker.update_state(3.0)
    assert float(model.metrics[0].result()) == 3.0


def stock(model):
    """As Keras does it, until it no longer keeps traces."""

    def step(data):
        return tf.distribute.get_strategy().run(model.train_step, args=(data,))

    return tf.function(step, autograph=False)


def on_data(model):
    return keras_private.step_on_data(model, model.train_step, False)


def on_iterator(model):
    function = keras_private.steps_on_iterator(model, model.train_step)

    def step(data):
        return function(iter(tf.data.Dataset.from_tensors(data).repeat()))

    return step


def graphs():
    gc.collect()
    objects = gc.get_objects()
    return [o for o in objects if type(o).__name__ == "FuncGraph"]


@pytest.mark.parametrize(
    ("compiled", "is_kept"),
    [(stock, True), (on_data, False), (on_iterator, False)],
)
def test_traces_are_freed(compiled, is_kept):
    """With all that they captured. Where the first fails, it can go."""
    before = len(graphs())
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("adam", "mse", steps_per_execution=2)
    compiled(model)((tf.ones((4, 3)), tf.ones((4, 2))))
    assert int(model.optimizer.iterations) > 0
    del model
    assert (len(graphs()) > before) is is_kept
