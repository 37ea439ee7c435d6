import numpy as np
import pandas as pd
import pytest

from applications.own.data import OwnData
from applications.own.records import Records


def data(labels, trusted):
    n = len(labels)
    records = Records(
        *(np.arange(n).astype(str), np.array(labels), np.array(trusted)),
        pd.DataFrame(index=range(n)),
    )
    return OwnData(records, np.zeros((n, 2)), None, lambda network: network)


def test_folds_are_even_over_the_classes():
    own = data(["a", "b", "b"] * 20, [True] * 45 + [False] * 15)
    folds = own.folds(3, seed=0)
    np.testing.assert_array_equal(folds >= 0, own.trusted)
    for fold in range(3):
        counts = np.bincount(own.labels[folds == fold])
        assert counts.tolist() == [5, 10]
    assert (folds != own.folds(3, seed=1)).any()


@pytest.mark.parametrize("count", [1, 5])
def test_more_folds_than_labels(count):
    own = data(["a", "b", "a", "b", ""], [True] * 4 + [False])
    with pytest.raises(ValueError, match="`folds` must be from 2 to 4"):
        own.folds(count, seed=0)
