import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_influence.influence.per_example_loss import (
    PROBABILITIES,
    PerExampleLoss,
)

random = np.random.default_rng(0)
LOGITS = random.normal(size=(4, 3)).astype("float32")
CLASSES = random.integers(0, 3, 4)
ONE_HOT = np.eye(3, dtype="float32")[CLASSES]

SPARSE = keras.losses.SparseCategoricalCrossentropy
CATEGORICAL = keras.losses.CategoricalCrossentropy
BINARY = keras.losses.BinaryCrossentropy


def one_by_one(loss, labels, logits):
    """The Keras loss of every example on its own."""
    return [
        np.sum(loss(labels[i : i + 1], logits[i : i + 1]))
        for i in range(len(logits))
    ]


@pytest.mark.parametrize(
    ("loss", "labels"),
    [
        (SPARSE(from_logits=True), CLASSES),
        (SPARSE(from_logits=True), CLASSES[:, None]),
        (SPARSE(from_logits=True), CLASSES.astype("float32")),
        (SPARSE(from_logits=True, reduction="none"), CLASSES),
        (CATEGORICAL(from_logits=True, label_smoothing=0.1), ONE_HOT),
        (BINARY(from_logits=True), ONE_HOT),
        (BINARY(from_logits=True), ONE_HOT.astype("int32")),
        (keras.losses.MeanSquaredError(), LOGITS[::-1].copy()),
        (keras.losses.Huber(delta=0.1), ONE_HOT),
    ],
    ids=lambda x: getattr(x, "name", "x"),
)
def test_equals_the_keras_loss_of_one_example(loss, labels):
    expected = one_by_one(loss, labels, LOGITS)
    losses = PerExampleLoss(loss)(labels, LOGITS)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def squared(labels, logits):
    """Without a cast of its own: Keras casts labels to the logits' dtype."""
    return ops.mean(ops.square(labels - logits), -1)


class Squared(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return squared(y_true, y_pred)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "uint8"])
@pytest.mark.parametrize("loss", [squared, Squared()])
def test_labels_have_the_dtype_of_the_logits(loss, dtype):
    labels = np.arange(12).reshape(4, 3).astype(dtype)
    losses = PerExampleLoss(loss)(labels, LOGITS)
    expected = ((labels.astype("float64") - LOGITS) ** 2).mean(-1)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


@pytest.mark.parametrize("labels", [np.arange(4), np.arange(4)[:, None]])
@pytest.mark.parametrize("loss", ["mse", "mean_squared_error"])
def test_one_output_with_labels_of_one_dimension(loss, labels):
    # Without care, (4,) against (4, 1) broadcasts to (4, 4).
    losses = PerExampleLoss(loss)(labels, LOGITS[:, :1])
    np.testing.assert_allclose(
        losses, (LOGITS[:, 0] - np.arange(4)) ** 2, rtol=1e-5
    )


def test_losses_by_name_and_function():
    def my_loss(y_true, y_pred):
        return ops.sum(ops.abs(y_true - y_pred), -1)

    expected = np.abs(ONE_HOT - LOGITS).sum(1)
    np.testing.assert_allclose(
        PerExampleLoss(my_loss)(ONE_HOT, LOGITS), expected, rtol=1e-6
    )
    for mae in ("mae", keras.losses.mean_absolute_error):
        np.testing.assert_allclose(
            PerExampleLoss(mae)(ONE_HOT, LOGITS), expected / 3, rtol=1e-6
        )


INTEGERS = ["bool", "int8", "int16", "int32", "int64"]
INTEGERS += ["uint8", "uint16", "uint32", "uint64"]


@pytest.mark.parametrize("dtype", [*INTEGERS, "float16", "float32"])
def test_labels_of_every_type(dtype):
    """300 classes: more than a type of 8 bits can count."""
    loss = PerExampleLoss(SPARSE(from_logits=True))
    logits = random.normal(size=(4, 300)).astype("float32")
    right = np.array([0, 1, 1, 0])
    labels = right.astype(dtype)
    loss.check_labels("labels", labels, 300)
    checked = loss.assert_in_range(labels, 300)
    assert checked.dtype in ("int32", "int64")
    np.testing.assert_array_equal(checked, right)
    for given in (labels, checked, labels[:, None]):
        np.testing.assert_array_equal(loss(given, logits), loss(right, logits))


@pytest.mark.parametrize("wrong", [-1, 3, 0.5, 1.5, np.nan, 255, 2**32])
def test_labels_that_are_none_of_the_classes(wrong):
    loss = PerExampleLoss(SPARSE(from_logits=True))
    labels = np.array([0, 2, wrong])
    with pytest.raises(ValueError, match="from 0 to 2, whole numbers"):
        loss.check_labels("labels", labels, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="from 0 to 2"):
        loss.assert_in_range(tf.constant(labels), 3)


ROWS = keras.losses.CategoricalCrossentropy(from_logits=True)


@pytest.mark.parametrize("dtype", ["int64", "bool", "bfloat16", "float32"])
def test_rows_of_probabilities(dtype):
    loss, labels = PerExampleLoss(ROWS), tf.cast(np.eye(3), dtype)
    checked = loss.assert_in_range(labels, 3)
    assert checked.dtype == labels.dtype
    np.testing.assert_array_equal(
        loss(checked, np.eye(3)), loss(labels, np.eye(3))
    )


@pytest.mark.parametrize(
    "wrong", [[1, 1, 0], [0, 0, 0], [2, -1, 0], [0.5, 0.4, 0], [np.nan, 1, 0]]
)
def test_rows_that_are_no_probabilities(wrong):
    loss, labels = PerExampleLoss(ROWS), np.array([[0, 1, 0], wrong])
    with pytest.raises(ValueError, match="probabilities of classes"):
        loss.check_labels("labels", labels, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="probabilities"):
        loss.assert_in_range(tf.constant(labels), 3)


def test_an_ignored_class_is_no_error():
    loss = PerExampleLoss(SPARSE(from_logits=True, ignore_class=-1))
    for labels in (np.array([0, -1]), np.array([0.0, -1.0])):
        loss.check_labels("labels", labels, 3)
        np.testing.assert_array_equal(loss.assert_in_range(labels, 3), [0, -1])
    for wrong in (-2, 3):
        with pytest.raises(ValueError, match="from 0 to 2"):
            loss.check_labels("labels", np.array([0, -1, wrong]), 3)


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        "categorical_crossentropy",
        "binary_crossentropy",
        "bce",
        "SparseCategoricalCrossentropy",
        SPARSE(),
        CATEGORICAL(),
        BINARY(),
        keras.losses.CategoricalFocalCrossentropy(),
        keras.losses.categorical_focal_crossentropy,
        keras.losses.KLDivergence(),
        "kl_divergence",
        "poisson",
    ],
    ids=lambda loss: getattr(loss, "name", getattr(loss, "__name__", loss)),
)
def test_losses_of_probabilities_are_refused(loss):
    with pytest.raises(ValueError, match="must be a loss of logits"):
        PerExampleLoss(loss)


def test_no_loss():
    with pytest.raises(ValueError, match="loss=None"):
        PerExampleLoss(None)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (SPARSE(from_logits=True), True),
        (CATEGORICAL(from_logits=True, label_smoothing=0.1), True),
        (SPARSE(from_logits=True, ignore_class=0), False),
        (CATEGORICAL(from_logits=True, axis=0), False),
        (BINARY(from_logits=True), False),
        ("mse", False),
    ],
)
def test_the_closed_form_is_for_the_plain_softmax_only(loss, expected):
    assert PerExampleLoss(loss).softmax is expected


def test_a_loss_of_the_whole_batch():
    loss = PerExampleLoss(lambda y, logits: ops.mean(logits))
    with pytest.raises(ValueError, match="a number for each example"):
        loss(CLASSES, LOGITS)


@pytest.mark.parametrize("nest", [list, tuple, lambda x: {"head": x[0]}])
def test_several_losses(nest):
    with pytest.raises(ValueError, match="must be a single Keras loss"):
        PerExampleLoss(nest([SPARSE(from_logits=True)]))


def test_a_serialised_loss():
    config = keras.losses.serialize(SPARSE(from_logits=True))
    assert PerExampleLoss(config)(CLASSES, LOGITS).shape == (4,)


@pytest.mark.parametrize(
    "loss",
    [
        *("mse", "mae", "huber", "hinge", "squared_hinge", "log_cosh"),
        *("categorical_hinge", "cosine_similarity"),
        keras.losses.MeanSquaredError(),
        keras.losses.CategoricalCrossentropy(from_logits=True),
    ],
    ids=lambda loss: getattr(loss, "name", loss),
)
@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 2)])
def test_labels_that_would_be_broadcast(loss, shape):
    labels = np.ones(shape, "float32")
    with pytest.raises(ValueError, match="takes a number for each logit"):
        PerExampleLoss(loss)(labels, LOGITS)
    assert PerExampleLoss(loss)(ONE_HOT, LOGITS).shape == (4,)


def test_what_a_loss_of_ones_own_does_with_labels_is_its_own():
    def loss(labels, logits):
        return keras.losses.sparse_categorical_crossentropy(
            labels, logits, from_logits=True
        )

    expected = SPARSE(from_logits=True, reduction=None)(CLASSES, LOGITS)
    np.testing.assert_allclose(PerExampleLoss(loss)(CLASSES, LOGITS), expected)


def test_one_hot_rows_are_no_classes():
    with pytest.raises(ValueError, match="take `CategoricalCrossentropy`"):
        PerExampleLoss(SPARSE(from_logits=True))(ONE_HOT, LOGITS)


@pytest.mark.parametrize("wrong", [-1, 2, 255, np.nan])
@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3)])
@pytest.mark.parametrize("kind", [BINARY, keras.losses.BinaryFocalCrossentropy])
def test_labels_of_two_classes(kind, shape, wrong):
    loss, labels = PerExampleLoss(kind(from_logits=True)), np.zeros(shape)
    labels.ravel()[::2] = 1
    labels.ravel()[1] = 0.3
    loss.check_labels("labels", labels, shape[-1])
    np.testing.assert_array_equal(loss.assert_in_range(labels, 1), labels)
    labels.ravel()[-1] = wrong
    with pytest.raises(ValueError, match="`labels` must have labels 0 and 1"):
        loss.check_labels("labels", labels, shape[-1])
    with pytest.raises(tf.errors.InvalidArgumentError, match="labels 0 and 1"):
        loss.assert_in_range(tf.constant(labels), 1)


@pytest.mark.parametrize("subclass", [False, True])
@pytest.mark.parametrize(
    "loss",
    [loss for loss in PROBABILITIES if isinstance(loss, type)],
    ids=lambda loss: loss.__name__,
)
def test_losses_of_probabilities_that_do_not_say_so(loss, subclass):
    kind = type("Own", (loss,), {}) if subclass else loss
    with pytest.raises(ValueError, match="expects probabilities"):
        PerExampleLoss(kind())


def test_which_losses_are_of_probabilities():
    names = {getattr(loss, "__name__", "") for loss in PROBABILITIES}
    assert names >= {"KLDivergence", "Poisson", "Dice", "Tversky"}
    assert "CategoricalGeneralizedCrossEntropy" in names


def test_the_label_that_is_wrong_is_said():
    labels = tf.constant([0] * 500 + [7])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[7\]"):
        PerExampleLoss(SPARSE(from_logits=True)).assert_in_range(labels, 3)
