import numpy as np
import pytest

from applications.checks import check_task
from applications.task import Task


def task(labeled=(0, 1), validation=(0, 1), test=(0, 1), names=None):
    sets = (
        (np.zeros((len(y), 2)), np.array(y, int))
        for y in (labeled, validation, test)
    )
    return Task(*sets, np.zeros((3, 2)), np.zeros(3, int), names=names)


def test_what_can_be_compared():
    check_task(task())
    check_task(task(validation=[0]))


@pytest.mark.parametrize("name", ["validation", "test"])
def test_sets_without_examples(name):
    with pytest.raises(ValueError, match=f"`dataset.{name}` must be positive"):
        check_task(task(**{name: []}))


@pytest.mark.parametrize("name", ["validation", "test"])
def test_a_draw_without_a_class(name):
    names = ["cat", "dog", "owl"]
    with pytest.raises(ValueError, match=r"`balanced=true`.*\['owl'\]"):
        check_task(task(**{name: [0, 2]}, names=names))
