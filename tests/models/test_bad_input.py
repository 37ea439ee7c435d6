import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_influence as ki
from tests.cases.models import (
    CLASSES,
    FEATURES,
    LOSS,
    UNLABELED,
    compiled,
    data,
    draw,
    fit,
    linear_network,
)


@pytest.mark.parametrize("run_eagerly", [True, False])
@pytest.mark.parametrize("num_unlabeled", [1, UNLABELED - 1])
def test_ids_outside_the_weights(run_eagerly, num_unlabeled):
    model = compiled(
        linear_network(), num_unlabeled=num_unlabeled, run_eagerly=run_eagerly
    )
    with pytest.raises(ValueError, match=f"data with {UNLABELED} of them"):
        fit(model, 5)
    # Data of which nothing is counted before.
    uncounted = data().map(lambda batch: batch)
    message = f"num_unlabeled - 1 = {num_unlabeled - 1}: make the model"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message) as error:
        fit(model, 5, uncounted)
    # The ids that are wrong, before all that TensorFlow says.
    first = str(error.value).partition("\n")[0]
    assert re.search(r"Received: ids from \d+ to (\d+)$", first)
    assert int(first.split()[-1]) >= num_unlabeled


def test_more_weights_than_examples():
    model = compiled(linear_network(), num_unlabeled=2 * UNLABELED)
    with pytest.warns(UserWarning, match=f"data with {UNLABELED} of them"):
        fit(model, 1)


@pytest.mark.parametrize("method", ["evaluate", "predict", "fit"])
def test_data_of_training_is_not_evaluated(method):
    model = compiled(linear_network())
    arguments = {"steps": 1}
    if method == "fit":
        arguments = {"steps_per_epoch": 1, "validation_data": data().take(1)}
    with pytest.raises(ValueError, match=r"is for `fit\(\)`\. Evaluate"):
        getattr(model, method)(data(), verbose=0, **arguments)


def test_validation_data_without_labels():
    x, _ = draw(6, 1)
    with pytest.raises(ValueError, match=r"`validation_data`.*tuple \(x, y\)"):
        fit(compiled(linear_network()), 1, validation_data=x)


def test_negative_ids():
    batch = next(iter(data()))
    batch["unlabeled"]["index"] = tf.range(-1, 7, dtype="int64")
    model = compiled(linear_network())
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be from 0"):
        model.fit(tf.data.Dataset.from_tensors(batch), verbose=0)
    np.testing.assert_array_equal(model.example_weights, 1.0)


@pytest.mark.parametrize(
    ("validation_set", "message"),
    [
        ((np.zeros((0, FEATURES)), np.zeros(0, int)), "at least one example"),
        (tf.data.Dataset.from_tensor_slices(draw(3, 2)).take(0), "at least"),
        (tf.data.Dataset.from_tensor_slices(draw(3, 2)).repeat(), "repeat"),
        ((np.zeros((3, FEATURES)), np.zeros(2, int)), "as many labels"),
        (np.zeros((3, FEATURES)), r"tuple \(x, y\)"),
        ((np.full((3, FEATURES), np.nan), np.zeros(3, int)), "must be finite"),
        ((np.zeros((3, FEATURES)), np.array([0, 1, CLASSES])), r"\[3\]"),
        ((np.zeros((3, FEATURES)), np.array([0, 1, -1])), r"\[-1\]"),
        ((np.zeros((3, FEATURES)), np.array([[0], [1], [5]])), r"\[5\]"),
    ],
)
def test_validation_sets(validation_set, message):
    with pytest.raises(ValueError, match=message) as error:
        compiled(linear_network(), validation_set=validation_set)
    assert "`validation_set`" in str(error.value)


def test_validation_labels_without_one_class():
    several = np.zeros((3, FEATURES)), np.eye(CLASSES)[[0, 1, 2]]
    several[1][1, 0] = 1.0
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    compiled(linear_network(), validation_set=several, loss=loss)
    with pytest.raises(ValueError, match="probabilities of classes"):
        compiled(
            linear_network(),
            validation_set=several,
            loss=loss,
            influence=ki.Influence(outer="margin"),
        )


def test_validation_labels_after_loading():
    model = compiled(linear_network(), validation_set=None)
    with pytest.raises(ValueError, match="`validation_set` must have labels"):
        model.validation_set = draw(3, 2)[0], np.array([0, 1, CLASSES])


def test_a_refused_validation_set_leaves_the_one_before():
    model = compiled(linear_network(), validation_set=draw(10, 2))
    kept, wrong = model.validation_set, (draw(3, 2)[0], np.array([0, 1, 9]))
    with pytest.raises(ValueError, match=r"\[9\]"):
        model.validation_set = wrong
    with pytest.raises(ValueError, match=r"\[9\]"):
        model.compile(
            "sgd", LOSS, ki.losses.GivenLabels(), validation_set=wrong
        )
    assert model.validation_set is kept
    assert fit(model, 1)["updates_skipped"] == 0


def test_a_network_that_is_not_built_is_refused_as_often_as_it_is_tried():
    built = keras.Sequential([keras.layers.Dense(CLASSES)])
    wrong = draw(3, 2)[0], np.array([0, 1, 9])
    model = compiled(built, validation_set=wrong)
    for _ in range(2):
        with pytest.raises(ValueError, match="`validation_set` must have"):
            fit(model, 1)
    model.validation_set = draw(10, 2)
    assert fit(model, 1)["updates_skipped"] == 0


def one_hot(n, seed):
    x, y = draw(n, seed)
    return x, np.eye(CLASSES, dtype="float32")[y]


@pytest.mark.parametrize("run_eagerly", [True, False])
@pytest.mark.parametrize(
    ("loss", "labeled", "validation_set"),
    [
        ("mse", one_hot(12, 0), draw(10, 2)),
        (
            keras.losses.CategoricalCrossentropy(from_logits=True),
            one_hot(12, 0),
            (draw(10, 2)[0], np.eye(2)[np.arange(10) % 2]),
        ),
        (LOSS, draw(12, 0), one_hot(10, 2)),
    ],
)
def test_validation_labels_of_another_form(
    loss, labeled, validation_set, run_eagerly
):
    model = compiled(
        linear_network(),
        loss=loss,
        validation_set=validation_set,
        run_eagerly=run_eagerly,
    )
    with pytest.raises(ValueError, match="`validation_set` must have labels"):
        fit(model, 1, data(labeled))


def test_labels_in_a_column():
    x, y = draw(10, 2)
    model = compiled(linear_network(), validation_set=(x, y[:, None]))
    assert fit(model, 1)["updates_skipped"] == 0


def test_no_data():
    with pytest.raises(ValueError, match="needs data"):
        compiled(linear_network()).fit()


def test_no_validation_set():
    model = compiled(linear_network(), validation_set=None)
    with pytest.raises(ValueError, match="needs a validation set"):
        fit(model, 1)


@pytest.mark.parametrize("label", [-1, CLASSES])
def test_training_labels_outside_the_classes(label):
    x, y = draw(12, 0)
    y[:] = label
    model = compiled(linear_network())
    with pytest.raises(tf.errors.InvalidArgumentError, match="from 0 to 2"):
        fit(model, 1, data((x, y)))


def test_given_labels_outside_the_classes():
    x, y = draw(UNLABELED, 1)
    y[:] = CLASSES
    model = compiled(linear_network())
    with pytest.raises(tf.errors.InvalidArgumentError, match="from 0 to 2"):
        fit(model, 1, data(unlabeled=(x, y)))


@pytest.mark.parametrize("functional", [True, False])
def test_a_network_that_ends_in_softmax(functional):
    softmax = linear_network(activation="softmax")
    if functional:
        softmax = keras.Model(softmax.inputs, softmax.outputs)
    with pytest.raises(ValueError, match="must map inputs to logits"):
        compiled(softmax)


def test_a_subclassed_network_that_ends_in_softmax():
    class Network(keras.Model):
        def __init__(self):
            super().__init__()
            self.head = keras.layers.Dense(CLASSES, activation="softmax")

        def call(self, inputs):
            return self.head(inputs)

    with pytest.raises(ValueError, match="must map inputs to logits"):
        fit(compiled(Network()), 1)


def test_a_network_without_a_dense_head():
    inputs = keras.Input((FEATURES,))
    x = keras.layers.LayerNormalization()(keras.layers.Dense(CLASSES)(inputs))
    with pytest.raises(ValueError, match="must end in a Dense layer"):
        compiled(keras.Model(inputs, x))


@pytest.mark.parametrize("parameters", ["last_layer", "all"])
def test_inputs_that_are_not_finite(parameters):
    """Updates are skipped and counted; weights keep their last value."""
    influence = ki.Influence(parameters, solver=ki.solvers.Exact(0.1))
    model = compiled(linear_network(), influence=influence)
    fit(model, 2)
    before = model.example_weights
    assert (before != 1.0).any()

    def spoil(batch):  # as a view could
        unlabeled = batch["unlabeled"]
        views = {k: v / 0.0 for k, v in unlabeled["views"].items()}
        return {**batch, "unlabeled": {**unlabeled, "views": views}}

    logs = fit(model, 3, data().map(spoil))
    assert logs["updates_skipped"] == 3
    assert np.isfinite(logs["hypergradient_norm"])
    assert np.isfinite(logs["solver_residual"])
    np.testing.assert_array_equal(model.example_weights, before)


def test_one_loss_that_is_not_finite():
    class Broken(ki.losses.GivenLabels):
        def call(self, logits, labels=None, step=None):
            losses, mask = super().call(logits, labels, step)
            first = keras.ops.one_hot(0, 8, dtype=losses.dtype)
            return losses + np.inf * first, mask

    model = compiled(linear_network(), unlabeled_loss=Broken())
    logs = fit(model, 1)
    assert np.isfinite(model.example_weights).all()
    assert logs["updates_skipped"] in (0, 1)


def test_a_hessian_that_is_not_positive_definite():
    concave = linear_network(kernel_regularizer=concave_penalty)
    influence = ki.Influence(solver=ki.solvers.Exact(0.0))
    model = compiled(concave, influence=influence)
    logs = fit(model, 2)
    assert logs["updates_skipped"] == 2
    np.testing.assert_array_equal(model.example_weights, 1.0)


def concave_penalty(kernel):
    return -0.5 * keras.ops.sum(kernel**2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": None}, "loss=None"),
        ({"loss": "sparse_categorical_crossentropy"}, "loss of logits"),
        ({"unlabeled_loss": None}, "`unlabeled_loss` must be"),
        ({"unlabeled_loss": LOSS}, "`unlabeled_loss` must be"),
        ({"weight_optimizer": keras.optimizers.Adam()}, "such as `MAdam`"),
        ({"inner_steps": 0}, "inner_steps=0"),
        ({"warmup_steps": -1}, "warmup_steps=-1"),
        ({"validation_draw": 0}, "validation_draw=0"),
        ({"validation_draw": -1, "validation_set": None}, "validation_draw=-1"),
        ({"validation_reuse": 0}, "validation_reuse=0"),
        ({"validation_reuse": None}, "validation_reuse=None"),
        ({"influence": "all"}, "`influence` must be"),
        ({"num_unlabeled": 0}, "num_unlabeled=0"),
        ({"initial_weight": -1.0}, "`initial_weight` must be"),
        ({"initial_weight": 3.0}, "`initial_weight` must be"),
        ({"initial_weight": np.ones(3)}, "`initial_weight` must be"),
    ],
)
def test_arguments_outside_their_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        compiled(linear_network(), **arguments)


def test_a_layer_that_is_not_there():
    model = compiled(linear_network(), influence=ki.Influence(["body"]))
    with pytest.raises(ValueError, match="'body', but the layers are"):
        fit(model, 1)


def test_no_network():
    with pytest.raises(ValueError, match=r"must be a `keras\.Model`"):
        compiled(keras.layers.Dense(3))


@pytest.mark.parametrize(
    "dataset",
    [
        tf.data.Dataset.from_tensor_slices(draw(8, 0)).batch(4),
        data().map(lambda batch: batch["unlabeled"]),
        data().map(lambda batch: {"labeled": batch["labeled"]}),
    ],
    ids=["labeled", "unlabeled", "half"],
)
def test_data_of_another_form(dataset):
    with pytest.raises(ValueError, match="semi_supervised` makes them"):
        fit(compiled(linear_network()), 1, dataset)


def test_data_without_the_labels_that_the_loss_needs():
    train = data(unlabeled=draw(UNLABELED, 1)[0])
    with pytest.raises(ValueError, match="needs a label for every unlabelled"):
        fit(compiled(linear_network()), 1, train)


def test_data_without_the_views_that_the_loss_needs():
    model = compiled(linear_network(), unlabeled_loss=ki.losses.FixMatch())
    with pytest.raises(ValueError, match="needs the views"):
        fit(model, 1)


def test_batches_of_several_sizes_with_unrolled_steps():
    model = compiled(linear_network(), influence=ki.Unrolled(2))
    fit(model, 2)
    with pytest.raises(ValueError, match="drop_remainder"):
        fit(model, 2, data(batch_size=3))
