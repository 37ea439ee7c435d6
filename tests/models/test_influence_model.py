import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf

import keras_influence as ki
from tests.cases.models import (
    CLASSES,
    FEATURES,
    LOSS,
    UNLABELED,
    RowSGD,
    assert_same,
    compiled,
    data,
    draw,
    fit,
    linear_network,
    network,
    quiet_network,
    state,
)

INFLUENCES = {
    "last_layer": ki.Influence(solver=ki.solvers.Exact(0.1)),
    # The Hessian of the whole network is not positive definite.
    "all": ki.Influence(
        "all", "gauss_newton", ki.solvers.ConjugateGradient(9, damping=0.1)
    ),
}


CLEAN = draw(10, 2, noise=0.2)


def test_arguments_of_fit_by_their_place():
    model = compiled(linear_network())
    history = model.fit(data(), None, None, 2, 0, steps_per_epoch=1)
    assert len(history.epoch) == 2
    with pytest.raises(ValueError, match="`batch_size` of `fit"):
        model.fit(data(), None, 8)


def test_losses_are_scaled_where_the_network_is_of_half_precision():
    class Half(keras.Model):
        def __init__(self):
            super().__init__(dtype="mixed_float16")
            self.head = keras.layers.Dense(CLASSES, dtype="mixed_float16")

        def call(self, x):
            return self.head(x)

    model = compiled(Half())
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert model.compute_dtype == "float16"
    assert model(np.zeros((2, FEATURES))).dtype == "float16"
    assert fit(model, 2)["steps_skipped"] == 0


def copies_of_validation():
    """Validation examples, the first half with right labels, then wrong."""
    x, y = CLEAN
    wrong = (y + 1) % CLASSES
    return np.concatenate([x, x]), np.concatenate([y, wrong])


@pytest.mark.parametrize("outer", ["loss", "margin"])
@pytest.mark.parametrize("parameters", ["last_layer", "all"])
def test_copies_of_validation_examples(parameters, outer):
    influence = ki.Influence(parameters, outer=outer)
    model = compiled(
        linear_network(), influence=influence, validation_set=CLEAN
    )
    fit(model, 15, data(unlabeled=copies_of_validation()))
    right, wrong = np.split(model.example_weights, 2)
    assert right.min() > 1.0 > wrong.max()


def test_a_weight_at_its_lower_bound_rises_again():
    model = compiled(linear_network(), initial_weight=0.0, validation_set=CLEAN)
    fit(model, 10, data(unlabeled=copies_of_validation()))
    right, wrong = np.split(model.example_weights, 2)
    assert right.min() > 0
    assert np.mean(wrong == 0.0) > 0.5


def test_weights_stay_within_their_bounds():
    model = compiled(
        linear_network(),
        max_weight=1.2,
        validation_set=CLEAN,
        weight_optimizer=ki.optimizers.MAdam(0.3),
    )
    fit(model, 15, data(unlabeled=copies_of_validation()))
    np.testing.assert_allclose(model.example_weights[:10], 1.2)
    assert model.example_weights.min() == 0.0


def one_batch(train):
    return next(iter(train))


def closed_form(weights, batch, validation, damping, decay, initial):
    """Minus `∇L(V)ᵀ H⁻¹ ∇l_u` of a linear network, written out."""
    (x, y), unlabeled = batch["labeled"], batch["unlabeled"]
    kernel, bias = weights
    v = np.concatenate([kernel, [bias]])

    def parts(x, labels):
        a = np.concatenate([x, np.ones((len(x), 1))], 1).astype("float64")
        p = scipy.special.softmax(a @ v, axis=1)
        g = np.einsum("ni,nc->nic", a, p - np.eye(CLASSES)[labels])
        w = p[:, :, None] * np.eye(CLASSES) - p[:, :, None] * p[:, None]
        h = np.einsum("ncd,ni,nj->nicjd", w, a, a)
        size = v.size
        return g.reshape(-1, size), h.reshape(-1, size, size)

    _, labeled_h = parts(x, y)
    g, h = parts(unlabeled["views"]["original"], unlabeled["label"])
    hessian = labeled_h.mean(0) + initial * h.mean(0)
    penalty = np.zeros(v.shape)
    penalty[:-1] = 2 * decay
    hessian += np.diag(penalty.ravel()) + damping * np.eye(v.size)
    outer = parts(*validation)[0].mean(0)
    return unlabeled["index"], -g @ np.linalg.solve(hessian, outer)


@pytest.mark.parametrize("parameters", ["last_layer", "all"])
@pytest.mark.parametrize("recording", [False, True])
def test_the_hypergradient_is_equation_6(parameters, recording):
    built = linear_network(kernel_regularizer=keras.regularizers.L2(0.25))
    if recording:
        built = ki.layers.recording_clone(built)
    model = compiled(
        built,
        initial_weight=0.5,
        max_weight=None,
        weight_optimizer=RowSGD(0.1),
        influence=ki.Influence(parameters, solver=ki.solvers.Exact(0.1)),
    )
    train = data(seed=3)
    index, expected = closed_form(
        built.get_weights(), one_batch(train), draw(10, 2), 0.1, 0.25, 0.5
    )
    logs = fit(model, 1, train)
    moved = model.example_weights - 0.5
    total = np.zeros(UNLABELED)
    np.add.at(total, index.numpy(), -0.1 * expected)
    np.testing.assert_allclose(moved, total, rtol=1e-3, atol=1e-6)
    assert np.abs(moved).max() > 1e-4
    np.testing.assert_allclose(
        logs["hypergradient_norm"], np.linalg.norm(expected), rtol=1e-3
    )


def test_masked_examples_keep_their_weights():
    x, y = draw(UNLABELED, 1)
    y[::2] = -1
    model = compiled()
    fit(model, 6, data(unlabeled=(x, y)))
    np.testing.assert_array_equal(model.example_weights[::2], 1.0)
    assert (model.example_weights[1::2] != 1.0).all()


@pytest.mark.parametrize("sample_weight", [False, True])
@pytest.mark.parametrize("inner_steps", [None, 1])
def test_the_network_learns_as_in_a_step_written_by_hand(
    sample_weight, inner_steps
):
    labeled = draw(12, 0)
    if sample_weight:
        labeled = (*labeled, np.linspace(0, 2, 12).astype("float32"))
    x, y = draw(UNLABELED, 1)
    train = data(labeled, (x, np.where(y == 2, -1, y)))
    built, hand = network(), network()
    hand.set_weights(built.get_weights())
    # Learning rate 0: the weights stay where they are.
    model = compiled(
        built,
        initial_weight=0.5,
        weight_optimizer=ki.optimizers.MAdam(0.0),
        inner_steps=inner_steps,
    )
    logs = fit(model, 4, train)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    losses, masks = [], []
    for batch in train.take(4):
        x, y, *weight = batch["labeled"]
        unlabeled = batch["unlabeled"]
        mask = tf.cast(unlabeled["label"] >= 0, "float32")
        labels = tf.maximum(unlabeled["label"], 0)
        with tf.GradientTape() as tape:
            views = unlabeled["views"]["original"]
            logits = hand(tf.concat([x, views], 0), training=True)
            # The mean runs over all examples, those without a label included.
            loss = LOSS(y, logits[:4], *weight)
            loss += 0.5 * LOSS(labels, logits[4:], mask)
            loss += sum(hand.losses)
        variables = hand.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        losses.append(loss)
        masks.append(mask)
    for ours, theirs in zip(
        built.get_weights(), hand.get_weights(), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(logs["loss"], np.mean(losses), rtol=1e-5)
    np.testing.assert_allclose(logs["mask_rate"], np.mean(masks), rtol=1e-5)
    assert 0 < logs["mask_rate"] < 1


def trained(steps=6, build=network, **arguments):
    keras.utils.set_random_seed(0)
    model = compiled(build(), **arguments)
    logs = fit(model, steps)
    return model, logs


@pytest.mark.parametrize("parameters", ["last_layer", "all"])
def test_updates_have_no_side_effects(parameters):
    """Batch statistics, seeds, counters, moments and parameters."""
    influence = INFLUENCES[parameters]
    plain, logs = trained(inner_steps=None)
    updated, more = trained(
        influence=influence, weight_optimizer=ki.optimizers.MAdam(0.0)
    )
    assert updated.weight_optimizer.iterations == 6
    own = {id(v) for v in updated.memory.variables} if updated.memory else ()
    for ours, theirs in (
        (plain.variables, [v for v in updated.variables if id(v) not in own]),
        (plain.optimizer.variables, updated.optimizer.variables),
    ):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=a.path)
    assert {name: more[name] for name in logs} == logs


@pytest.mark.parametrize(
    "parameters",
    ["last_layer", pytest.param("all", marks=pytest.mark.slow)],
)
def test_eager_execution_is_the_same(parameters):
    influence = INFLUENCES[parameters]
    graph, _ = trained(2, influence=influence)
    eager, _ = trained(2, influence=influence, run_eagerly=True)
    for ours, theirs in zip(
        state(graph).values(), state(eager).values(), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)
    assert np.ptp(graph.example_weights) > 0.01


@pytest.mark.parametrize(
    "influence",
    [
        # Without a matrix, which would stay out of XLA.
        ki.Influence(solver=ki.solvers.Exact(0.1, max_dense=1)),
        pytest.param(INFLUENCES["last_layer"], marks=pytest.mark.slow),
        pytest.param(INFLUENCES["all"], marks=pytest.mark.slow),
    ],
    ids=["matrix_free", *INFLUENCES],
)
def test_compiled_by_xla(influence):
    # XLA draws other dropout masks.
    plain, _ = trained(3, quiet_network, influence=influence)
    compiled, _ = trained(
        3, quiet_network, influence=influence, jit_compile=True
    )
    np.testing.assert_allclose(
        plain.example_weights, compiled.example_weights, atol=1e-3
    )
    for ours, theirs in zip(
        plain.network.weights, compiled.network.weights, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "policy",
    ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize(
    "parameters",
    ["last_layer", pytest.param("all", marks=pytest.mark.slow)],
)
def test_mixed_precision(policy, parameters):
    arguments = {"influence": INFLUENCES[parameters], "build": quiet_network}
    exact, _ = trained(**arguments)
    keras.config.set_dtype_policy(policy)
    try:
        model, logs = trained(**arguments)
    finally:
        keras.config.set_dtype_policy("float32")
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled is (policy == "mixed_float16")
    assert all(np.isfinite(list(logs.values())))
    assert logs["updates_skipped"] == 0
    np.testing.assert_allclose(
        model.example_weights, exact.example_weights, atol=0.05
    )
    assert np.ptp(exact.example_weights) > 0.1


@pytest.mark.parametrize("weight_network", [None, "recommended"])
def test_double_precision(weight_network):
    built = keras.Sequential(
        [
            keras.Input((FEATURES,), dtype="float64"),
            keras.layers.Dense(CLASSES, dtype="float64"),
        ]
    )
    model = compiled(built, dtype="float64", weight_network=weight_network)
    fit(model, 3)
    assert np.isfinite(model.example_weights).all()
    assert np.ptp(model.example_weights) > 0


@pytest.mark.parametrize(
    "inner_steps", [pytest.param(1, marks=pytest.mark.slow), 3]
)
def test_steps_per_execution_changes_nothing(inner_steps):
    one, _ = trained(8, inner_steps=inner_steps)
    four, _ = trained(8, inner_steps=inner_steps, steps_per_execution=4)
    for ours, theirs in zip(
        state(one).values(), state(four).values(), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_duplicate_ids_add_both_gradients_once():
    batch = one_batch(data())
    unlabeled = dict(batch["unlabeled"])
    unlabeled["index"] = np.array([0, 1, 2, 3, 4, 5, 6, 6])
    apart, together = (
        compiled(
            linear_network(),
            max_weight=None,
            weight_optimizer=RowSGD(0.1),
            influence=ki.Influence(solver=ki.solvers.Exact(0.1)),
        )
        for _ in range(2)
    )
    together.network.set_weights(apart.network.get_weights())
    for model, last in ((apart, 7), (together, 6)):
        unlabeled["index"] = np.array([0, 1, 2, 3, 4, 5, 6, last])
        dataset = tf.data.Dataset.from_tensors(
            {**batch, "unlabeled": unlabeled}
        )
        model.fit(dataset, verbose=0)
    ours, theirs = (m.example_weights - 1.0 for m in (together, apart))
    np.testing.assert_allclose(ours[6], theirs[6] + theirs[7], atol=1e-6)
    np.testing.assert_allclose(ours[:6], theirs[:6], atol=1e-6)
    np.testing.assert_array_equal(ours[7:], 0.0)


def test_progress_and_metrics():
    model = compiled(metrics=["accuracy"])
    shown = {"labeled_loss", "unlabeled_loss", "mask_rate", "weight_mean"}
    shown |= {"weight_std", "hypergradient_norm", "solver_residual"}
    shown |= {"steps_skipped", "updates_skipped", "skipped_not_finite"}
    shown |= {"skipped_indefinite", "skipped_diverged", "loss", "accuracy"}
    logs = fit(model, 3, validation_data=draw(8, 5))
    assert set(logs) == shown | {"val_loss", "val_accuracy"}
    assert logs["mask_rate"] == 1.0
    assert logs["solver_residual"] < 1e-3
    logs = model.evaluate(*draw(8, 5), verbose=0, return_dict=True)
    assert set(logs) == {"loss", "accuracy"}
    plain = compiled(inner_steps=None)
    assert "hypergradient_norm" not in fit(plain, 1)


def test_evaluate_and_predict_are_the_networks_own():
    model = compiled(metrics=["accuracy"])
    x, y = draw(9, 5)
    model.network.compile(loss=LOSS, metrics=["accuracy"])
    np.testing.assert_allclose(
        model.evaluate(x, y, verbose=0),
        model.network.evaluate(x, y, verbose=0),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        model.predict(x, verbose=0),
        model.network.predict(x, verbose=0),
        rtol=1e-5,
    )


def test_a_draw_of_the_validation_set_for_each_update():
    small, _ = trained(5, validation_draw=2)
    large, _ = trained(5)
    assert (small.example_weights != large.example_weights).any()
    again, _ = trained(5, validation_draw=2)
    assert_same(state(small), state(again))
