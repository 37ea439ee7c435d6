import numpy as np
import pytest

from keras_influence.reporting.calibration import calibration


def test_bins_are_averages_of_their_examples():
    top = np.array([0.55, 0.56, 0.95, 1.0])
    found = calibration(np.stack([top, 1 - top], 1), [0, 1, 0, 0])
    assert [b.count for b in found.bins] == [2, 2]
    assert [b.accuracy for b in found.bins] == [0.5, 1.0]
    assert found.bins[0].confidence == pytest.approx(0.555)
    assert found.error == pytest.approx((0.055 * 2 + 0.025 * 2) / 4)


def test_what_is_right_as_often_as_it_is_sure():
    random = np.random.default_rng(0)
    top = random.uniform(0.5, 1, 200_000)
    labels = (random.random(len(top)) > top).astype(int)
    found = calibration(np.stack([top, 1 - top], 1), labels)
    assert found.error < 0.005
