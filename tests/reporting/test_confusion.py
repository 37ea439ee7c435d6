import numpy as np

from keras_influence.reporting.confusion import confusion


def test_counts_and_shares():
    given = np.array([0, 0, 0, 1, -1])
    predicted = np.array([0, 1, 1, 1, 0])
    found = confusion(given, predicted, ["a", "b"])
    assert found["pairs"] == [("a", "b", 2)]
    assert found["rows"] == [
        ("a", [(1, 1 / 3), (2, 2 / 3)]),
        ("b", [(0, 0.0), (1, 1.0)]),
    ]


def test_many_classes_are_listed_only():
    given, predicted = np.arange(30), np.roll(np.arange(30), 1)
    found = confusion(given, predicted, [str(k) for k in range(30)])
    assert found["rows"] == []
    assert len(found["pairs"]) == 12


def test_very_many_classes():
    """No table of all pairs, which would take 20 GB."""
    names = [str(k) for k in range(50_000)]
    given = np.array([7, 7, 9, 3, -1, 4])
    predicted = np.array([8, 8, 49_999, 3, 2, 1])
    found = confusion(given, predicted, names)
    assert found["pairs"] == [("7", "8", 2), ("4", "1", 1), ("9", "49999", 1)]


def test_no_label():
    assert confusion(np.full(3, -1), np.zeros(3, int), ["a"]) is None
