import keras
import keras_nlp
import numpy as np
import pytest

import keras_influence as ki
from applications import bert as room
from applications.bert import bert, bert_tokenizer
from applications.tokens import bert_inputs, encode

LENGTH = 16
SHAPE = dict.fromkeys(("token_ids", "segment_ids", "padding_mask"), (LENGTH,))


@pytest.fixture(scope="module")
def inputs():
    tokenizer = bert_tokenizer()
    texts = ["A splendid film.", "Not worth a single cent."]
    return bert_inputs(encode(texts, tokenizer, LENGTH), tokenizer)


@pytest.fixture(scope="module")
def network():
    return bert(SHAPE, 2)


def test_is_the_pretrained_backbone(network, inputs):
    backbone = keras_nlp.models.BertBackbone.from_preset(
        room._location("minilm")
    )
    pooled = backbone(inputs)["pooled_output"]
    head = network.get_layer("logits")
    np.testing.assert_allclose(
        network(inputs), head(pooled), rtol=1e-4, atol=1e-6
    )
    assert np.ptp(pooled, axis=0).max() > 0.05
    assert network.count_params() == 22_713_216 + 385


def test_mean_pooling(inputs):
    network = bert(SHAPE, 3, pooling="mean")
    backbone, head = (
        network.get_layer(name) for name in ("bert_backbone", "logits")
    )
    sequence = backbone(inputs)["sequence_output"].numpy()
    lengths = inputs["padding_mask"].sum(axis=1)
    assert len(set(lengths)) > 1
    mean = np.stack(
        [
            row[:length].mean(axis=0)
            for row, length in zip(sequence, lengths, strict=True)
        ]
    )
    np.testing.assert_allclose(
        network(inputs), head(mean), rtol=1e-4, atol=1e-5
    )


def test_unknown_pooling():
    with pytest.raises(ValueError, match="pooling='max'"):
        bert(SHAPE, 2, pooling="max")


def test_heads(network):
    head = network.get_layer("logits")
    assert isinstance(head, ki.layers.BinaryLogits)
    assert network.layers[-2].rate == 0.1
    kernel = head.kernel.numpy()
    assert 0.015 < kernel.std() < 0.025
    assert abs(kernel).max() <= 0.04


def test_more_classes_and_mixed_precision(inputs):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = bert(SHAPE, 4, dropout=0.5)
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(network.layers[-1], ki.layers.Dense)
    assert network.layers[-2].rate == 0.5
    logits = network(inputs)
    assert logits.shape == (2, 4)
    assert logits.dtype == "float32"
    backbone = network.get_layer("bert_backbone")
    assert backbone(inputs)["pooled_output"].dtype == "bfloat16"


def test_other_names_are_presets_of_keras_nlp(monkeypatch):
    asked = []

    def from_preset(preset, **_):
        asked.append(preset)
        raise NotImplementedError

    monkeypatch.setattr(
        keras_nlp.models.BertBackbone, "from_preset", from_preset
    )
    with pytest.raises(NotImplementedError):
        bert(SHAPE, 2, "bert_base_en_uncased")
    assert asked == ["bert_base_en_uncased"]


@pytest.mark.parametrize("length", [2, 513])
def test_texts_longer_than_the_model(length):
    with pytest.raises(ValueError, match=f"3 to 512.*sequence_length={length}"):
        bert({"token_ids": (length,)}, 2)


@pytest.mark.parametrize("make", [lambda: bert(SHAPE, 2), bert_tokenizer])
def test_the_package_is_missing(make, monkeypatch):
    monkeypatch.setitem(room.PACKAGED, "minilm", "not_installed")
    with pytest.raises(ModuleNotFoundError, match="--no-deps not-installed"):
        make()


def test_only_the_last_layers_are_trained():
    network = bert(SHAPE, 2, trained_layers=2)
    paths = [v.path for v in network.trainable_variables]
    tops = {f"transformer_layer_{k}" for k in (4, 5)}
    tops |= {"pooled_dense", "logits"}
    found = {top for top in tops for path in paths if f"{top}/" in path}
    assert found == tops
    assert all(any(f"{top}/" in path for top in tops) for path in paths)


def test_mean_pooling_trains_no_pooled_output():
    network = bert(SHAPE, 2, pooling="mean")
    paths = [v.path for v in network.trainable_variables]
    assert any("token_embedding" in path for path in paths)
    assert not any("pooled_dense" in path for path in paths)


@pytest.mark.parametrize("layers", [-1, 7])
def test_more_trained_layers_than_there_are(layers):
    with pytest.raises(ValueError, match=f"0 to 6.*trained_layers={layers}"):
        bert(SHAPE, 2, trained_layers=layers)
