import hypothesis
import hypothesis.strategies as st
import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_influence.layers import Conv2D, DepthwiseConv2D
from tests.cases.layers import (
    assert_close,
    check_primitives,
    few_examples,
    run_layer_test,
)

geometry = st.fixed_dictionaries(
    {
        "kernel_size": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "padding": st.sampled_from(["valid", "same"]),
        "use_bias": st.booleans(),
        "activation": st.sampled_from([None, "tanh"]),
    }
)
steps = st.sampled_from([{"strides": 1}, {"strides": 2}, {"dilation_rate": 2}])


@few_examples
@hypothesis.given(geometry=geometry, steps=steps, groups=st.integers(1, 2))
def test_convolution_primitives(geometry, steps, groups):
    arguments = {**geometry, **steps, "filters": 4, "groups": groups}
    arguments["dtype"] = "float64"
    check_primitives(
        Conv2D(**arguments),
        keras.layers.Conv2D(**arguments),
        np.random.normal(size=(3, 6, 5, 2)),
    )


@few_examples
@hypothesis.given(
    geometry=geometry, steps=steps, depth_multiplier=st.integers(1, 2)
)
def test_depthwise_primitives(geometry, steps, depth_multiplier):
    arguments = {**geometry, **steps, "depth_multiplier": depth_multiplier}
    arguments["dtype"] = "float64"
    check_primitives(
        DepthwiseConv2D(**arguments),
        keras.layers.DepthwiseConv2D(**arguments),
        np.random.normal(size=(3, 6, 5, 2)),
    )


@pytest.mark.parametrize(
    ("kind", "stock", "arguments"),
    [
        (Conv2D, keras.layers.Conv2D, {"filters": 4, "strides": 2}),
        (Conv2D, keras.layers.Conv2D, {"filters": 4, "groups": 2}),
        (DepthwiseConv2D, keras.layers.DepthwiseConv2D, {}),
    ],
)
def test_is_a_convolution(kind, stock, arguments, tmp_path):
    arguments = {"kernel_size": 2, "activation": "tanh", **arguments}
    inputs = np.random.normal(size=(3, 5, 4, 2)).astype("float32")
    run_layer_test(kind, stock, arguments, inputs, tmp_path)


@pytest.mark.parametrize(
    ("kind", "arguments"), [(Conv2D, {"filters": 4}), (DepthwiseConv2D, {})]
)
def test_channels_first(kind, arguments):
    arguments = {"kernel_size": 2, "strides": 2, **arguments}
    last = kind(**arguments)
    first = kind(**arguments, data_format="channels_first")
    inputs = np.random.normal(size=(3, 6, 4, 2)).astype("float32")
    gradients = np.random.normal(size=last(inputs).shape).astype("float32")
    vector = [np.random.normal(size=p.shape) for p in last.parameters]
    vector = [v.astype("float32") for v in vector]
    found = [np.moveaxis(x, -1, 1) for x in (inputs, gradients)]
    first.build(found[0].shape)

    # On a CPU, only XLA has convolutions with channels first.
    dot = tf.function(first.dot, jit_compile=True)
    assert_close(dot(*found, vector), last.dot(inputs, gradients, vector), 1e-4)
    for ours, theirs in zip(
        first.per_example_gradients(*found),
        last.per_example_gradients(inputs, gradients),
        strict=True,
    ):
        assert_close(ours, theirs, 1e-5)
