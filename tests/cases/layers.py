"""What every recording layer must do, for the tests of each of them."""

import hypothesis
import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.layers import Recording

# Without shrinking, which would compile for minutes.
few_examples = hypothesis.settings(
    max_examples=10,
    deadline=None,
    phases=[hypothesis.Phase.reuse, hypothesis.Phase.generate],
)


def run_layer_test(kind, stock_kind, arguments, inputs, path):
    """A drop-in replacement of the stock layer, in every mode of Keras."""
    layer, stock = kind(**arguments), stock_kind(**arguments)
    assert layer(inputs).shape == stock(inputs).shape
    shapes = (x.compute_output_shape(inputs.shape) for x in (layer, stock))
    assert next(shapes) == next(shapes)
    assert [w.path.split("/")[-1] for w in layer.weights] == [
        w.path.split("/")[-1] for w in stock.weights
    ]
    _check_weights(layer, stock, inputs)
    _check_weight_files(layer, stock, inputs, path)
    _check_serialization(layer, inputs, path)
    _check_compilation(layer, inputs)
    _check_precision(kind, stock_kind, arguments, inputs)
    _check_frozen(layer, inputs)


def check_primitives(layer, stock, inputs, rtol=1e-9, **call):
    """Primitives against a loop over examples with the stock layer."""
    layer(inputs), stock(inputs)
    randomize(layer)
    stock.set_weights(layer.get_weights())
    size = len(inputs)
    weight = np.random.normal(size=layer(inputs).shape)

    found = record_gradients(layer, inputs, weight, **call)
    explicit = layer.per_example_gradients(*found)
    expected = gradients_by_loop(stock, inputs, weight, **call)
    for ours, theirs in zip(explicit, expected, strict=True):
        assert_close(ours, theirs, rtol)

    vector = [np.random.normal(size=e.shape[1:]) for e in expected]
    vector = [v.astype(found[1].dtype.name) for v in vector]
    dots = sum(
        np.sum(np.reshape(e * v, (size, -1)), axis=1)
        for e, v in zip(expected, vector, strict=True)
    )
    assert_close(layer.dot(*found, vector), dots, rtol)

    others = [x[: size - 1] for x in found]
    flat = np.concatenate([e.reshape(size, -1) for e in expected], axis=1)
    gram = layer.gram(*found, *others)
    assert_close(gram, flat @ flat[: size - 1].T, rtol)


def record_gradients(layer, inputs, weight, **call):
    """Features and output gradients of `sum(weight * tanh(layer(inputs)))`."""
    with Recording() as recording, tf.GradientTape() as tape:
        loss = smooth_loss(layer(inputs, **call), weight)
    (record,) = recording.records
    assert record.layer is layer
    return record.inputs, tape.gradient(loss, record.outputs)


def gradients_by_loop(stock, inputs, weight, **call):
    """The gradient of each example's own loss, one example at a time."""
    parameters = [v.value for v in stock.trainable_variables]
    rows = []
    for n in range(len(inputs)):
        with tf.GradientTape() as tape:
            outputs = stock(inputs[n : n + 1], **call)
            loss = smooth_loss(outputs, weight[n : n + 1])
        gradients = tape.gradient(loss, parameters)
        rows.append([tf.convert_to_tensor(g).numpy() for g in gradients])
    return [np.stack(column) for column in zip(*rows, strict=True)]


def smooth_loss(outputs, weight):
    return ops.sum(ops.cast(weight, outputs.dtype) * ops.tanh(outputs))


def randomize(layer):
    """Positive weights, so that they may be variances too."""
    layer.set_weights(
        [np.random.uniform(0.5, 1.5, w.shape) for w in layer.weights]
    )


def assert_close(ours, theirs, rtol):
    ours, theirs = (ops.convert_to_numpy(x) for x in (ours, theirs))
    scale = max(np.abs(theirs).max(initial=0.0), 1e-3)
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * scale)


def _check_weights(layer, stock, inputs):
    randomize(stock)
    layer.set_weights(stock.get_weights())
    assert_close(layer(inputs), stock(inputs), 1e-6)
    randomize(layer)
    stock.set_weights(layer.get_weights())
    assert_close(stock(inputs), layer(inputs), 1e-6)


def _check_weight_files(layer, stock, inputs, path):
    ours, theirs = (
        keras.Sequential([keras.Input(inputs.shape[1:]), x])
        for x in (layer, stock)
    )
    for source, target in ((ours, theirs), (theirs, ours)):
        randomize(source)
        source.save_weights(path / "layer.weights.h5")
        target.load_weights(path / "layer.weights.h5")
        assert_close(target(inputs), source(inputs), 1e-6)


def _check_serialization(layer, inputs, path):
    copy = type(layer).from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    model = keras.Sequential([keras.Input(inputs.shape[1:]), layer])
    model.save(path / "model.keras")
    loaded = keras.models.load_model(path / "model.keras")
    assert type(loaded.layers[0]) is type(layer)
    assert_close(loaded(inputs), model(inputs), 1e-6)


def _check_compilation(layer, inputs):
    """Forward pass and primitives in graphs, with open shapes, under XLA."""

    def everything(inputs):
        return [layer(inputs), *_primitives(layer, inputs)]

    expected = everything(inputs)
    shape = [None] * (inputs.ndim - 1) + [inputs.shape[-1]]
    open_shapes = [tf.TensorSpec(shape, inputs.dtype)]
    for options in (
        {},
        {"input_signature": open_shapes},
        {"jit_compile": True},
    ):
        compiled = tf.function(everything, **options)(tf.constant(inputs))
        for ours, theirs in zip(compiled, expected, strict=True):
            assert_close(ours, theirs, 1e-4)


def _check_precision(kind, stock_kind, arguments, inputs):
    """Half-precision forwards, full-precision sums over their records."""
    for policy, rtol in (("mixed_float16", 2e-2), ("mixed_bfloat16", 1e-1)):
        layer = kind(**arguments, dtype=policy)
        stock = stock_kind(**arguments, dtype=policy)
        exact = kind(**arguments)
        layer(inputs), stock(inputs), exact(inputs)
        randomize(layer)
        for other in (stock, exact):
            other.set_weights(layer.get_weights())
        outputs, expected = layer(inputs), stock(inputs)
        assert outputs.dtype == expected.dtype == layer.compute_dtype
        assert ops.all(ops.equal(outputs, expected))
        for ours, theirs in zip(
            _primitives(layer, inputs), _primitives(exact, inputs), strict=True
        ):
            assert ours.dtype == "float32"
            assert_close(ours, theirs, rtol)


def _primitives(layer, inputs):
    found = record_gradients(layer, inputs, 1.0)
    vector = [ops.ones(p.shape) for p in layer.parameters]
    return [
        layer.dot(*found, vector),
        *layer.per_example_gradients(*found),
        layer.gram(*found, *found),
    ]


def _check_frozen(layer, inputs):
    expected = layer(inputs)
    layer.trainable = False
    assert_close(layer(inputs), expected, 1e-6)
    assert layer.parameters
    assert not layer.trainable_variables
    layer.trainable = True
