import dataclasses

import numpy as np
import pytest

from applications.datasets import two_strips
from applications.task import fingerprint

TASK = two_strips(seed=0, labeled=4, validation=8, test=10, unlabeled=30)


def test_equal_data_have_one_fingerprint():
    again = two_strips(seed=0, labeled=4, validation=8, test=10, unlabeled=30)
    assert fingerprint(TASK) == fingerprint(again)


@pytest.mark.parametrize("name", ["labeled", "validation", "unlabeled"])
def test_one_number_changes_it(name):
    part = getattr(TASK, name)
    x = np.array(part if name == "unlabeled" else part[0])
    x[1, 1] += 1e-3
    part = x if name == "unlabeled" else (x, part[1])
    changed = dataclasses.replace(TASK, **{name: part})
    assert fingerprint(changed) != fingerprint(TASK)


def test_given_labels_and_nests_count():
    nested = dataclasses.replace(TASK, unlabeled={"a": TASK.unlabeled})
    assert fingerprint(nested) == fingerprint(TASK)
    given = dataclasses.replace(TASK, given=TASK.truth)
    assert fingerprint(given) != fingerprint(TASK)
