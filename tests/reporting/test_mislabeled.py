import keras
import numpy as np
import pytest

import keras_influence as ki
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


def test_without_a_loss():
    with pytest.raises(ValueError, match="`loss` is needed"):
        ki.find_mislabeled(quiet_network(), draw(8, 1), draw(8, 2))
