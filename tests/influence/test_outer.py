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
    logits = np.array([[1.0, 2.0], [3.0, 4.0]], "float32")
    judged = outer.resolve(mine, loss)(np.zeros(2), logits)
    np.testing.assert_array_equal(judged, [1.0, 3.0])
    influence = ki.Influence(outer="margin")
    assert influence.outer_loss(loss) is outer.margin


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64"])
@pytest.mark.parametrize("parameters", ["last_layer", "all"])
def test_a_function_that_gives_a_column(parameters, dtype):
    """As the loss, whatever the shape of its values and dtype of labels."""

    def column(labels, logits):
        labels = keras.ops.cast(labels, logits.dtype)
        return keras.ops.square(keras.ops.reshape(labels, (-1, 1)) - logits)

    def plain(labels, logits):
        return keras.ops.square(labels - logits[:, 0])

    x = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    y = np.arange(6).astype(dtype)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    functions = ["loss", column, *([plain] if "float" in dtype else [])]
    by_loss, *others = (
        ki.influence_scores(
            *(model, (x, y), (x, y)),
            loss="mse",
            influence=ki.Influence(parameters, outer=function),
        )
        for function in functions
    )
    for scores in others:
        np.testing.assert_allclose(scores, by_loss, rtol=1e-5)


def test_a_function_that_gives_a_single_value():
    x, y = np.ones((4, 3), "float32"), np.zeros(4)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    influence = ki.Influence(outer=lambda y, z: keras.ops.mean(z))
    with pytest.raises(ValueError, match="`outer` must give a number for each"):
        ki.influence_scores(
            model, (x, y), (x, y), loss="mse", influence=influence
        )


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
