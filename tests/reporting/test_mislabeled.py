import random

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

import keras_influence as ki
from keras_influence.reporting import mislabeled
from tests.cases.models import LOSS, draw, quiet_network


@pytest.fixture(scope="module")
def found():
    """A set with wrong labels, a network trained on it, and what was found."""
    (x, y), trusted = draw(80, 1), draw(40, 2)
    wrong = np.random.default_rng(3).random(80) < 0.3
    given = np.where(wrong, (y + 1) % 3, y)
    network = quiet_network()
    network.compile(keras.optimizers.Adam(0.01), LOSS)
    network.fit(x, given, epochs=40, verbose=0)
    before = network.get_weights()
    found = ki.find_mislabeled(
        network,
        (x, given),
        trusted,
        optimizer=keras.optimizers.Adam(0.01),
        batch_size=8,
        epochs=12,
        verbose=0,
    )
    for a, b in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    return found, wrong, (x, given)


def pairs(harm, wrong):
    """The share of pairs in which the wrong label does more harm."""
    return np.mean(harm[wrong][:, None] > harm[~wrong][None])


def test_wrong_labels_come_first(found):
    found, wrong, _ = found
    place = np.empty(80)
    place[found.order] = np.arange(80)
    assert sorted(found.order) == list(range(80))
    assert pairs(-place, wrong) > 0.9
    assert pairs(found.influence, wrong) > 0.7
    assert pairs(-found.weights, wrong) > 0.7
    assert pairs(-found.quality, wrong) > 0.9
    assert (np.diff(found.quality[found.order].round(2)) >= 0).all()


def test_the_same_report(found, tmp_path):
    found, _, (x, given) = found
    path = ki.report(
        found.model, tmp_path / "a.html", x, given, history=found.history
    )
    assert "40 trusted labels" in path.read_text()


def quick(network, train, trusted):
    network.compile("sgd", LOSS)
    return ki.find_mislabeled(network, train, trusted, epochs=1, verbose=0)


def test_what_training_does_not_change_is_that_of_the_network():
    (x, y), trusted = draw(40, 1), draw(20, 2)
    frozen = keras.layers.Dense(5, "tanh", trainable=False)
    nested = keras.Sequential([keras.Input((5,)), keras.layers.Dense(5)])
    nested.trainable = False
    adapted = keras.layers.Normalization()
    adapted.adapt(x)
    inputs = keras.Input((x.shape[1],))
    head = keras.layers.Dense(3)
    outputs = head(nested(frozen(adapted(inputs))))
    network = keras.Model(inputs, outputs)
    copy = quick(network, (x, y), trusted).model.network
    inside = [
        keras.Model(n.input, n.layers[-2].output) for n in (network, copy)
    ]
    np.testing.assert_array_equal(*(n.predict(x, verbose=0) for n in inside))
    assert copy.trainable_variables[0].shape == head.kernel.shape
    assert len(copy.trainable_variables) == 2
    assert copy.layers[-1].kernel is not head.kernel


@keras.saving.register_keras_serializable("tests")
class Frozen(keras.Model):
    """A subclassed model with a frozen layer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.body = keras.layers.Dense(5, trainable=False)
        self.head = keras.layers.Dense(3)

    def call(self, inputs):
        return self.head(self.body(inputs))


def test_a_subclassed_network_with_a_frozen_layer():
    train, trusted = draw(40, 1), draw(20, 2)
    network = Frozen()
    network(train[0])
    with pytest.raises(ValueError, match=r"frozen.*\['dense"):
        quick(network, train, trusted)


@pytest.mark.parametrize(
    "form",
    [
        lambda x, y: [x, y],
        lambda x, y: (x, y[:, None]),
        lambda x, y: (x, y.astype("float32")),
        lambda x, y: (scipy.sparse.csr_matrix(x), y),
        lambda x, y: (scipy.sparse.coo_array(x), y),
    ],
)
def test_data_of_any_form(form):
    train, trusted = draw(40, 1), draw(20, 2)
    plain, other = (
        quick(quiet_network(), make(*train), make(*trusted))
        for make in (lambda x, y: (x, y), form)
    )
    np.testing.assert_array_equal(other.order, plain.order)


def test_trusted_labels_in_a_stream():
    train, trusted = draw(40, 1), draw(20, 2)
    stream = tf.data.Dataset.from_tensor_slices(trusted)
    assert quick(quiet_network(), train, stream).order.shape == (40,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x, np.eye(3)[y]), "one whole number a row"),
        (lambda x, y: (x, y + 0.5), "one whole number a row"),
        (lambda x, y: tf.data.Dataset.from_tensors((x, y)), r"\(x, y\)"),
        (lambda x, y: x, r"\(x, y\)"),
        (lambda x, y: (x, y, y), r"tuple \(x, y\).*3 parts"),
    ],
)
def test_what_is_no_labelled_set(change, message, monkeypatch):
    """Before anything that takes long."""
    monkeypatch.setattr(mislabeled, "influence_scores", None)
    monkeypatch.setattr(mislabeled, "InfluenceModel", None)
    train, trusted = draw(40, 1), draw(20, 2)
    with pytest.raises(ValueError, match=f"`train` must .*{message}"):
        quick(quiet_network(), change(*train), trusted)


def built():
    optimizer = keras.optimizers.SGD()
    optimizer.build(quiet_network().trainable_variables)
    return optimizer


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "`epochs` must be an integer of at least 1"),
        ({"epochs": 1.5}, "`epochs` must be an integer of at least 1"),
        ({"batch_size": 0}, "`batch_size` must"),
        ({"optimizer": built}, "`optimizer` must be a new one"),
    ],
)
def test_settings_that_cannot_be(arguments, message, monkeypatch):
    """Before anything that takes long."""
    monkeypatch.setattr(mislabeled, "influence_scores", None)
    train, trusted = draw(40, 1), draw(20, 2)
    arguments = {k: v() if callable(v) else v for k, v in arguments.items()}
    with pytest.raises(ValueError, match=message):
        ki.find_mislabeled(
            quiet_network(), train, trusted, loss=LOSS, **arguments
        )


@pytest.mark.parametrize(
    "change",
    [
        lambda x, y: (x, y + 9),
        lambda x, y: tf.data.Dataset.from_tensors((x, y)),
    ],
)
def test_errors_name_the_trusted_set(change, monkeypatch):
    monkeypatch.setattr(mislabeled, "influence_scores", None)
    train, trusted = draw(40, 1), change(*draw(20, 2))
    with pytest.raises(ValueError, match="`trusted`") as raised:
        quick(quiet_network(), train, trusted)
    assert "validation_set" not in str(raised.value)


def test_a_single_logit(monkeypatch):
    """Its scores are not computed first."""
    monkeypatch.setattr(mislabeled, "influence_scores", None)
    (x, y), trusted = draw(40, 1), draw(20, 2)
    layers = [keras.Input(x.shape[1:]), keras.layers.Dense(1)]
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    with pytest.raises(ValueError, match="BinaryLogits"):
        ki.find_mislabeled(
            keras.Sequential(layers), (x, y > 1), trusted, loss=loss
        )


def test_without_a_loss():
    with pytest.raises(ValueError, match="`loss` is needed"):
        ki.find_mislabeled(quiet_network(), draw(8, 1), draw(8, 2))


def test_losses_of_rows():
    network, (train, trusted) = quiet_network(), (draw(40, 1), draw(20, 2))
    network.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    with pytest.raises(ValueError, match="`loss` must be one of integer"):
        ki.find_mislabeled(network, train, trusted)


def test_draws_of_others_go_on():
    drawn = []
    for _ in range(2):
        quick(quiet_network(), draw(40, 1), draw(20, 2))
        drawn.append((np.random.rand(), random.random()))
    assert drawn[0][0] != drawn[1][0]
    assert drawn[0][1] != drawn[1][1]
