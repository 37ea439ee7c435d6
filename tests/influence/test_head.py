import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_influence as ki
from keras_influence.influence.head import (
    find_head,
    symbolic_inputs,
    trace_head,
)
from keras_influence.layers import BinaryLogits, Recording, recording_clone

layers = keras.layers


def functional(*tail):
    inputs = keras.Input((4,))
    x = layers.Dense(3, activation="relu")(inputs)
    for layer in tail:
        x = layer(x)
    return keras.Model(inputs, x)


class Subclassed(keras.Model):
    def __init__(self, head):
        super().__init__()
        self.body = layers.Dense(3, activation="relu")
        self.head = head

    def call(self, inputs, training=None):
        return self.head(self.body(inputs))


class Wrapper(keras.Model):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def call(self, inputs, training=None):
        return layers.Activation("linear")(self.network(inputs))


def sequential(head):
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, activation="relu"), head]
    )


def unnamed_input(head):
    return keras.Sequential([layers.Dense(3, activation="relu"), head])


def nested(head):
    return functional(sequential_of(3, head))


def sequential_of(units, head):
    return keras.Sequential([keras.Input((units,)), layers.Dropout(0.5), head])


def trailing_activation(head):
    return functional(head, layers.Activation("linear", dtype="float32"))


def trailing_identity(head):
    return functional(head, layers.Dropout(0.5), layers.Identity())


def cloned(head):
    model = functional(head)
    return recording_clone(model)


@pytest.mark.parametrize(
    "build",
    [
        functional,
        sequential,
        unnamed_input,
        nested,
        Subclassed,
        lambda head: Subclassed(sequential_of(3, head)),
        trailing_activation,
        trailing_identity,
        cloned,
    ],
)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_finds_the_layer_that_gives_the_logits(build, policy):
    head = layers.Dense(2, name="logits", dtype=policy)
    network = build(head)
    x = np.random.normal(size=(5, 4)).astype("float32")
    network(x)
    inputs = symbolic_inputs(network)
    found = find_head(network, x if inputs is None else inputs)
    assert found.layer.name == "logits"
    assert (found.layer is head) or build is cloned
    logits = network(x)
    features = found.run(network, x).numpy()
    assert features.dtype == "float32"
    kernel, bias = (v.numpy() for v in found.variables)
    tolerance = {"rtol": 1e-5} if policy == "float32" else {"atol": 0.05}
    np.testing.assert_allclose(
        np.asarray(logits, "float32"), features @ kernel + bias, **tolerance
    )


def test_finding_changes_nothing():
    network = sequential(layers.Dense(2))
    x = np.ones((2, 4), "float32")
    before = network(x)
    dense = network.layers[0]
    find_head(network, symbolic_inputs(network))
    find_head(network, symbolic_inputs(network))
    assert "call" not in vars(dense)
    np.testing.assert_array_equal(network(x), before)
    with Recording() as record:
        network(x)
    assert record.records == []


def test_binary_logits():
    network = sequential(BinaryLogits())
    head = find_head(network, symbolic_inputs(network))
    np.testing.assert_array_equal(head.readout(np.ones((1, 1))), [[1, -1]])


def test_dictionary_inputs():
    inputs = {name: keras.Input((2,), name=name) for name in ("b", "a")}
    joined = layers.Concatenate()([inputs["b"], inputs["a"]])
    network = keras.Model(inputs, layers.Dense(2)(joined))
    found = find_head(network, symbolic_inputs(network))
    assert found.layer is network.layers[-1]


def test_a_text_classifier():
    import keras_nlp

    backbone = keras_nlp.models.BertBackbone(
        vocabulary_size=20,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=8,
        max_sequence_length=6,
    )
    network = keras_nlp.models.BertTextClassifier(backbone, num_classes=2)
    head = find_head(network, symbolic_inputs(network))
    assert head.layer.name == "logits"


@pytest.mark.parametrize(
    "head",
    [
        lambda: [layers.Dense(2, activation="softmax")],
        lambda: [layers.Dense(2), layers.Activation("softmax")],
        lambda: [layers.Dense(2), layers.Softmax()],
    ],
)
def test_a_network_that_ends_in_softmax(head):
    network = functional(*head())
    with pytest.raises(ValueError, match=r"softmax|must end in a Dense layer"):
        find_head(network, symbolic_inputs(network))


def test_no_dense_layer_at_the_end():
    network = functional(layers.Dense(2), layers.LayerNormalization())
    with pytest.raises(ValueError, match="must end in a Dense layer"):
        find_head(network, symbolic_inputs(network))


def test_two_outputs():
    inputs = keras.Input((4,))
    outputs = [layers.Dense(2)(inputs), layers.Dense(2)(inputs)]
    network = keras.Model(inputs, outputs)
    with pytest.raises(ValueError, match=r"a single output, .*has 2, in a"):
        find_head(network, symbolic_inputs(network))


def scores(network, x):
    return ki.influence_scores(
        network,
        (x, np.zeros(len(x), int)),
        (x, np.ones(len(x), int)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )


def test_a_head_that_is_called_twice():
    inputs, head = keras.Input((3,)), layers.Dense(3)
    network = keras.Model(inputs, head(head(inputs)))
    with pytest.raises(ValueError, match="must be called once"):
        scores(network, np.ones((4, 3), "float32"))


def test_a_head_on_sequences():
    inputs = keras.Input((5, 3))
    network = keras.Model(inputs, layers.Dense(2)(inputs))
    with pytest.raises(ValueError, match=r"\(batch, features\)"):
        scores(network, np.ones((4, 5, 3), "float32"))


SPEC = tf.TensorSpec((None, 4), tf.float32)


def entering(network):
    """What enters the head, from a trace, is what enters it."""
    head, run = trace_head(network, SPEC)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    expected = head.run(network, x)
    np.testing.assert_allclose(run(tf.constant(x)), expected, rtol=1e-6)
    return run


def test_a_trace_is_kept_for_as_long_as_the_network_lives():
    network = sequential(layers.Dense(2))
    run = entering(network)
    # Values may change.
    network.set_weights([w + 1 for w in network.get_weights()])
    assert entering(network) is run
    assert trace_head(sequential(layers.Dense(2)), SPEC)[1] is not run
    assert trace_head(network, tf.TensorSpec((3, 4), tf.float32))[1] is not run
    assert entering(network) is run
    gone = weakref.ref(network)
    del network, run
    gc.collect()
    assert gone() is None


def another_head(network):
    network.pop()
    network.add(layers.Dense(3))


def a_head_of_the_same_name(network):
    head = network.layers[-1]
    network.pop()
    network.add(layers.Dense(2, name=head.name))


def another_activation(network):
    network.layers[0].activation = keras.activations.tanh


def adapter(network):
    network.layers[0].enable_lora(1)


@pytest.mark.parametrize(
    "change",
    [another_head, a_head_of_the_same_name, another_activation, adapter],
)
def test_a_network_that_has_changed_is_traced_anew(change):
    network = sequential(layers.Dense(2))
    run = entering(network)
    change(network)
    if change is adapter:
        for variable in network.layers[0].trainable_variables:
            variable.assign(variable + 1)
    assert entering(network) is not run


class SwitchedModel(Subclassed):
    doubled = False

    def call(self, inputs, training=None):
        return super().call(2 * inputs if self.doubled else inputs)


class SwitchedLayer(layers.Layer):
    doubled = False

    def call(self, inputs):
        return 2 * inputs if self.doubled else inputs


def with_layer(layer):
    return keras.Sequential([keras.Input((4,)), layer, layers.Dense(2)])


def test_what_code_decides_is_traced_every_time():
    model, layer = SwitchedModel(layers.Dense(2)), SwitchedLayer()
    model(np.zeros((1, 4)))
    for switched, network in ((model, model), (layer, with_layer(layer))):
        run = entering(network)
        switched.doubled = True
        assert entering(network) is not run


# What a function reads by name is not in a configuration.
FACTOR = {"value": 1.0}


def test_so_is_a_function_of_the_users(monkeypatch):
    network = with_layer(layers.Lambda(lambda x: FACTOR["value"] * x))
    run = entering(network)
    monkeypatch.setitem(FACTOR, "value", 2.0)
    assert entering(network) is not run


def test_nor_is_a_trace_kept_of_what_has_no_configuration(monkeypatch):
    def get_config(self):
        raise NotImplementedError

    monkeypatch.setattr(layers.Rescaling, "get_config", get_config)
    network = with_layer(layers.Rescaling(2.0))
    assert entering(network) is not entering(network)
