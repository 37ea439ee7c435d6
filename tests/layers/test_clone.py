import warnings

import keras
import numpy as np
import pytest
from keras import layers as stock
from keras import ops

from keras_influence import layers
from keras_influence.layers import Recording, RecordingLayer, recording_clone
from keras_influence.layers.clone import untrained_clone
from tests.cases.layers import assert_close, randomize


def block(size):
    """A nested functional model with a skip connection."""
    inputs = keras.Input((None, size))
    x = stock.LayerNormalization()(inputs)
    x = stock.EinsumDense("abc,cd->abd", (None, size), bias_axes="d")(x)
    return keras.Model(inputs, inputs + ops.relu(x), name="block")


def two_in_two_out():
    """Shared and nested layers, two inputs, two outputs."""
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    image = keras.Input((8, 8, 3), name="image")
    shared = block(4)
    text = shared(shared(stock.Embedding(10, 4)(tokens)))
    vision = keras.Sequential(
        [
            stock.Conv2D(4, 3, use_bias=False),
            stock.BatchNormalization(),
            stock.ReLU(),
            stock.DepthwiseConv2D(3),
            keras.Sequential([stock.GlobalAveragePooling2D()]),
        ],
        name="vision",
    )(image)
    head = stock.Dense(4, name="head")
    outputs = {
        "text": head(stock.Flatten()(text)[:, :4]),
        "image": head(vision),
    }
    return keras.Model({"tokens": tokens, "image": image}, outputs)


@pytest.fixture
def model():
    model = two_in_two_out()
    randomize(model)
    return model


@pytest.fixture
def data():
    return {
        "tokens": np.random.randint(10, size=(3, 6)),
        "image": np.random.normal(size=(3, 8, 8, 3)).astype("float32"),
    }


def leaves(model):
    for layer in model.layers:
        nested = isinstance(layer, (keras.Sequential, keras.Function))
        yield from leaves(layer) if nested else [layer]


def test_same_outputs_weights_and_names(model, data):
    clone = recording_clone(model)
    for ours, theirs in zip(clone.weights, model.weights, strict=True):
        assert ours is not theirs
        assert_close(ours, theirs, 0.0)
    found, expected = clone(data), model(data)
    assert found.keys() == expected.keys()
    for key in expected:
        assert_close(found[key], expected[key], 1e-6)
    assert clone.name == model.name
    names = [[x.name for x in leaves(m) if x.weights] for m in (clone, model)]
    assert names[0] == names[1]


def test_every_layer_records(model, data):
    clone = recording_clone(model)
    parametrised = [x for x in leaves(clone) if x.weights]
    assert len(parametrised) == 7
    assert all(isinstance(x, RecordingLayer) for x in parametrised)
    with Recording() as found:
        clone(data)
    calls = sorted(type(r.layer).__name__ for r in found.records)
    assert calls == sorted(
        ["Embedding", "Conv2D", "BatchNormalization", "DepthwiseConv2D"]
        + ["LayerNormalization", "EinsumDense", "Dense"] * 2
    )


def test_is_a_copy(model, data):
    clone = recording_clone(model)
    before = model.get_weights()
    randomize(clone)
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        assert_close(ours, theirs, 0.0)


def test_keeps_what_is_trainable(model):
    model.get_layer("block").trainable = False
    model.get_layer("vision").layers[0].trainable = False
    model.get_layer("head").bias.trainable = False
    clone = recording_clone(model)
    assert not clone.get_layer("block").trainable
    assert len(model.trainable_variables) < len(model.weights)
    assert [v.shape for v in clone.trainable_variables] == [
        v.shape for v in model.trainable_variables
    ]


@pytest.mark.parametrize("name", ["vision", "block"])
def test_keeps_a_thawed_layer_of_a_frozen_model(model, name):
    nested = model.get_layer(name)
    nested.trainable = False
    nested.layers[1].trainable = True
    clone = recording_clone(model).get_layer(name)
    assert not clone.trainable
    assert [x.trainable for x in clone.layers] == [
        x.trainable for x in nested.layers
    ]


def test_keeps_precision():
    half = stock.Dense(3, dtype="mixed_bfloat16")
    model = keras.Sequential([keras.Input((5,)), half, stock.Dense(2)])
    clone = recording_clone(model)
    assert [x.compute_dtype for x in clone.layers] == ["bfloat16", "float32"]


def test_names_what_it_cannot_replace():
    class Doubled(stock.Dense):
        pass

    model = keras.Sequential(
        [
            keras.Input((6, 5)),
            stock.SeparableConv1D(4, 2, name="separable"),
            stock.LSTM(3, name="memory"),
            stock.Dropout(0.1),
            stock.Dense(3),
            Doubled(2, name="doubled"),
        ]
    )
    with pytest.warns(UserWarning, match="no recording layer") as caught:
        clone = recording_clone(model)
    assert len(caught) == 1
    message = str(caught[0].message)
    assert "'separable' (SeparableConv1D), 'memory' (LSTM), " in message
    assert "'doubled' (Doubled)" in message
    assert "dropout" not in message
    assert "dense" not in message
    assert caught[0].filename == __file__
    inputs = np.random.normal(size=(3, 6, 5)).astype("float32")
    assert_close(clone(inputs), model(inputs), 1e-6)


def test_layers_that_record_already_stay():
    model = keras.Sequential(
        [keras.Input((5,)), layers.Dense(3), layers.BinaryLogits()]
    )
    clone = recording_clone(model)
    assert type(clone.layers[0]) is layers.Dense
    assert type(clone.layers[1]) is layers.BinaryLogits
    assert_close(clone(np.ones((2, 5))), model(np.ones((2, 5))), 1e-6)


def test_low_rank_adapters_stay():
    model = keras.Sequential([keras.Input((5,)), stock.Dense(3, lora_rank=2)])
    with pytest.warns(UserWarning, match="Dense"):
        clone = recording_clone(model)
    assert type(clone.layers[0]) is stock.Dense
    assert_close(clone(np.ones((2, 5))), model(np.ones((2, 5))), 1e-6)


def test_lambda_layers_stay():
    model = keras.Sequential(
        [keras.Input((5,)), stock.Lambda(lambda x: 2 * x), stock.Dense(3)]
    )
    inputs = np.random.normal(size=(3, 5)).astype("float32")
    assert_close(recording_clone(model)(inputs), model(inputs), 1e-6)


def test_compiled_models_stay_compiled():
    model = keras.Sequential([keras.Input((5,)), stock.Dense(3)])
    model.compile("sgd", loss="mse")
    history = recording_clone(model).fit(
        np.ones((4, 5)), np.ones((4, 3)), verbose=0
    )
    assert np.isfinite(history.history["loss"][0])


def test_saves_and_loads(model, data, tmp_path):
    clone = recording_clone(model)
    clone.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_close(loaded(data)["text"], model(data)["text"], 1e-6)
    assert all(
        isinstance(x, RecordingLayer) for x in leaves(loaded) if x.weights
    )
    model.save_weights(tmp_path / "model.weights.h5")
    randomize(clone)
    clone.load_weights(tmp_path / "model.weights.h5")
    assert_close(clone(data)["text"], model(data)["text"], 1e-6)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (type("Own", (keras.Model,), {})(), "functional or `Sequential`"),
        (keras.Sequential([stock.Dense(3)]), "built model"),
        (stock.Dense(3), "functional or `Sequential`"),
    ],
)
def test_refuses(model, message):
    with pytest.raises(ValueError, match=message):
        recording_clone(model)


@pytest.mark.slow
def test_application():
    model = keras.applications.MobileNetV2((32, 32, 3), 0.35, weights=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clone = recording_clone(model)
    images = np.random.normal(size=(2, 32, 32, 3)).astype("float32")
    assert_close(clone(images), model(images), 1e-6)
    assert [v.path for v in clone.weights] == [v.path for v in model.weights]


@pytest.mark.slow
def test_bert():
    keras_nlp = pytest.importorskip("keras_nlp")
    model = keras_nlp.models.BertBackbone(
        20, 1, 2, 8, 16, max_sequence_length=6
    )
    with pytest.warns(UserWarning, match="TransformerEncoder"):
        clone = recording_clone(model)
    tokens = np.ones((2, 6), "int32")
    data = dict.fromkeys(("token_ids", "segment_ids", "padding_mask"), tokens)
    assert_close(
        clone(data)["pooled_output"], model(data)["pooled_output"], 1e-6
    )


def numbers(size):
    return np.random.default_rng(0).normal(5.0, 3.0, (20, size))


@pytest.mark.parametrize(
    ("layer", "seen"),
    [
        (stock.Normalization(), numbers(3)),
        (stock.Discretization(num_bins=4, output_mode="one_hot"), numbers(1)),
        (stock.IntegerLookup(output_mode="one_hot"), [[3], [7]]),
        (stock.StringLookup(output_mode="one_hot"), [["a"], ["b"]]),
        (stock.TextVectorization(output_mode="multi_hot"), [["a b"], ["c"]]),
    ],
)
@pytest.mark.parametrize("clone", [recording_clone, untrained_clone])
def test_what_layers_were_adapted_to(layer, seen, clone):
    seen = ops.convert_to_tensor(seen)
    layer.adapt(seen)
    layer.trainable = False
    inputs = keras.Input(seen.shape[1:], dtype=seen.dtype)
    before = keras.Model(inputs, layer(inputs))
    model = keras.Sequential([inputs, before, stock.Dense(3)])
    copy = clone(model)
    np.testing.assert_array_equal(copy.layers[0](seen), before(seen))
    assert not layer.trainable
    assert copy.layers[-1].kernel is not model.layers[-1].kernel


@keras.saving.register_keras_serializable("test_clone")
class HalfFrozen(stock.Layer):
    """A block that was pretrained, with a layer that was not."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.before = stock.Dense(4, trainable=False)
        self.after = stock.Dense(4)

    def call(self, x):
        return self.after(self.before(x))


def frozen_kernel():
    layer = stock.Dense(4)
    layer.build((None, 4))
    layer.kernel.trainable = False
    return layer


def low_rank():
    layer = stock.Dense(4)
    layer.build((None, 4))
    layer.enable_lora(2)
    return layer


@pytest.mark.parametrize(
    ("made", "kept"),
    [(frozen_kernel, 1), (low_rank, 1), (HalfFrozen, 2)],
)
def test_weights_that_are_frozen_one_by_one_do_not_start_anew(made, kept):
    layer = made()
    model = keras.Sequential(
        [keras.Input((4,)), layer, stock.BatchNormalization(), stock.Dense(2)]
    )
    randomize(model)
    clone = untrained_clone(model)
    same = [
        np.array_equal(ours, theirs)
        for ours, theirs in zip(clone.weights, model.weights, strict=True)
    ]
    frozen = {id(v) for v in layer.weights if not v.trainable}
    assert len(frozen) == kept
    # Batch statistics are nothing that was frozen.
    assert same == [id(v) in frozen for v in model.weights]
    assert [v.trainable for v in clone.weights] == [
        v.trainable for v in model.weights
    ]
