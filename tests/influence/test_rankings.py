import numpy as np
import pytest
import tensorflow as tf

import keras_influence as ki
from keras_influence.influence import batches, trained_model
from tests.cases.influence import (
    assert_close,
)
from tests.cases.post_hoc import (
    LOSS,
    TRAIN,
    VALIDATION,
    arguments_of,
    explicit_matrix,
    network,
    scores,
)

SOLVES = {
    "one factorisation": {},
    "each": {"solver": ki.solvers.ConjugateGradient(200, 1e-12, damping=0.05)},
    "outer product": {"curvature": "outer_product"},
    "whole network": {"parameters": "all"},
}


@pytest.fixture(params=SOLVES)
def solved(request):
    return dict(SOLVES[request.param])


@pytest.fixture(params=["whole", "in chunks", "dataset"])
def data(request, monkeypatch):
    if request.param == "in chunks":
        monkeypatch.setattr(batches, "CHUNK", 3 * 7)
        monkeypatch.setattr(trained_model, "CHUNK", 2 * 15)
    if request.param != "dataset":
        return TRAIN, VALIDATION
    slices = tf.data.Dataset.from_tensor_slices
    return slices(TRAIN), slices(VALIDATION)


def test_top_k_is_that_of_the_matrix(solved, data):
    model = network()
    matrix = explicit_matrix(
        model, VALIDATION, solved.get("curvature", "hessian")
    ).T
    found = ki.top_k(model, *data, k=3, **arguments_of(**solved))
    order = np.argsort(matrix, axis=1)
    np.testing.assert_array_equal(found.helpful.ids, order[:, :3])
    np.testing.assert_array_equal(found.harmful.ids, order[:, :-4:-1])
    for ranked in found:
        rows = np.take_along_axis(matrix, ranked.ids, axis=1)
        assert_close(ranked.scores, rows)


def test_self_influence_is_the_diagonal(solved, data):
    model = network()
    matrix = explicit_matrix(model, TRAIN, solved.get("curvature", "hessian"))
    ours = ki.self_influence(model, data[0], **arguments_of(**solved))
    assert_close(ours, np.diag(matrix))


def test_self_influence_judges_as_influence_scores():
    model, choices = network(), {"outer": "margin"}
    ours = ki.self_influence(model, TRAIN, **arguments_of(**choices))
    one = tuple(part[4:5] for part in TRAIN)
    assert_close(ours[4], scores(model, validation=one, **choices)[4])


def test_an_unrolled_estimator_ranks_too():
    influence = ki.Unrolled(steps=3, learning_rate=0.1)
    arguments = {"loss": LOSS, "influence": influence}
    model, one = network(hidden=True), tuple(part[2:3] for part in VALIDATION)
    found = ki.top_k(model, TRAIN, VALIDATION, k=11, **arguments)
    truth = ki.influence_scores(model, TRAIN, one, **arguments)
    assert_close(found.helpful.scores[2], np.sort(truth))


def test_fewer_examples_than_asked_for():
    found = ki.top_k(network(), TRAIN, VALIDATION, k=99, **arguments_of())
    assert found.helpful.ids.shape == (5, 11)
    assert_close(found.helpful.scores, found.harmful.scores[:, ::-1])


def test_groups_are_sums():
    model, groups = network(), ["a", "b", "c", "b"] * 2 + ["a"] * 3
    found = ki.group_influence(
        model, TRAIN, VALIDATION, groups, **arguments_of()
    )
    single = scores(model)
    for name, score in found.items():
        assert_close(score, single[np.array(groups) == name].sum())
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_groups_that_are_none():
    arguments = {"loss": LOSS}
    with pytest.raises(ValueError, match="`groups`"):
        ki.group_influence(network(), TRAIN, VALIDATION, None, **arguments)
    # Without labels it is not the groups that are wrong.
    with pytest.raises(ValueError, match="`train` must"):
        ki.group_influence(
            network(), TRAIN[0], VALIDATION, ["a"] * 11, **arguments
        )


def test_groups_of_another_length():
    with pytest.raises(ValueError, match="`groups`"):
        ki.group_influence(network(), TRAIN, VALIDATION, [1], **arguments_of())


@pytest.mark.parametrize("k", [0, 1.5])
def test_a_number_of_examples_that_is_none(k):
    with pytest.raises(ValueError, match="`k`"):
        ki.top_k(network(), TRAIN, VALIDATION, k, **arguments_of())


@pytest.mark.parametrize("rank", [ki.top_k, ki.self_influence])
def test_rankings_without_a_solution(rank):
    model = network(kernel_regularizer=lambda k: -tf.reduce_sum(k**2))
    data = (TRAIN,) if rank is ki.self_influence else (TRAIN, VALIDATION)
    solver = ki.solvers.Exact(0.0)
    with pytest.raises(ValueError, match="not positive definite"):
        rank(model, *data, **arguments_of(solver=solver))


def test_groups_without_a_name():
    groups = np.array(["a", None] * 5 + ["a"], object)
    found = ki.group_influence(network(), TRAIN, VALIDATION, groups, loss=LOSS)
    assert found.keys() == {"a", None}


def test_groups_of_any_kind():
    for groups in (
        [1.0, 2.0, np.nan] * 3 + [np.nan, 1.0],
        np.array([1.0, 2.0, np.nan] * 3 + [np.nan, 1.0]),
        [("a", 1), ("b", 2), ("a", 2)] * 3 + [("a", 2), ("a", 1)],
    ):
        found = ki.group_influence(
            network(), TRAIN, VALIDATION, groups, **arguments_of()
        )
        assert len(found) == 3
    with pytest.raises(ValueError, match="`groups`"):
        ki.group_influence(
            network(), TRAIN, VALIDATION, np.ones((11, 2)), **arguments_of()
        )


@pytest.mark.parametrize("batch_size", [0, -3, 8.0, None, True])
@pytest.mark.parametrize("rank", [ki.influence_scores, ki.top_k])
def test_a_size_of_batches_that_is_none(rank, batch_size):
    arguments = {**arguments_of(), "batch_size": batch_size}
    with pytest.raises(ValueError, match="`batch_size` must be an integer"):
        rank(network(), TRAIN, VALIDATION, **arguments)


def test_numbers_of_numpy():
    arguments = {**arguments_of(), "batch_size": np.int64(3)}
    found = ki.top_k(network(), TRAIN, VALIDATION, np.int64(2), **arguments)
    assert found.helpful.ids.shape == (5, 2)


def test_groups_in_a_tensor():
    groups = np.arange(len(TRAIN[1])) % 3
    model = network()
    expected, found = (
        ki.group_influence(model, TRAIN, VALIDATION, g, loss=LOSS)
        for g in (groups, tf.constant(groups))
    )
    assert found == expected
