import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf

import keras_influence as ki
from keras_influence.weighting import Examples
from tests.cases.models import (
    CLASSES,
    FEATURES,
    UNLABELED,
    RowSGD,
    assert_same,
    compiled,
    data,
    draw,
    fit,
    linear_network,
    quiet_network,
    state,
)


@keras.saving.register_keras_serializable("test_weight_network")
def parity(examples):
    """Something of the user's own about every example."""
    return examples.index % 2


def examples(n=5, seed=0):
    random = np.random.default_rng(seed)
    prediction = tf.constant(random.normal(size=(n, CLASSES)), "float32")
    return Examples(
        index=tf.range(n),
        losses=tf.constant(random.uniform(size=n), "float32"),
        logits={"original": prediction},
        prediction=prediction,
        features=tf.constant(random.normal(size=(n, FEATURES)), "float32"),
        evidence=tf.constant(random.normal(size=n), "float32"),
        mean_loss=tf.constant(random.uniform(size=n), "float32"),
    )


def test_signals():
    seen = examples()
    p = scipy.special.softmax(seen.prediction.numpy(), axis=1)
    expected = np.column_stack(
        [
            seen.losses,
            p.max(1),
            scipy.special.entr(p).sum(1),
            seen.features,
            np.arcsinh(seen.evidence),
            seen.mean_loss,
            np.arange(5) % 2,
        ]
    )
    names = ["loss", "confidence", "entropy", "features", "evidence"]
    names += ["mean_loss", parity]
    network = ki.WeightNetwork(names)
    np.testing.assert_allclose(network.observe(seen), expected, rtol=1e-5)
    assert network.width(FEATURES) == expected.shape[1]


def slope():
    """A weight network of one number, for the loss."""
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    return ki.WeightNetwork("loss", layer)


def test_the_gradient_is_the_chain_rule():
    """From the single weights' derivatives of the same batch."""

    def made(**arguments):
        keras.utils.set_random_seed(0)
        return compiled(
            quiet_network(),
            initial_weight=0.5,
            weight_optimizer=RowSGD(0.1),
            influence=ki.Influence(solver=ki.solvers.Exact(0.1)),
            **arguments,
        )

    free, tied = made(), made(weight_network=slope())
    batch = next(iter(data(seed=3)))["unlabeled"]
    logits = free.network(batch["views"]["original"]).numpy()
    rows = np.arange(len(logits))
    log = scipy.special.log_softmax(logits, axis=1)
    losses = -log[rows, batch["label"].numpy()]
    fit(free, 1, data(seed=3))
    fit(tied, 1, data(seed=3))
    index = batch["index"].numpy()
    assert len(set(index)) == len(index)
    hypergradient = (0.5 - free.example_weights[index]) / 0.1
    # The derivative of the weight by its output, where it is 2 · 1/4.
    sigmoid = 0.35 / 1.1
    slopes = 2 * 1.1 * sigmoid * (1 - sigmoid)
    expected = -0.1 * np.sum(hypergradient * slopes * losses)
    (kernel,) = tied.weighting.weight_network.network.get_weights()
    np.testing.assert_allclose(kernel.item(), expected, rtol=1e-4)


@pytest.mark.parametrize("residual", [False, True])
def test_weights_start_alike_and_stay_in_bounds(residual):
    model = compiled(
        weight_network=ki.WeightNetwork(residual=residual),
        initial_weight=0.5,
        max_weight=1.5,
    )
    np.testing.assert_allclose(model.example_weights, 0.5)
    logs = fit(model, 1)
    assert logs["weight_mean"] == pytest.approx(0.5)
    logs = fit(model, 30)
    assert logs["weight_std"] > 1e-3
    assert model.example_weights.min() >= 0
    assert model.example_weights.max() < 1.5


def half_wrong():
    """Unlabelled data of which every other label is wrong."""
    x, y = draw(UNLABELED, 1, noise=0.2)
    y[::2] = (y[::2] + 1) % CLASSES
    return data(unlabeled=(x, y))


def judged(weight_network):
    """A linear model judged by clean labels."""
    return compiled(
        linear_network(),
        weight_network=weight_network,
        validation_set=draw(10, 2, noise=0.2),
    )


@pytest.mark.parametrize("signal", ["loss", "evidence", "mean_loss"])
def test_wrong_labels_lose_weight(signal):
    model = judged(ki.WeightNetwork(signal))
    fit(model, 60, half_wrong())
    weights = model.example_weights
    assert weights[::2].max() < weights[1::2].min()


def test_doubted_labels_are_the_wrong_ones(tmp_path):
    """In a model that was saved as well."""
    model = judged(ki.WeightNetwork())
    fit(model, 60, half_wrong())
    doubted = model.label_quality < 0.5
    np.testing.assert_array_equal(doubted, np.arange(UNLABELED) % 2 == 0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.label_quality, model.label_quality)


def test_a_residual_tells_examples_apart():
    """Where the network is frozen."""
    frozen = keras.layers.Dense(1, trainable=False)
    model = judged(ki.WeightNetwork(_one, frozen, residual=True))
    fit(model, 10, half_wrong())
    wrong, right = model.example_weights[::2], model.example_weights[1::2]
    assert wrong.mean() < right.mean() - 0.1


def test_evidence_is_the_t_statistic_of_the_derivatives():
    """Those by which single weights move, with a weight network that rests."""
    keras.utils.set_random_seed(0)
    start = {"initial_weight": 0.5, "influence": ki.Influence()}
    single = compiled(quiet_network(), weight_optimizer=RowSGD(0.1), **start)
    keras.utils.set_random_seed(0)
    frozen = keras.layers.Dense(1, kernel_initializer="zeros", trainable=False)
    network = ki.WeightNetwork("evidence", frozen, residual=True)
    still = compiled(
        quiet_network(),
        weight_network=network,
        weight_optimizer=RowSGD(1e-12),
        **start,
    )
    steps = 8
    # Every example twice, never two times in a batch.
    train = data(batch_size=5, unlabeled_ratio=1)
    total, squares = np.zeros(UNLABELED), np.zeros(UNLABELED)
    batches = [b["unlabeled"]["index"].numpy() for b in train.take(steps)]
    for i, index in enumerate(batches):
        single.weighting.assign(np.arange(UNLABELED), np.full(UNLABELED, 0.5))
        fit(single, 1, train.skip(i))
        g = (0.5 - single.example_weights[index]) / 0.1
        np.add.at(total, index, g)
        np.add.at(squares, index, g**2)
    fit(still, steps, train)
    expected = total / np.sqrt(np.where(squares > 0, squares, 1))
    found = still.weighting.statistics(np.arange(UNLABELED))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_masked_examples_and_skipped_updates_are_no_evidence():
    class Skips(ki.solvers.Exact):
        def solve(self, operator, vector):
            solution = super().solve(operator, vector)
            failed = tf.constant(ki.solvers.Reason.FAILED.value)
            return solution._replace(reason=failed)

    for arguments in (
        {"unlabeled_loss": ki.losses.PseudoLabel(confidence=1.0)},
        {"influence": ki.Influence(solver=Skips(0.1))},
    ):
        model = compiled(
            weight_network=ki.WeightNetwork("evidence"), **arguments
        )
        fit(model, 3)
        found = model.weighting.statistics(np.arange(UNLABELED))
        np.testing.assert_array_equal(found, 0)


def _one(examples):
    return tf.ones_like(examples.losses)


def test_the_networks_optimizer_leaves_it_alone():
    model = compiled(weight_network=ki.WeightNetwork(), inner_steps=None)
    fit(model, 1)
    network = model.weighting.weight_network.network
    before = network.get_weights()
    fit(model, 3)
    for a, b in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    count = len(model.network.trainable_variables)
    assert len(model.trainable_variables) == count


def test_without_a_row_for_every_example():
    network = ki.WeightNetwork(["loss", "confidence", "entropy"])
    model = compiled(num_unlabeled=None, weight_network=network)
    unlabeled = draw(300, 1)
    logs = fit(model, 5, data(unlabeled=unlabeled))
    assert logs["updates_skipped"] == 0
    with pytest.raises(ValueError, match="keeps no weights of single examples"):
        model.example_weights  # noqa: B018
    sizes = [np.prod(v.shape) for v in model.weight_optimizer.variables]
    assert max(sizes) < 300


# Without a matrix, which would stay out of XLA.
XLA = {
    "jit_compile": True,
    "influence": ki.Influence(solver=ki.solvers.Exact(0.1, max_dense=1)),
}
SETTINGS = {
    "eager": {"run_eagerly": True},
    "graph": {},
    "xla": XLA,
    "bfloat16": {},
    "features": {},
    "evidence": {},
    "evidence in xla": XLA,
    "budget": {},
}


SLOW = {"xla", "features", "evidence"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW))
        for name in SETTINGS
    ],
)
def test_learns_in_every_setting(name):
    if name == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        own = [s for s in ("features", "evidence") if s in name]
        model = compiled(
            quiet_network(),
            weight_network=ki.WeightNetwork(["loss", *own]),
            mean_weight=0.5 if name == "budget" else None,
            **SETTINGS[name],
        )
        logs = fit(model, 6)
    finally:
        keras.config.set_dtype_policy("float32")
    assert logs["updates_skipped"] == 0
    assert np.ptp(model.example_weights) > 1e-3


def test_saved_and_loaded(tmp_path):
    signals = ["loss", "features", "evidence", parity]
    network = ki.WeightNetwork(signals, residual=True)
    model = compiled(weight_network=network, mean_weight=0.8)
    fit(model, 3)
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert_same(state(model), state(copy))
    assert copy.weighting.mean_weight == 0.8
    assert copy.weighting.weighting.weight_network.residual
    copy.validation_set = draw(10, 2)
    fit(model, 2)
    fit(copy, 2)
    assert_same(state(model), state(copy))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_weight": None}, "`max_weight` must be a finite number"),
        ({"initial_weight": 0.0}, "`initial_weight` one between 0"),
        ({"initial_weight": np.ones(UNLABELED)}, "`initial_weight` one"),
        ({"num_unlabeled": None}, "'evidence' and 'mean_loss' has numbers"),
        ({"mean_weight": 0.0}, "`mean_weight` must be a positive number"),
        (
            {"influence": ki.Influence.preset("shaban")},
            "`Unrolled` moves the weights of past batches",
        ),
        ({"weight_optimizer": ki.optimizers.Evidence()}, "two bounds"),
    ],
)
def test_bad_arguments(arguments, message):
    network = ki.WeightNetwork(residual=True)
    with pytest.raises(ValueError, match=message):
        fit(compiled(**{"weight_network": network, **arguments}), 1)


def test_evidence_on_a_network_is_an_error_before_training():
    with pytest.raises(ValueError, match="without a `weight_network`"):
        compiled(
            weight_network=ki.WeightNetwork(),
            weight_optimizer=ki.optimizers.Evidence(),
        )


@pytest.mark.parametrize(
    "network",
    [
        ki.WeightNetwork("loss", residual=True),
        ki.WeightNetwork("evidence"),
        ki.WeightNetwork("mean_loss"),
    ],
    ids=["residual", "evidence", "mean_loss"],
)
def test_either_needs_the_number_of_examples(network):
    with pytest.raises(ValueError, match="has numbers for every example"):
        compiled(num_unlabeled=None, weight_network=network)


@pytest.mark.parametrize("signals", [[], "weight", ["loss", "norm"]])
def test_unknown_signals(signals):
    with pytest.raises(ValueError, match="`signals` must hold names of"):
        ki.WeightNetwork(signals)


def test_no_table_and_no_network():
    with pytest.raises(ValueError, match="`num_unlabeled` must be an integer"):
        compiled(num_unlabeled=None)
