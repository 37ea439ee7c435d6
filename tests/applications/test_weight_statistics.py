import numpy as np
import pytest

from applications.weight_statistics import weight_statistics

HARMFUL = np.array([True, False, False])
ALL = np.ones(3, bool)


@pytest.mark.parametrize(
    ("quality", "auroc", "doubted", "rightly"),
    [
        ([0.0, 0.5, 1.0], 1.0, 1, 1.0),
        ([0.4, 0.0, 1.0], 0.5, 2, 0.5),
        ([0.7, 0.6, np.nan], 0.0, 0, None),
    ],
)
def test_good_against_harmful(quality, auroc, doubted, rightly):
    weights = np.array([0.0, 1.0, 2.0])
    found = weight_statistics(weights, np.array(quality), HARMFUL, ALL)
    assert found["auroc"] == auroc
    assert found["harmful"] == 1
    assert found["doubted"] == doubted
    assert found["doubted_rightly"] == rightly
    assert found["weight_mean"] == 1.0


def test_equal_weights_tell_nothing():
    found = weight_statistics(np.ones(3), np.full(3, 0.5), HARMFUL, ALL)
    assert found["auroc"] is found["doubted_rightly"] is None


def test_of_judged_examples_only():
    judged = np.array([True, False, True])
    weights = np.array([1.0, 0.0, 2.0])
    found = weight_statistics(weights, weights / 3, HARMFUL[judged], judged)
    assert found["auroc"] == 1.0
    assert found["doubted"] == 1
    assert (found["judged"], found["unlabeled"]) == (2, 3)
    nothing = weight_statistics(weights, weights, np.zeros(0, bool), ~ALL)
    assert nothing["auroc"] is None
