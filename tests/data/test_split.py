import hypothesis.extra.numpy as npst
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import assume, given
from hypothesis import strategies as st

from keras_influence.data import split
from tests.cases.properties import property_test


def counts(y, rows, classes):
    return np.array([np.sum(y[rows] == c) for c in classes])


@given(
    sizes=st.lists(st.integers(8, 30), min_size=1, max_size=6),
    unknown=st.integers(0, 9),
    labeled=st.integers(1, 20),
    validation=st.integers(0, 20),
    include_labeled=st.booleans(),
    as_strings=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_parts_are_balanced_and_disjoint(
    sizes, unknown, labeled, validation, include_labeled, as_strings, seed
):
    k = len(sizes)
    assume(-(-labeled // k) + -(-validation // k) <= min(sizes))
    y = np.concatenate([np.repeat(np.arange(k), sizes), [-1] * unknown])
    y = np.random.default_rng(seed).permutation(y).astype("int64")
    names = range(k)
    if as_strings:
        y, names = y[y >= 0].astype(str), [str(c) for c in range(k)]
    rows = split(
        y, labeled, validation, include_labeled=include_labeled, seed=seed
    )

    assert len(rows.labeled) == labeled
    assert len(rows.validation) == validation
    for part in rows:
        assert part.dtype == "int64"
        assert np.all(np.diff(part) > 0)  # Ascending, hence none twice.
    assert np.ptp(counts(y, rows.labeled, names)) <= 1
    assert np.ptp(counts(y, rows.validation, names)) <= 1
    assert not np.intersect1d(rows.labeled, rows.validation).size
    outside = [rows.validation]
    outside += [] if include_labeled else [rows.labeled]
    rest = set(range(len(y))) - set(np.concatenate(outside).tolist())
    assert rows.unlabeled.tolist() == sorted(rest)
    # Rows without a label count as neither.
    assert not set(y[rows.labeled].tolist()) & {-1}
    assert not set(y[rows.validation].tolist()) & {-1}


def test_the_rows_of_a_seed_are_known():
    """Not to change with a version: published splits rest on them."""
    rows = split(np.arange(40) % 4, labeled=6, validation=5, seed=1)
    assert rows.labeled.tolist() == [11, 12, 14, 19, 33, 34]
    assert rows.validation.tolist() == [0, 10, 17, 20, 39]


def test_seeds_differ():
    y = np.arange(100) % 5
    parts = {tuple(split(y, 10, 10, seed=s).labeled) for s in range(20)}
    assert len(parts) == 20


def test_one_row_more_goes_to_any_class():
    y = np.arange(100) % 5
    extra = [np.bincount(y[split(y, 6, 0, seed=s).labeled]) for s in range(50)]
    assert np.all(np.max(extra, axis=0) == 2)


def test_sizes_compare():
    y = np.arange(200) % 4
    small, large = split(y, 7, 30), split(y, 50, 30)
    assert set(small.labeled) < set(large.labeled)
    np.testing.assert_array_equal(small.validation, large.validation)


def test_without_balance_rows_are_drawn_whatever_their_class():
    y = np.repeat([0, 1, -1], [900, 100, 50])
    rows = split(y, labeled=200, validation=300, balanced=False)
    assert not np.intersect1d(rows.labeled, rows.validation).size
    assert np.all(y[rows.labeled] >= 0)
    assert 5 <= np.sum(y[rows.labeled] == 1) <= 40  # 20 expected.
    assert len(rows.unlabeled) == 1050 - 500


def test_unlabeled_may_be_a_part_of_the_rest():
    y = np.arange(100) % 5
    rows = split(y, 10, 20, unlabeled=30)
    everything = np.concatenate(rows)
    assert rows.unlabeled.size == 30
    assert np.unique(everything).size == 60
    everyone = split(y, 10, 20, unlabeled=80, include_labeled=True)
    assert set(everyone.labeled) < set(everyone.unlabeled)


def test_objects_and_booleans_are_labels():
    y = np.array(["a", "bc"] * 10, dtype=object)
    np.testing.assert_array_equal(
        split(y, 4, 4).labeled, split(np.arange(20) % 2, 4, 4).labeled
    )
    unknown = np.array([0, -1] * 10, dtype=object)
    assert np.all(unknown[split(unknown, 4, 4).labeled] == 0)
    assert split(np.arange(20) % 2 == 1, 4).labeled.size == 4


CLASSES = np.random.default_rng(0).permutation(np.arange(40) % 4)
INTEGERS = [f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64)]
FORMS = {
    **{t: lambda y, t=t: y.astype(t) for t in INTEGERS},
    "whole floats": lambda y: y.astype("float32"),
    "column": lambda y: y[:, None],
    "list": lambda y: y.tolist(),
    "strings": lambda y: y.astype(str),
    "bytes": lambda y: y.astype("S"),
    "string dtype": lambda y: y.astype(np.dtypes.StringDType()),
    "tensor": tf.constant,
    "series": lambda y: pd.Series(y, index=range(100, 140)[::-1]),
    "frame": lambda y: pd.DataFrame({"label": y}, index=range(100, 140)),
    "nullable": lambda y: pd.Series(y).astype("Int64"),
    "category": lambda y: pd.Series(y.astype(str)).astype("category"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_labels_splits_alike(form):
    expected = split(CLASSES, labeled=9, validation=10)
    rows = split(FORMS[form](CLASSES), labeled=9, validation=10)
    for part, right in zip(rows, expected, strict=True):
        np.testing.assert_array_equal(part, right)


STRINGS = np.array(["cat", "cow", "dog"])
GAPS = {
    "None": lambda y, gap: np.where(gap, None, STRINGS[y]),
    "NaN": lambda y, gap: np.where(gap, np.nan, STRINGS[y].astype(object)),
    "list": lambda y, gap: np.where(gap, np.nan, y.astype(object)).tolist(),
    "floats": lambda y, gap: np.where(gap, np.nan, y),
    "negative floats": lambda y, gap: np.where(gap, -1.0, y),
    "series": lambda y, gap: pd.Series(STRINGS[y]).where(~gap),
    "nullable": lambda y, gap: pd.Series(y).astype("Int64").where(~gap),
    "string NA": lambda y, gap: pd.Series(STRINGS[y], dtype="string").mask(gap),
    "category": lambda y, gap: pd.Categorical(np.where(gap, None, STRINGS[y])),
    "masked": lambda y, gap: np.ma.array(y, mask=gap),
}


@property_test(
    fast=30,
    y=npst.arrays("int64", 30, elements=st.integers(0, 2)),
    gap=npst.arrays("bool", 30),
    form=st.sampled_from(sorted(GAPS)),
    labeled=st.integers(1, 9),
    balanced=st.booleans(),
)
def test_rows_without_a_label_are_unlabelled(y, gap, form, labeled, balanced):
    assume(not gap.all())
    results = []
    for labels in (np.where(gap, -1, y), GAPS[form](y, gap)):
        try:
            rows = split(labels, labeled, balanced=balanced)
            results.append([part.tolist() for part in rows])
        except ValueError as error:  # Too few rows, in the same words.
            results.append(str(error).split(" has ")[1])
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("Class 2 has 3 labelled rows, but 4 for `labeled`", {"labeled": 12}),
        ("Class 2 has 3 .* and 2 for `validation`", {"validation": 6}),
        ("The data set has 23", {"labeled": 24, "balanced": False}),
        ("Class cat has 1", {"y": ["cat", "dog", "dog"], "labeled": 4}),
        ("no row with a label", {"y": [-1, -1]}),
        ("14 rows remain", {"unlabeled": 15}),
        ("`labeled` must be an integer", {"labeled": 0}),
        ("`labeled` must be an integer", {"labeled": 0.1}),
        ("`validation` must be an integer", {"validation": -1}),
        ("`unlabeled` must be an integer", {"unlabeled": 0}),
        ("`seed` must be an integer", {"seed": -1}),
        ("`seed` must be below", {"seed": 2**32}),
        ("argmax", {"y": np.eye(3)}),
        ("argmax", {"y": [[0, 1], [1, 0]]}),
        (r"classes.*\[0.5 1.5\]", {"y": np.array([0, 1.5, 0.5])}),
        ("classes.*inf", {"y": np.array([0, np.inf, np.nan])}),
        ("both in one array", {"y": [0, "cat", None]}),
        ("integers or strings", {"y": pd.Series([(0, 1), (1, 0)])}),
        ("all are negative or missing", {"y": [None, np.nan]}),
        ("the string 'nan'", {"y": np.array(["cat", np.nan])}),
        ("the string 'nan'", {"y": np.array([b"cat", np.nan])}),
        ("of integers or strings", {"y": np.zeros(4, "complex64")}),
        ("of integers or strings", {"y": np.zeros(4, "datetime64[s]")}),
        ("non-empty", {"y": np.zeros(0, "int64")}),
    ],
)
def test_bad_arguments_are_named(message, arguments):
    y = np.repeat([0, 1, 2], [10, 10, 3])
    arguments = {"y": y, "labeled": 6, "validation": 3} | arguments
    with pytest.raises(ValueError, match=message):
        split(**arguments)
