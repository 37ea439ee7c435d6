import numpy as np
import pytest

from applications.weight_statistics import weight_statistics

HARMFUL = np.array([True, False, False])
ALL = np.ones(3, bool)


@pytest.mark.parametrize(
    ("weights", "auroc"),
    [([0.0, 1.0, 2.0], 1.0), ([1.0, 0.0, 2.0], 0.5), ([1.0, 1.0, 1.0], None)],
)
def test_auroc_of_good_against_harmful(weights, auroc):
    found = weight_statistics(np.array(weights), HARMFUL, ALL)
    assert found["auroc"] == auroc
    assert found["harmful"] == 1
    assert found["weight_mean"] == 1.0


def test_of_judged_examples_only():
    judged = np.array([True, False, True])
    weights = np.array([1.0, 0.0, 2.0])
    assert weight_statistics(weights, HARMFUL[judged], judged)["auroc"] == 1.0
    nothing = weight_statistics(weights, np.zeros(0, bool), ~ALL)
    assert nothing["auroc"] is None
