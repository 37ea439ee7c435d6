import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_influence.losses import GivenLabels

LABELS = np.arange(12) % 3
WRONG = [-2, 3, 0.5, np.nan, 2**32]


def views():
    one, two = np.random.default_rng(0).normal(size=(2, 12, 3))
    return {"one": tf.constant(one), "two": tf.constant(two)}


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize(
    "labels",
    [LABELS, LABELS[:, None], LABELS.astype("float32"), np.eye(3)[LABELS]],
    ids=["sparse", "column", "float", "one_hot"],
)
def test_equals_keras_averaged_over_the_views(labels, label_smoothing):
    losses, mask = GivenLabels(label_smoothing)(views(), labels)
    expected = [
        keras.losses.categorical_crossentropy(
            np.eye(3)[LABELS],
            logits,
            from_logits=True,
            label_smoothing=label_smoothing,
        )
        for logits in views().values()
    ]
    np.testing.assert_allclose(losses, np.mean(expected, 0), rtol=1e-7)
    np.testing.assert_array_equal(mask, np.ones(12))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "uint64"])
def test_integers_of_every_width(dtype):
    labels = (LABELS % 2).astype(dtype)
    losses, mask = GivenLabels()(views(), labels)
    expected, _ = GivenLabels()(views(), LABELS % 2)
    np.testing.assert_array_equal(losses, expected)
    np.testing.assert_array_equal(mask, np.ones(12))


def test_probabilities_as_labels():
    labels = np.random.default_rng(1).dirichlet(np.ones(3), 12)
    losses, _ = GivenLabels()({"one": views()["one"]}, labels)
    logs = tf.nn.log_softmax(views()["one"])
    np.testing.assert_allclose(losses, -(labels * logs).numpy().sum(-1))


def test_examples_without_a_label_are_masked():
    labels = np.where(LABELS == 1, -1, LABELS)
    logits = views()
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses, mask = GivenLabels()(logits, labels)
    np.testing.assert_array_equal(mask, LABELS != 1)
    np.testing.assert_array_equal(losses != 0, LABELS != 1)
    for gradient in tape.gradient(losses, logits).values():
        moved = np.any(gradient != 0, -1)
        np.testing.assert_array_equal(moved, LABELS != 1)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("wrap", [lambda f: f, tf.function])
def test_labels_outside_the_classes(wrong, wrap):
    labels = np.where(LABELS == 1, wrong, LABELS)
    call = wrap(lambda labels: GivenLabels()(views(), labels))
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="classes from 0 to 2"
    ):
        call(tf.constant(labels))


@pytest.mark.parametrize("wrong", WRONG)
def test_labels_outside_the_classes_are_masked_by_xla(wrong):
    labels = np.where(LABELS == 1, wrong, LABELS)
    call = tf.function(
        lambda labels: GivenLabels()(views(), labels), jit_compile=True
    )
    _, mask = call(tf.constant(labels))
    np.testing.assert_array_equal(mask, LABELS != 1)


def test_labels_are_required():
    with pytest.raises(ValueError, match="needs a label for every"):
        GivenLabels()(views())


def test_labels_of_another_number_of_classes():
    with pytest.raises(ValueError, match=r"shape \(batch, 3\)"):
        GivenLabels()(views(), np.zeros((12, 4)))


@pytest.mark.parametrize("label_smoothing", [-0.1, 1.0])
def test_label_smoothing_range(label_smoothing):
    with pytest.raises(ValueError, match="`label_smoothing` must be in"):
        GivenLabels(label_smoothing)


@pytest.mark.parametrize(
    "row", [[1, 1, 0], [2.0, -1.0, 0.0], [0.5, 0.2, 0.0], [np.nan, 1, 0]]
)
def test_rows_that_are_no_probabilities(row):
    labels = np.eye(3)[LABELS]
    labels[4] = row
    with pytest.raises(tf.errors.InvalidArgumentError, match="add up to 1"):
        GivenLabels()(views(), labels)


def test_a_row_of_zeros_is_no_label():
    labels = np.eye(3)[LABELS]
    labels[4] = 0
    _, mask = GivenLabels()(views(), labels)
    np.testing.assert_array_equal(np.flatnonzero(mask == 0), [4])
