"""NaN and infinity never reach what is learned."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_influence as ki
from tests.cases.models import UNLABELED, compiled, data, draw, fit, network


def relu_network():
    """Its activation hides a kernel of NaN from the loss."""
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(6, "relu"),
            keras.layers.BatchNormalization(momentum=0.5),
            keras.layers.Dense(3),
        ]
    )


def poisoned(value, of):
    """Steps of which some see one number that is not finite."""

    def poison(batch):
        x, *rest = batch["labeled"]
        views, index = batch["unlabeled"]["views"], batch["unlabeled"]["index"]
        bad = tf.where((index == 3)[:, None], value, 0.0)
        if of == "unlabeled":
            views = {name: v + bad for name, v in views.items()}
        else:
            x = x + tf.reduce_sum(bad)
        unlabeled = {**batch["unlabeled"], "views": views}
        return {"labeled": (x, *rest), "unlabeled": unlabeled}

    # Half of the examples: no batch holds one twice.
    return data(unlabeled_ratio=UNLABELED / 8).map(poison)


@pytest.mark.parametrize("of", ["labeled", "unlabeled"])
@pytest.mark.parametrize(
    "value", [np.nan, pytest.param(np.inf, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("weight_network", [None, "recommended"])
def test_a_number_that_is_not_finite(of, value, weight_network):
    model = compiled(
        relu_network(), weight_network=weight_network, initial_weight=0.5
    )
    logs = fit(model, 12, poisoned(value, of))
    assert 0 < logs["steps_skipped"] < 12
    assert logs["skipped_not_finite"] == logs["updates_skipped"] > 0
    variables = [
        *model.variables,
        *model.optimizer.variables,
        *model.weight_optimizer.variables,
    ]
    for variable in variables:
        assert np.isfinite(variable.numpy()).all(), variable.path
    assert np.isfinite(logs["loss"])
    if weight_network is not None:
        # Each loss counts a quarter more than the one before.
        count = model.weighting.mean_losses.count.numpy()
        visits = np.log1p(count / 4) / np.log(1.25)
        np.testing.assert_allclose(visits, np.round(visits), atol=1e-5)
        assert round(visits.sum()) == 10 * (12 - logs["steps_skipped"])
    assert np.ptp(model.example_weights) > 0


@pytest.mark.parametrize("weight_network", [None, "recommended"])
def test_a_step_that_is_skipped_leaves_the_network_alone(weight_network):
    built = network()
    model = compiled(
        built,
        optimizer=keras.optimizers.SGD(0.1),
        weight_network=weight_network,
        initial_weight=1.0,
    )
    before = built.get_weights()
    x, y = draw(12, 0)
    train = data(labeled=(x, y)).map(
        lambda b: {**b, "labeled": (b["labeled"][0] / 0.0, b["labeled"][1])}
    )
    logs = fit(model, 3, train)
    assert logs["steps_skipped"] == 3
    for ours, theirs in zip(built.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(model.example_weights, np.ones(UNLABELED))


def test_a_step_that_is_skipped_leaves_the_weights_alone():
    """What was learned before, and what a weight network said last."""
    model = compiled(network(), weight_network="recommended")
    fit(model, 12)
    spoiled = data(unlabeled_ratio=UNLABELED / 8).map(
        lambda b: {
            **b,
            "unlabeled": {
                **b["unlabeled"],
                "views": {
                    k: v * np.nan for k, v in b["unlabeled"]["views"].items()
                },
            },
        }
    )
    before = model.example_weights
    assert np.ptp(before) > 0
    assert fit(model, 4, spoiled)["steps_skipped"] == 4
    np.testing.assert_array_equal(model.example_weights, before)


def test_raise_stops_the_training():
    model = compiled(relu_network(), on_nonfinite="raise")
    fit(model, 2)
    with pytest.raises(FloatingPointError, match="steps_skipped"):
        fit(model, 12, poisoned(np.nan, "labeled"))


def test_the_reason_of_a_skipped_update_is_counted():
    concave = {"kernel_regularizer": lambda k: -tf.reduce_sum(k**2)}
    built = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, **concave)]
    )
    model = compiled(
        built, influence=ki.Influence(solver=ki.solvers.Exact(0.0))
    )
    logs = fit(model, 3)
    assert logs["updates_skipped"] == logs["skipped_indefinite"] == 3
    assert logs["skipped_not_finite"] == logs["steps_skipped"] == 0


@pytest.mark.parametrize("build", [network, relu_network])
def test_a_training_that_diverged_has_no_loss(build):
    """A loss of 0 would be the best epoch."""
    model = compiled(build(), optimizer=keras.optimizers.SGD(1e30))
    stop = keras.callbacks.EarlyStopping("loss", patience=9)
    history = model.fit(
        data(), epochs=3, steps_per_epoch=4, verbose=0, callbacks=[stop]
    ).history
    assert history["steps_skipped"][1:] == [4.0, 4.0]
    for name in ("loss", "labeled_loss"):
        assert np.isnan(history[name][1:]).all()
    assert stop.best_epoch == 0


def test_overflow_of_gradients_alone_keeps_the_loss():
    """`TerminateOnNaN` must not stop where a loss-scale optimizer begins."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = compiled(relu_network(), optimizer=keras.optimizers.SGD(0.1))
    finally:
        keras.config.set_dtype_policy("float32")
    model.optimizer.dynamic_scale.assign(1e30)
    logs = fit(model, 1)
    assert logs["steps_skipped"] == 1
    assert np.isfinite(logs["loss"])


def test_metrics_leave_out_skipped_steps():
    entropy = keras.metrics.SparseCategoricalCrossentropy(
        name="entropy", from_logits=True
    )
    model = compiled(relu_network(), metrics=[entropy, "accuracy"])
    logs = fit(model, 8, poisoned(np.nan, "labeled"))
    assert 0 < logs["steps_skipped"] < 8
    assert np.isfinite(logs["entropy"])
    total = model._compile_metrics.metrics[1].count
    assert total == 4 * (8 - logs["steps_skipped"])
