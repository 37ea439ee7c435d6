import numpy as np
import pytest

from benchmarks.own_data import WRONG, labels_of, measure


def test_labels_are_trusted_or_doubtful_or_none():
    names = np.array(["a", "b", "c"])[np.arange(3000) % 3]
    columns = labels_of(names, 500, 2000, np.random.default_rng(0))
    labels, trusted = columns["label"], columns["trusted"]
    assert trusted.sum() == 500
    np.testing.assert_array_equal(labels[trusted], names[trusted])
    assert (labels[2500:] == "").all()
    doubtful = labels[500:2500]
    assert np.mean(doubtful != names[500:2500]) == pytest.approx(
        WRONG, abs=0.05
    )
    assert set(doubtful) == {"a", "b", "c"}


@pytest.mark.slow
def test_a_table_end_to_end():
    row = measure("table", 0, None)
    assert row["learned weights"] > 0.9
    assert row["model.keras, unseen"] > 0.9
    assert row["AUROC of label quality"] > 0.9
    assert row["CPU seconds"] > 1
