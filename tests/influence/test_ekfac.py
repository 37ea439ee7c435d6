"""EK-FAC against numpy, exact cases, and exact Gauss-Newton scores."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

import keras_influence as ki
from keras_influence import layers, solvers
from keras_influence.influence.ekfac import EKFAC
from keras_influence.influence.factored_gradients import FactoredGradients
from keras_influence.influence.scope import LastLayerScope
from keras_influence.influence.streamed import StreamedObjective
from tests.cases.ekfac import (
    LABELS,
    SIZE,
    WEIGHTS,
    cross_entropy,
    explicit_ekfac,
    mlp,
    objective,
    random,
    sequential,
    squared,
    with_ones,
)
from tests.cases.influence import assert_close, few_examples

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
X = random.normal(size=(SIZE, 4))


def head_delta(inner):
    """The random `δ` at the logits, of the one draw that EK-FAC makes."""
    return FactoredGradients(inner, 0).blocks[-1].delta[0].numpy()[:, :, 0]


def backpropagated(network, x, delta):
    """`a` and `δ` of both layers of an `mlp`, by hand."""
    kernel, bias, last, _ = (v.numpy() for v in network.trainable_variables)
    hidden = np.tanh(x @ kernel + bias)
    return [
        (with_ones(x), delta @ last.T * (1 - hidden**2)),
        (with_ones(hidden), delta),
    ]


def test_dense_layers():
    network = mlp()
    inner = objective(network, X, cross_entropy)
    pairs = backpropagated(network, X[:, None], head_delta(inner))
    assert_close(EKFAC(inner).as_matrix(), explicit_ekfac(*pairs))


def test_a_convolution_sees_patches():
    network = sequential(
        (4, 3, 2),
        layers.Conv2D(2, (3, 2), activation="tanh", dtype="float64"),
        keras.layers.Flatten(dtype="float64"),
        layers.Dense(3, dtype="float64"),
    )
    x = random.normal(size=(SIZE, 4, 3, 2))
    inner = objective(network, x, cross_entropy)
    delta = head_delta(inner)
    kernel, bias, last, _ = (v.numpy() for v in network.trainable_variables)
    places = [(i, j) for i in range(2) for j in range(2)]
    patches = np.stack([x[:, i : i + 3, j : j + 2] for i, j in places], axis=1)
    patches = patches.reshape(SIZE, 4, 12)
    hidden = np.tanh(patches @ kernel.reshape(12, 2) + bias)
    back = (delta @ last.T).reshape(hidden.shape) * (1 - hidden**2)
    flat = hidden.reshape(SIZE, 1, 8)
    expected = explicit_ekfac(
        (with_ones(patches), back), (with_ones(flat), delta)
    )
    assert_close(EKFAC(inner).as_matrix(), expected)


def test_views_of_an_example_are_positions():
    network = mlp(1)
    x = random.normal(size=(2 * SIZE, 4))
    inner = objective(
        network,
        x,
        # Its Hessian at the outputs has rank one: δ is ±(1, -2).
        lambda z: 0.5 * (z[:, 0, 0] - 2 * z[:, 1, 0]) ** 2,
        stack=lambda rows: [tf.stack([rows[:SIZE], rows[SIZE:]], axis=1)],
    )
    delta = np.broadcast_to([[[1.0], [-2.0]]], (SIZE, 2, 1))
    both = np.stack([x[:SIZE], x[SIZE:]], axis=1)
    expected = explicit_ekfac(*backpropagated(network, both, delta))
    assert_close(EKFAC(inner).as_matrix(), expected)


def test_calls_of_a_layer_are_positions():
    shared = layers.Dense(1, dtype="float64")
    inputs = keras.Input((2, 4), dtype="float64")
    total = keras.layers.Add(dtype="float64")
    calls = total([shared(inputs[:, 0]), shared(inputs[:, 1])])
    x = random.normal(size=(SIZE, 2, 4))
    inner = objective(keras.Model(inputs, calls), x, squared)
    expected = explicit_ekfac((with_ones(x), np.ones((SIZE, 2, 1))))
    assert_close(EKFAC(inner).as_matrix(), expected)


def test_other_layers_have_their_diagonal():
    network = sequential(
        (4,),
        layers.LayerNormalization(dtype="float64"),
        layers.Dense(1, dtype="float64"),
    )
    inner = objective(network, X, squared)
    found = EKFAC(inner).as_matrix().numpy()
    kernel = network.trainable_variables[2].numpy()[:, 0]
    centred = X - X.mean(-1, keepdims=True)
    scaled = centred / np.sqrt(X.var(-1, keepdims=True) + 1e-3)
    gradients = np.concatenate([scaled * kernel, np.tile(kernel, (9, 1))], 1)
    expected = np.diag(WEIGHTS @ gradients**2)
    assert_close(found[:8, :8], expected, 1e-7)
    np.testing.assert_array_equal(found[:8, 8:], 0)


@few_examples
@given(st.integers(0, 2**16), st.sampled_from([0.25, 1.0]), st.booleans())
def test_exact_for_linear_regression(seed, decay, last_layer):
    """With one output the block is the Hessian, weight decay included."""
    l2 = keras.regularizers.L2(decay / 2)
    layer = layers.Dense(
        1, kernel_regularizer=l2, bias_regularizer=l2, dtype="float64"
    )
    network = sequential((4,), layer)
    x = np.random.default_rng(seed).normal(size=(SIZE, 4))
    inner = objective(network, x, squared)
    if last_layer:
        head = ki.influence.head.Head(layer)
        inner = LastLayerScope(head, tf.constant).objective(x, inner.terms)
    operator = EKFAC(inner)
    a = with_ones(x)
    expected = a.T @ (WEIGHTS[:, None] * a) + decay * np.eye(5)
    assert_close(operator.as_matrix(), expected)
    assert_close(operator.trace(), np.trace(expected))
    vector = random.normal(size=5)
    solution = operator.inverse(0.1)(tf.constant(vector))
    damped = expected + 0.1 * np.eye(5)
    assert_close(solution, np.linalg.solve(damped, vector))


def test_a_penalty_enters_by_its_diagonal():
    l2 = keras.regularizers.L2(0.25)
    network = mlp(kernel_regularizer=l2)  # not of the biases
    inner = objective(network, X, cross_entropy)
    plain = objective(network, X, cross_entropy, penalty_share=0.0)
    found, without = EKFAC(inner), EKFAC(plain)
    penalty = np.diag([0.5] * 20 + [0.0] * 5 + [0.5] * 15 + [0.0] * 3)
    start = 0
    for (q_a, q_s), ours, bare in zip(
        found.bases, found.eigenvalues, without.eigenvalues, strict=True
    ):
        basis = np.kron(q_a[0], q_s[0])
        block = slice(start, start := start + len(basis))
        expected = np.diag(basis.T @ penalty[block, block] @ basis)
        assert_close(np.ravel(ours - bare), expected)


@pytest.mark.parametrize("max_dense", [1, 2500])
def test_exact_inverts_it_at_any_size(max_dense, monkeypatch):
    operator = EKFAC(objective(mlp(), X, cross_entropy))
    matrix = operator.as_matrix().numpy()
    matrix += 0.1 * np.trace(matrix) / len(matrix) * np.eye(len(matrix))
    vector = random.normal(size=operator.size)
    # The matrix is never written out.
    monkeypatch.setattr(EKFAC, "as_matrix", None)
    solver = solvers.Exact(0.1, "mean_eigenvalue", max_dense)
    solution = solver.solve(operator, tf.constant(vector))
    assert_close(solution.vector, np.linalg.solve(matrix, vector))
    assert solution.valid
    assert solution.residual < 1e-12


def test_what_is_not_positive_definite_is_not_valid():
    network = mlp(kernel_regularizer="l2")
    inner = objective(network, X, cross_entropy, penalty_share=-1.0)
    operator = EKFAC(inner)
    vector = tf.ones((operator.size,), "float64")
    assert not solvers.Exact(0.001).solve(operator, vector).valid
    assert solvers.Exact(0.1).solve(operator, vector).valid


def test_what_is_not_finite_is_not_valid():
    x = X.copy()
    x[0, 0] = np.nan
    operator = EKFAC(objective(mlp(), x, cross_entropy))
    vector = tf.ones((operator.size,), "float64")
    assert not solvers.Exact(0.1).solve(operator, vector).valid


@pytest.mark.parametrize("parameters", ["all", "last_layer"])
def test_streamed_in_two_passes(parameters, monkeypatch):
    """The draws are the same, however the data are split."""
    l2 = keras.regularizers.L2(0.1)
    network = mlp(3, kernel_regularizer=l2)
    data = X, LABELS.argmax(-1)
    influence = ki.Influence.preset("ekfac", parameters=parameters)
    # Four rows of five features and three logits at a time.
    monkeypatch.setattr(ki.influence.batches, "CHUNK", 4 * 8)

    def scores(batch_size):
        return ki.influence_scores(
            network,
            data,
            data,
            loss=LOSS,
            influence=influence,
            batch_size=batch_size,
        )

    whole = scores(SIZE)
    assert_close(scores(4), whole)
    assert whole.std() > 0


def test_every_batch_has_a_draw_of_its_own():
    inner = objective(mlp(), X, cross_entropy)
    one, two = (
        EKFAC(inner),
        EKFAC(StreamedObjective(lambda _: inner, 2 * [(X, X)], 2)),
    )
    assert_close(two.bases[0][0], one.bases[0][0])
    difference = two.eigenvalues[1] / 2 - one.eigenvalues[1]
    assert np.abs(difference).max() > 0.01 * np.abs(one.eigenvalues[1]).max()


def test_scores_are_close_to_those_of_gauss_newton():
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [keras.Input((64,)), layers.Dense(8, "tanh"), layers.Dense(10)]
    )
    network.compile(keras.optimizers.Adam(0.01), LOSS)
    network.fit(x[:400], y[:400], epochs=5, verbose=0)

    def scores(kind):
        solver = kind and solvers.Exact(0.03, relative_to="largest_eigenvalue")
        return ki.influence_scores(
            network,
            (x[:400], y[:400]),
            (x[400:800], y[400:800]),
            influence=ki.Influence("all", kind, solver),
        )

    exact = scores("gauss_newton")
    assert np.corrcoef(scores("ekfac"), exact)[0, 1] > 0.9
    # Or any approximation would do here.
    assert np.corrcoef(scores(None), exact)[0, 1] < 0.8


@pytest.mark.parametrize(
    "modes",
    [
        pytest.param({"run_eagerly": True}, marks=pytest.mark.slow),
        {"jit_compile": True},
        pytest.param({"policy": "mixed_float16"}, marks=pytest.mark.slow),
        pytest.param({"policy": "mixed_bfloat16"}, marks=pytest.mark.slow),
    ],
)
def test_inside_fit(modes):
    modes = dict(modes)
    keras.utils.set_random_seed(0)
    policy = modes.pop("policy", "float32")
    network = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(4, 3, dtype=policy),
            layers.BatchNormalization(dtype=policy),
            keras.layers.ReLU(dtype=policy),
            keras.layers.GlobalAveragePooling2D(dtype=policy),
            layers.Dense(3, kernel_regularizer="l2", dtype=policy),
        ]
    )
    x = random.normal(size=(60, 6, 6, 2)).astype("float32")
    y = random.integers(0, 3, 60)
    model = ki.InfluenceModel(network, num_unlabeled=30)
    model.compile(
        optimizer="sgd",
        loss=LOSS,
        unlabeled_loss=ki.losses.FixMatch(confidence=0.3),
        weight_optimizer=ki.optimizers.MAdam(0.1),
        influence=ki.Influence.preset("ekfac"),
        validation_set=(x[:15], y[:15]),
        inner_steps=1,
        **modes,
    )
    train = ki.data.semi_supervised(
        (x[15:30], y[15:30]),
        x[30:],
        views={"weak": lambda x: x, "strong": lambda x: x + 0.1},
        batch_size=4,
        unlabeled_ratio=2,
    )
    history = model.fit(train, steps_per_epoch=2, verbose=0).history
    assert history["updates_skipped"] == [0.0]
    assert np.isfinite(model.example_weights).all()
    assert np.any(model.example_weights != 1.0)


def test_layers_in_scope_must_record():
    network = keras.Sequential(
        [keras.Input((4,)), layers.Dense(2), keras.layers.Dense(3, name="top")]
    )
    data = X.astype("float32"), LABELS.argmax(1)
    for parameters in ("all", ["top"]):
        missing = r"recording_clone\(model\)`[^\[]*\['[\w/]*top/kernel'"
        with pytest.raises(ValueError, match=missing):
            ki.influence_scores(
                network,
                data,
                data,
                loss=LOSS,
                influence=ki.Influence.preset("ekfac", parameters=parameters),
            )


def test_logits_of_several_positions_are_refused():
    model = keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            ki.layers.Embedding(5, 3),
            ki.layers.Dense(2),
        ]
    )
    x, y = np.ones((6, 4), int), np.ones((6, 4), int)
    with pytest.raises(ValueError, match=r"one row of logits.*4, 2\)"):
        ki.influence_scores(
            *(model, (x, y), (x, y)),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            influence=ki.Influence("all", "ekfac"),
        )
