import numpy as np
import pytest

from applications import datasets


def rows(x):
    return {row.tobytes() for row in np.ascontiguousarray(x)}


def test_digits_parts_are_disjoint_and_balanced():
    task = datasets.digits(seed=0, wrong_labels=0.4)
    sizes = [len(y) for _, y in (task.labeled, task.validation, task.test)]
    assert sizes == [50, 150, 400]
    assert len(task.unlabeled) == 1797 - 600
    assert np.bincount(task.labeled[1]).tolist() == [5] * 10
    parts = [task.labeled[0], task.validation[0], task.test[0], task.unlabeled]
    assert len(set.union(*map(rows, parts))) == sum(map(len, map(rows, parts)))


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_harmful_are_exactly_the_wrong_labels(share):
    task = datasets.digits(seed=3, wrong_labels=share)
    np.testing.assert_array_equal(task.harmful, task.given != task.truth)
    assert task.harmful.sum() == round(share * len(task.truth))
    assert set(task.given) == set(range(10))


def test_foreign_classes_have_no_labels():
    task = datasets.digits(seed=0, labeled=40, foreign_classes=2)
    for _, y in (task.labeled, task.validation, task.test):
        assert set(y) == set(range(8))
    assert task.given is None
    np.testing.assert_array_equal(task.harmful, task.truth == -1)
    assert 0.15 < task.harmful.mean() < 0.3


def test_same_seed_same_data():
    first, again, other = (
        datasets.digits(seed=s, wrong_labels=0.4) for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.given, again.given)
    np.testing.assert_array_equal(first.unlabeled, again.unlabeled)
    assert rows(first.labeled[0]) != rows(other.labeled[0])


@pytest.mark.parametrize("make", [datasets.two_moons, datasets.two_strips])
def test_points_in_the_plane(make):
    task = make(seed=0, labeled=4, validation=10, test=50, unlabeled=30)
    assert task.unlabeled.shape == (30, 2)
    assert task.unlabeled.dtype == "float32"
    assert len(task.test[1]) == 50
    assert np.bincount(task.labeled[1]).tolist() == [2, 2]
    assert task.given is None
    assert task.harmful is None


def test_strips_are_separable():
    x, y = datasets.two_strips(seed=0, noise=0.2).test
    assert np.mean((x[:, 0] > 0) == y) > 0.99


def test_fashion_mnist(tfds_dir):
    task = datasets.fashion_mnist(0, tfds_dir, wrong_labels=0.4)
    assert task.unlabeled.shape[1:] == (28, 28, 1)
    assert len(task.labeled[1]) == 200
    assert task.unlabeled.max() == 1.0
    assert task.harmful.mean() == pytest.approx(0.4, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"wrong_labels": 1.5}, "`wrong_labels`.*1.5"),
        ({"wrong_labels": -0.1}, "`wrong_labels`"),
        ({"foreign_classes": 9}, "`foreign_classes`.*9"),
        ({"foreign_classes": -1}, "`foreign_classes`"),
        ({"labeled": 5000}, "labeled=5000"),
        ({"test": 5000}, "test"),
    ],
)
def test_careless_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.digits(seed=0, **arguments)
