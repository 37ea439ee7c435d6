"""Features of validation examples that are used for several updates."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_influence as ki
from keras_influence.influence.head import find_head
from keras_influence.influence.per_example_loss import PerExampleLoss
from keras_influence.influence.scope import LastLayerScope
from keras_influence.models.hypergradient import outer_objective
from keras_influence.models.ring_buffer import RingBuffer
from tests.cases.influence import assert_close
from tests.cases.models import (
    LOSS,
    RowSGD,
    compiled,
    data,
    draw,
    fit,
    network,
    quiet_network,
    state,
)

slow = pytest.mark.slow
V = draw(40, 2)
REUSED = {"validation_set": V, "validation_reuse": 8}


def squared(labels, logits):
    labels = tf.cast(labels, logits.dtype)
    return tf.reduce_sum((logits - labels[:, None]) ** 2, -1)


def test_earlier_draws_judge_by_the_features_that_they_had():
    """In the mean of what was drawn, with the head of now."""
    built, memory = quiet_network(), RingBuffer(3)
    head = find_head(built, built.inputs[0])
    scope = LastLayerScope(head, lambda x: head.run(built, x))
    drawn = []
    for number in range(5):
        built.set_weights([w + 0.1 for w in built.get_weights()])
        x, y = draw(4, number)
        drawn = [*drawn, (built.layers[0](x), y)][-3:]
        objective = outer_objective(scope, x, y, squared, memory)
        features, labels = (np.concatenate(p) for p in zip(*drawn, strict=True))
        expected = squared(tf.constant(labels), built.layers[1](features))
        value = objective(objective.parameters)
        assert_close(value, tf.reduce_mean(expected), 1e-5)


def test_the_mean_is_over_examples_that_count():
    """Of this draw and of those before, as Keras' own mean is."""
    built, memory = quiet_network(), RingBuffer(2)
    head = find_head(built, built.inputs[0])
    scope = LastLayerScope(head, lambda x: head.run(built, x))
    keras_loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=-1
    )
    loss, before = PerExampleLoss(keras_loss), np.zeros((0, 5))
    for number, ignored in enumerate([range(3), range(4), [1], range(2)]):
        x, y = draw(4, number)
        y[list(ignored)] = -1
        draws = np.concatenate([before, np.c_[x, y]])
        for kept, rows in ((None, draws[-4:]), (memory, draws)):
            objective = outer_objective(scope, x, y, loss, kept)
            expected = keras_loss(rows[:, -1], built(rows[:, :-1]))
            value = objective(objective.parameters)
            assert_close(value, expected, 1e-5)
        before = np.c_[x, y]


def trained(steps, built=quiet_network, validation_set=V, **arguments):
    keras.utils.set_random_seed(0)
    arguments = {**REUSED, "validation_set": validation_set, **arguments}
    model = compiled(built(), **arguments)
    history = model.fit(data(), epochs=steps, steps_per_epoch=1, verbose=0)
    return model, np.array(history.history["hypergradient_norm"])


def test_a_network_that_stands_still_is_judged_by_the_whole_draw():
    """After the eight updates in which all of it has passed through."""

    def still(**arguments):
        return trained(
            12,
            optimizer=keras.optimizers.SGD(0.0),
            weight_optimizer=RowSGD(0.0),
            **arguments,
        )

    reused, norms = still()
    _, anew = still(validation_reuse=1)
    assert reused.validation_set.batch_size == 5
    np.testing.assert_allclose(norms[7:], anew[7:], rtol=1e-4)
    assert (np.abs(norms[:7] / anew[:7] - 1) > 1e-3).all()


def test_the_first_update_is_judged_by_what_was_drawn():
    model, norms = trained(1)
    first = tuple(part[:5] for part in model.validation_set.data)
    _, alone = trained(1, validation_set=first)
    np.testing.assert_allclose(norms, alone, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ({}, 10),
        ({"inner_steps": 2}, 20),
        ({"inner_steps": 3}, 40),
        ({"validation_reuse": 8}, 5),
        ({"validation_reuse": 8, "inner_steps": 3}, 20),
        ({"inner_steps": 2, "validation_draw": 8}, 4),
        ({"inner_steps": 2, "validation_draw": 7}, 7),
        ({"inner_steps": 100}, 40),
        ({"validation_reuse": 1}, 40),
        ({"influence": ki.Influence("all", "gauss_newton")}, 40),
        ({"influence": ki.Unrolled(2, parameters="last_layer")}, 40),
    ],
)
def test_how_many_examples_pass_through_the_network(arguments, size):
    model = compiled(quiet_network(), validation_set=V, **arguments)
    assert model.validation_set.batch_size == size


@pytest.mark.parametrize(
    "built", [quiet_network, pytest.param(network, marks=slow)]
)
@pytest.mark.parametrize(
    "arguments",
    [{"run_eagerly": True}, {"jit_compile": True}, {"steps_per_execution": 3}],
)
def test_however_a_step_is_run(built, arguments):
    models = []
    for how in ({}, arguments):
        keras.utils.set_random_seed(0)
        models.append(compiled(built(), **REUSED, **how))
        fit(models[-1], 3)
    ours, theirs = models
    for a, b in zip(state(ours).values(), state(theirs).values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "policy", [pytest.param("mixed_bfloat16", marks=slow), "mixed_float16"]
)
def test_mixed_precision_keeps_the_precision_of_the_kernel(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model, norms = trained(3)
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(norms).all()
    counts, features, labels = model.memory.slots
    assert counts.shape == (8, 5)
    assert features.dtype == "float32"
    assert features.shape == (8, 5, 5)
    assert labels.shape == (8, 5)


def test_a_network_that_is_not_built_yet():
    def built():
        return keras.Sequential(
            [keras.layers.Dense(5, "tanh"), keras.layers.Dense(3)]
        )

    model, norms = trained(3, built)
    assert model.memory.count == 3
    assert np.isfinite(norms).all()


def build():
    keras.utils.set_random_seed(0)
    return compiled(network(), **REUSED, inner_steps=2)


def test_a_file_from_before_the_first_draw(tmp_path):
    build().save_weights(tmp_path / "new.weights.h5")
    model = build()
    fit(model, 8)
    model.load_weights(tmp_path / "new.weights.h5")
    assert not any(np.any(variable) for variable in model.memory.variables)


@pytest.mark.parametrize(
    "arguments",
    [{"validation_draw": 20}, pytest.param({"inner_steps": 1}, marks=slow)],
)
def test_draws_of_another_size_start_anew(arguments, tmp_path):
    model = build()
    fit(model, 8)
    model.save_weights(tmp_path / "model.weights.h5")
    other = compiled(network(), **REUSED, **{"inner_steps": 2, **arguments})
    fit(other, 2)
    with pytest.warns(UserWarning, match="no validation features"):
        other.load_weights(tmp_path / "model.weights.h5")
    assert not any(np.any(variable) for variable in other.memory.variables)
    logs = fit(other, 2, data(start_step=8))
    assert logs["updates_skipped"] == 0


@pytest.mark.parametrize(
    ("size", "dtype"),
    [(20, "int64"), pytest.param(40, "int32", marks=slow)],
)
def test_another_validation_set_after_loading(size, dtype, tmp_path):
    model = build()
    fit(model, 8)
    model.save(tmp_path / "model.keras")
    other = keras.models.load_model(tmp_path / "model.keras")
    other.validation_set = V[0][:size], V[1][:size].astype(dtype)
    assert other.memory.count == 0
    _, features, labels = other.memory.slots
    assert features.shape == (4, size // 4, 6)
    assert labels.dtype == dtype
    assert fit(other, 2, data(start_step=8))["updates_skipped"] == 0


def test_compiling_again_divides_the_validation_set_anew():
    model = compiled(quiet_network(), **REUSED)
    fit(model, 3)
    again = {"optimizer": "sgd", "loss": LOSS, "inner_steps": 1}
    again["unlabeled_loss"] = ki.losses.GivenLabels()
    order = model.validation_set.labels
    model.compile(**again, validation_draw=16)
    assert model.validation_set.batch_size == 4
    np.testing.assert_array_equal(model.validation_set.labels, order)
    fit(model, 3)
    assert model.memory.slots[1].shape == (4, 4, 5)
    model.compile(**again, validation_draw=7)
    assert model.validation_set.batch_size == 7
    fit(model, 1)


def test_labels_of_any_form_are_kept_with_their_features():
    one_hot = np.eye(3, dtype="float32")[V[1]]
    keras.utils.set_random_seed(0)
    model = compiled(
        quiet_network(),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        **{**REUSED, "validation_set": (V[0], one_hot)},
    )
    labeled, unlabeled = draw(12, 0), draw(20, 1)
    logs = fit(
        model,
        9,
        data(
            (labeled[0], np.eye(3, dtype="float32")[labeled[1]]),
            (unlabeled[0], np.eye(3, dtype="float32")[unlabeled[1]]),
        ),
    )
    assert logs["updates_skipped"] == 0
    kept = model.memory.slots[2].numpy()
    assert kept.shape == (8, 5, 3)
    # A row of labels for all of `V`, in some order, and the ninth draw's again.
    np.testing.assert_array_equal(
        kept.reshape(-1, 3).sum(0), model.validation_set.labels.sum(0)
    )


def of_texts(mode):
    """A network whose features have no number of rows in a graph."""
    layer = keras.layers.TextVectorization(output_mode=mode)
    layer.adapt(["good film", "bad film"])
    inside = []
    if mode == "int":
        inside = [
            keras.layers.Embedding(9, 8),
            keras.layers.GlobalAveragePooling1D(),
        ]
    inputs = keras.Input((), dtype="string")
    return keras.Sequential([inputs, layer, *inside, keras.layers.Dense(2)])


@pytest.mark.parametrize("mode", ["multi_hot", "int"])
def test_texts(mode):
    x = np.array(["good film", "bad film"] * 40, object)
    y = np.arange(80) % 2
    model = compiled(
        of_texts(mode), validation_set=(x[40:], y[40:]), validation_reuse=4
    )
    train = ki.data.semi_supervised(
        (x[:20], y[:20]), (x[20:40], y[20:40]), batch_size=4
    )
    logs = model.fit(train, steps_per_epoch=6, verbose=0).history
    assert model.validation_set.draws == 4
    assert logs["updates_skipped"] == [0]
    assert logs["hypergradient_norm"][0] > 0


@keras.saving.register_keras_serializable("tests")
class PerLabel(keras.losses.Loss):
    """Cross-entropy by the share of the label, without a value at zeros."""

    def call(self, y_true, y_pred):
        share = y_true / tf.reduce_sum(y_true, -1, keepdims=True)
        return -tf.reduce_sum(share * tf.nn.log_softmax(y_pred), -1)


def test_a_loss_that_zeros_are_no_labels_of():
    def soft(n, seed):
        x, y = draw(n, seed)
        return x, np.eye(3, dtype="float32")[y]

    train = ki.data.semi_supervised(
        soft(8, 0), draw(20, 1), batch_size=4, unlabeled_ratio=1
    )
    model = compiled(
        quiet_network(),
        loss=PerLabel(),
        validation_set=soft(40, 2),
        validation_reuse=4,
        on_nonfinite="raise",
    )
    logs = model.fit(train, steps_per_epoch=6, verbose=0).history
    assert logs["updates_skipped"] == [0]


def test_another_set_is_not_judged_by_the_one_before():
    model, _ = trained(5)
    assert int(model.memory.count) == 5
    model.validation_set = draw(40, 7)
    for variable in model.memory.variables:
        np.testing.assert_array_equal(variable, 0)
    # What it can judge by is the first draw of the new set alone.
    other = model.validation_set.draw(model.weight_optimizer.iterations)
    alone, _ = trained(5)
    alone.validation_set = other
    assert alone.validation_set.draws == 1
    norms = [fit(m, 1)["hypergradient_norm"] for m in (model, alone)]
    np.testing.assert_allclose(*norms, rtol=1e-5)


def test_another_set_while_it_trains():
    def exchange(model):
        model.validation_set = draw(40, 7)

    class Exchange(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                exchange(self.model)

    states = []
    for within in (True, False):
        keras.utils.set_random_seed(0)
        model = compiled(quiet_network(), **REUSED)
        if within:
            fit(model, 4, callbacks=[Exchange()])
        else:
            fit(model, 2)
            exchange(model)
            fit(model, 2, data(start_step=2))
        states.append(model.example_weights)
    np.testing.assert_array_equal(*states)
