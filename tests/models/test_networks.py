"""Networks of every kind train with learned weights, unchanged."""

import keras
import numpy as np
import pytest

import keras_influence as ki
from tests.cases.models import LOSS, compiled, draw, fit

random = np.random.default_rng(0)


def learn(network, inputs, views=None, classes=2, steps=2, **arguments):
    """Trains on 4 labelled, 6 unlabelled and 4 validation examples."""
    labels = np.arange(14) % classes
    rows = (slice(0, 4), slice(4, 10), slice(10, 14))
    (x, u, v), (y, given_labels, t) = (
        [keras.tree.map_structure(lambda a, r=r: a[r], nest) for r in rows]
        for nest in (inputs, labels)
    )
    train = ki.data.semi_supervised(
        (x, y), (u, given_labels), views, batch_size=2, unlabeled_ratio=3
    )
    model = compiled(
        network, num_unlabeled=6, validation_set=(v, t), **arguments
    )
    before = [w.numpy() for w in network.trainable_variables]
    logs = fit(model, steps, train, validation_data=(v, t))
    assert logs["updates_skipped"] == 0
    assert (model.example_weights != 1.0).all()
    for a, b in zip(before, network.trainable_variables, strict=False):
        assert not np.array_equal(a, b.numpy()), b.path
    assert model.predict(v, verbose=0).shape == (4, classes)
    return model


def bert():
    import keras_nlp

    return keras_nlp.models.BertTextClassifier(
        keras_nlp.models.BertBackbone(
            vocabulary_size=20,
            num_layers=1,
            num_heads=2,
            hidden_dim=8,
            intermediate_dim=8,
            max_sequence_length=6,
        ),
        num_classes=2,
        preprocessor=None,
    )


def tokens(n=14):
    ids = random.integers(0, 20, (n, 6)).astype("int32")
    return {
        "token_ids": ids,
        "segment_ids": np.zeros_like(ids),
        "padding_mask": np.ones_like(ids),
    }


@pytest.mark.slow
@pytest.mark.parametrize("parameters", ["last_layer", "all"])
def test_bert(parameters):
    solver = ki.solvers.ConjugateGradient(3, damping=1.0)
    influence = ki.Influence(parameters, "gauss_newton", solver)
    learn(bert(), tokens(), influence=influence)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["VGG16", "MobileNetV2"])
def test_an_application(kind):
    network = getattr(keras.applications, kind)(
        input_shape=(32, 32, 3),
        weights=None,
        classes=2,
        classifier_activation=None,
    )
    images = random.normal(size=(14, 32, 32, 3)).astype("float32")
    solver = ki.solvers.ConjugateGradient(5, damping=1.0)
    learn(network, images, influence=ki.Influence(solver=solver))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.body = keras.layers.Dense(5, activation="relu")
        self.norm = keras.layers.BatchNormalization()
        self.dropout = keras.layers.Dropout(0.2, seed=0)
        self.head = keras.layers.Dense(3)

    def call(self, inputs, training=False):
        x = self.norm(self.body(inputs["a"]), training=training)
        return self.head(self.dropout(x, training=training))


@pytest.mark.parametrize(
    "build", [pytest.param(True, marks=pytest.mark.slow), False]
)
def test_a_subclassed_model(build):
    inputs = {"a": draw(14, 0)[0]}
    network = Subclassed()
    if build:
        network(inputs)
    learn(network, inputs, classes=3)


@pytest.mark.slow
def test_a_recurrent_network_with_all_parameters():
    network = keras.Sequential(
        [keras.Input((4, 2)), keras.layers.LSTM(3), keras.layers.Dense(2)]
    )
    sequences = random.normal(size=(14, 4, 2)).astype("float32")
    solver = ki.solvers.ConjugateGradient(3, damping=1.0)
    influence = ki.Influence("all", "gauss_newton", solver)
    learn(network, sequences, influence=influence)


def test_two_views():
    network = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(5, activation="relu"),
            keras.layers.Dense(3),
        ]
    )
    model = learn(
        network,
        draw(14, 0)[0],
        {"weak": None, "strong": lambda x: x + 0.1},
        classes=3,
        unlabeled_loss=ki.losses.UDA(temperature=0.5),
    )
    assert model.loss is LOSS


def test_a_binary_head():
    network = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(5, activation="relu"),
            ki.layers.BinaryLogits(),
        ]
    )
    learn(network, draw(14, 0)[0])


def test_dense_labels():
    labels = np.eye(3, dtype="float32")[np.arange(14) % 3]
    x = draw(14, 0)[0]
    model = compiled(
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]),
        num_unlabeled=6,
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        unlabeled_loss=ki.losses.PseudoLabel(0.0),
        validation_set=(x[10:], labels[10:]),
    )
    train = ki.data.semi_supervised(
        (x[:4], labels[:4]), x[4:10], batch_size=2, unlabeled_ratio=3
    )
    assert fit(model, 2, train)["updates_skipped"] == 0
    assert (model.example_weights != 1.0).all()


@pytest.mark.parametrize(
    "dtypes", [("bfloat16", None), ("float64", None), (None, "float64")]
)
@pytest.mark.parametrize("weight_network", [None, "recommended"])
def test_layers_of_different_dtypes(dtypes, weight_network):
    body, head = dtypes
    network = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(5, "tanh", dtype=body),
            keras.layers.Dense(2, dtype=head),
        ]
    )
    x = random.normal(size=(14, 4)).astype("float32")
    learn(network, x, weight_network=weight_network)


class Auxiliary(keras.Model):
    """A head for a loss of its own, in training only."""

    def __init__(self):
        super().__init__()
        self.head = keras.layers.Dense(2)
        self.other = keras.layers.Dense(3)

    def call(self, inputs, training=None):
        if training:
            self.add_loss(keras.ops.mean(self.other(inputs) ** 2))
        return self.head(inputs)


@pytest.mark.filterwarnings("ignore:.*unbuilt state")
@pytest.mark.parametrize("is_called", [False, True])
def test_layers_that_run_in_training_only(is_called):
    network = Auxiliary()
    x = random.normal(size=(14, 4)).astype("float32")
    if is_called:
        network(x, training=True)
    model = learn(network, x)
    assert len(model.trainable_variables) == 4


@pytest.mark.filterwarnings("ignore:.*unbuilt state")
def test_layers_that_compile_did_not_know():
    network = Auxiliary()
    x = random.normal(size=(14, 4)).astype("float32")
    network(x)
    with pytest.raises(ValueError, match="layers that only training calls"):
        learn(network, x)
