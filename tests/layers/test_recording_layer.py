import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_influence.layers import Dense, Recording, RecordingLayer, tapped
from tests.cases.layers import assert_close


@pytest.fixture
def inputs():
    return np.random.normal(size=(4, 5)).astype("float32")


class Scale(RecordingLayer):
    """The smallest layer that a user may write."""

    def build(self, input_shape):
        self.scale = self.add_weight(shape=input_shape[-1:])

    def features(self, inputs, power=1):
        return inputs**power

    def linear(self, features, scale):
        return features * scale

    def readout(self, outputs):
        return ops.tanh(outputs)


@pytest.mark.parametrize("jit_compile", [None, False, True])
def test_custom_layer_has_all_primitives(inputs, jit_compile):
    layer = Scale()
    layer(inputs)

    def primitives():
        with Recording() as recording, tf.GradientTape() as tape:
            loss = ops.sum(layer(inputs, power=2))
        (record,) = recording.records
        found = record.inputs, tape.gradient(loss, record.outputs)
        return (
            layer.per_example_gradients(*found)[0],
            layer.dot(*found, [np.arange(5.0, dtype="float32")]),
            layer.gram(*found, *found),
        )

    if jit_compile is not None:
        primitives = tf.function(primitives, jit_compile=jit_compile)
    squares = inputs**2
    slope = 1 - np.tanh(squares * layer.scale.numpy()) ** 2
    expected = slope * squares
    explicit, dots, gram = primitives()
    assert_close(explicit, expected, 1e-5)
    assert_close(dots, expected @ np.arange(5.0), 1e-5)
    assert_close(gram, expected @ expected.T, 1e-5)


def test_linear_must_be_written(inputs):
    with pytest.raises(NotImplementedError, match="must implement `linear"):
        RecordingLayer()(inputs)


def test_nothing_is_kept_outside_a_recording(inputs):
    layer = Dense(3)
    with Recording() as recording:
        layer(inputs)
    layer(inputs)
    assert len(recording.records) == 1


def test_innermost_recording_keeps(inputs):
    layer = Dense(3)
    with Recording() as outer:
        with Recording() as inner:
            layer(inputs)
        layer(inputs), layer(inputs)
    assert (len(outer.records), len(inner.records)) == (2, 1)


def test_an_error_ends_a_recording(inputs):
    layer = Dense(3)
    with pytest.raises(ZeroDivisionError), Recording() as recording:
        raise ZeroDivisionError
    layer(inputs)
    assert recording.records == []


def test_other_threads_see_nothing(inputs):
    layer = Dense(3)
    layer(inputs)
    seen = []

    def record_too():
        with Recording() as theirs:
            layer(inputs)
        layer(inputs)
        seen.append(len(theirs.records))

    with Recording() as ours:
        thread = threading.Thread(target=record_too)
        thread.start()
        thread.join()
    assert seen == [1]
    assert ours.records == []


@pytest.fixture
def model():
    head = keras.layers.Dense(3, name="head")
    return keras.Sequential([keras.Input((5,)), head])


def test_tapped_records_the_tensors_that_the_network_uses(model, inputs):
    head = model.layers[-1]
    x = tf.constant(inputs)
    # Replicas tap one layer at the same time.
    with tapped(head), tapped(head), Recording() as recording:
        outputs = model(x)
    (record,) = recording.records
    assert record.layer is head
    assert record.outputs is outputs
    assert_close(record.inputs, inputs, 0.0)


def test_tapped_leaves_recording_layers_alone(inputs):
    layer = Dense(3)
    with tapped(layer), Recording() as recording:
        layer(inputs)
    assert len(recording.records) == 1


def test_a_tap_is_gone_when_its_context_ends(model, inputs):
    head = model.layers[-1]
    with pytest.raises(RuntimeError), tapped(head):
        raise RuntimeError
    assert "call" not in vars(head)
    with Recording() as recording:
        model(inputs)
    assert recording.records == []


def test_a_call_of_the_users_own_comes_back(model, inputs):
    head = model.layers[-1]
    own = head.call = lambda x: 2.0 * keras.layers.Dense.call(head, x)
    with tapped(head), Recording() as recording:
        model(inputs)
    assert len(recording.records) == 1
    assert head.call is own


def test_taps_of_threads_overlap(model, inputs):
    head, counts = model.layers[-1], []
    inside, outside = threading.Event(), threading.Event()

    def short():
        with tapped(head):
            inside.set()
        outside.set()

    with tapped(head):
        thread = threading.Thread(target=short)
        thread.start()
        assert inside.wait(10)
        assert outside.wait(10)
        with Recording() as recording:
            model(inputs)
        counts.append(len(recording.records))
        thread.join()
    assert counts == [1]
    assert "call" not in vars(head)
