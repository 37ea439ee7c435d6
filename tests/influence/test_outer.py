import hypothesis
import hypothesis.strategies as st
import keras
import numpy as np
import pytest
import scipy.special

import keras_influence as ki
from keras_influence.influence import outer
from tests.cases.influence import few_examples


def log_odds(labels, logits):
    log_p = scipy.special.log_softmax(logits, axis=1)
    truth = log_p[np.arange(len(labels)), labels]
    return truth - np.log1p(-np.exp(truth))


@few_examples
@hypothesis.given(
    n=st.integers(1, 5),
    classes=st.integers(2, 6),
    form=st.sampled_from(["sparse", "column", "one_hot", "soft"]),
    seed=st.integers(0, 99),
)
def test_margin_is_minus_the_log_odds_of_the_true_class(n, classes, form, seed):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    logits = random.normal(size=(n, classes))
    given_labels = {
        "sparse": labels,
        "column": labels[:, None],
        "one_hot": np.eye(classes)[labels],
        "soft": 0.9 * np.eye(classes)[labels] + 0.1 / classes,
    }[form]
    np.testing.assert_allclose(
        outer.margin(given_labels, logits), -log_odds(labels, logits)
    )


@pytest.mark.parametrize("labels", [np.array([0, 1]), np.array([[0], [1]])])
def test_margin_of_a_single_logit(labels):
    logits = np.array([[0.3], [2.0]])
    both = np.concatenate([np.zeros_like(logits), logits], axis=1)
    np.testing.assert_allclose(
        outer.margin(labels, logits), outer.margin(labels, both)
    )


def test_margin_does_not_overflow():
    logits = np.array([[1e4, -1e4], [-1e4, 1e4]], "float32")
    np.testing.assert_allclose(
        outer.margin(np.array([0, 0]), logits), [-2e4, 2e4]
    )


def test_choices():
    loss = ki.influence.per_example_loss.PerExampleLoss("mse")

    def mine(labels, logits):
        return logits[:, 0]

    assert outer.resolve("loss", loss) is loss
    assert outer.resolve("margin", loss) is outer.margin
    assert outer.resolve(mine, loss) is mine
    influence = ki.Influence(outer="margin")
    assert influence.outer_loss(loss) is outer.margin


def test_margin_has_gradient_where_the_loss_has_none():
    x, y = np.eye(3), np.arange(3)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    model.set_weights([20.0 * np.eye(3), np.zeros(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    by_loss, by_margin = (
        np.abs(
            ki.influence_scores(
                model,
                (x, (y + 1) % 3),
                (x, y),
                loss=loss,
                influence=ki.Influence(
                    outer=choice, solver=ki.solvers.Exact(1e-3)
                ),
            )
        ).max()
        for choice in ("loss", "margin")
    )
    assert by_loss < 1e-4 < 1 < by_margin


@pytest.mark.parametrize(
    ("classes", "right", "wrong"),
    [(1, [0, 1], [-1, 1]), (1, [0.0, 1.0], [0, 3]), (3, [0, 2], [1, 3])],
)
def test_margins_are_of_classes(classes, right, wrong):
    check_labels = outer.check_labels
    check_labels("margin", "labels", np.array(right), classes)
    check_labels("margin", "labels", np.array(right)[:, None], classes)
    check_labels("loss", "labels", np.array(wrong), classes)
    for shape in (-1,), (-1, 1):
        labels = np.reshape(wrong, shape)
        with pytest.raises(ValueError, match="`labels` must have labels from"):
            check_labels("margin", "labels", labels, classes)
