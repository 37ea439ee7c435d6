import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_influence as ki

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def test_the_network_is_traced_once_a_form_of_data():
    calls = []

    class Counted(keras.layers.Layer):
        def call(self, x):
            calls.append(x.dtype)
            return x

    layers = [keras.Input((4,)), Counted(), keras.layers.Dense(3)]
    model = keras.Sequential(layers)
    random = np.random.default_rng(0)
    x, judged = (np.round(4 * random.normal(size=(n, 4))) for n in (11, 5))
    y, expected_y = random.integers(0, 3, 11), random.integers(0, 3, 5)

    def scores(dtype):
        calls.clear()
        train = x.astype("float32"), y
        validation = judged.astype(dtype), expected_y
        return ki.influence_scores(model, train, validation, loss=LOSS)

    expected = scores("float32")
    assert len(calls) == 1
    found = scores("int32")
    assert len(calls) == 2
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def draw(n, features=6, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, features)).astype("float32")
    return x, random.integers(0, 3, n)


def dense(*layers, features=6):
    return keras.Sequential(
        [keras.Input((features,)), *layers, keras.layers.Dense(3)]
    )


def same_layers(model, features=6):
    """The same network, of which no trace was kept."""
    return keras.Sequential([keras.Input((features,)), *model.layers])


def test_what_a_layer_was_adapted_to_anew():
    (x, y), judged = draw(40), draw(9, seed=1)
    norm = keras.layers.Normalization()
    norm.adapt(x)
    model = dense(norm)
    before = ki.influence_scores(model, (x, y), judged, loss=LOSS)
    norm.adapt(5 * x + 7)
    after, expected = (
        ki.influence_scores(network, (x, y), judged, loss=LOSS)
        for network in (model, same_layers(model))
    )
    assert np.any(before != after)
    np.testing.assert_array_equal(after, expected)


SCALE = {"scale": 1.0}


def scaled(x):
    return SCALE["scale"] * x


def test_an_activation_of_ones_own(monkeypatch):
    train, judged = draw(40), draw(9, seed=1)
    model = dense(keras.layers.Dense(4, activation=scaled))
    ki.influence_scores(model, train, judged, loss=LOSS)
    monkeypatch.setitem(SCALE, "scale", 3.0)
    after, expected = (
        ki.influence_scores(network, train, judged, loss=LOSS)
        for network in (model, same_layers(model))
    )
    np.testing.assert_array_equal(after, expected)


@pytest.mark.parametrize("name", ["train", "validation"])
def test_data_sets_that_reshuffle_themselves(name):
    data = dict.fromkeys(("train", "validation"), draw(40))
    shuffled = tf.data.Dataset.from_tensor_slices(draw(40)).shuffle(40)
    with pytest.raises(ValueError, match=f"`{name}` must yield the same"):
        ki.top_k(dense(), **{**data, name: shuffled}, k=2, loss=LOSS)


def test_an_order_that_changes_no_mean():
    """Of validation examples, in `influence_scores`."""
    train, judged = draw(40), draw(20, seed=1)
    shuffled = tf.data.Dataset.from_tensor_slices(judged).shuffle(20)
    model = dense()
    np.testing.assert_allclose(
        ki.influence_scores(model, train, shuffled, loss=LOSS),
        ki.influence_scores(model, train, judged, loss=LOSS),
        rtol=1e-3,
        atol=1e-6,
    )


def test_a_solve_that_has_not_converged():
    x, y = draw(200, 30)
    train = x * np.logspace(-1.5, 1.5, 30, dtype="float32"), y
    model = dense(features=30)
    few, enough = (
        ki.Influence(solver=ki.solvers.ConjugateGradient(n, 1e-2))
        for n in (5, 3000)
    )
    with pytest.warns(UserWarning, match="has not converged"):
        ki.influence_scores(model, train, train, loss=LOSS, influence=few)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ki.influence_scores(model, train, train, loss=LOSS, influence=enough)


def test_weights_of_the_compiled_loss():
    model = dense()
    model.compile("sgd", LOSS, loss_weights=[10.0])
    with pytest.raises(ValueError, match="not by `loss_weights`"):
        ki.influence_scores(model, draw(9), draw(9))
    ki.influence_scores(model, draw(9), draw(9), loss=LOSS)


def outer_products(network, damping):
    solver = ki.solvers.Exact(damping)
    influence = ki.Influence(curvature="outer_product", solver=solver)
    arguments = {"loss": LOSS, "influence": influence}
    train, judged = draw(60, 40), draw(20, 40, seed=1)
    return ki.influence_scores(network, train, judged, **arguments)


@pytest.mark.parametrize(("damping", "error"), [(1e-4, 2e-4), (1e-5, 2e-3)])
def test_outer_products_at_a_small_damping(damping, error):
    model = dense(features=40)
    double = keras.Sequential(
        [
            keras.Input((40,), dtype="float64"),
            keras.layers.Dense(3, dtype="float64"),
        ]
    )
    double.set_weights(model.get_weights())
    expected = outer_products(double, damping)
    wrong = outer_products(model, damping) - expected
    assert np.linalg.norm(wrong) < error * np.linalg.norm(expected)


@pytest.mark.parametrize("damping", [1e-7, 1e-8])
def test_outer_products_at_a_damping_below_rounding(damping):
    with pytest.raises(ValueError, match="raise the damping"):
        outer_products(dense(features=40), damping)


def test_hessians_of_embeddings():
    """Their gradients are slices."""
    random = np.random.default_rng(0)
    x, y = random.integers(0, 7, (24, 5)), random.integers(0, 3, 24)
    layers = [
        keras.layers.Embedding(7, 3, dtype="float64"),
        keras.layers.GlobalAveragePooling1D(dtype="float64"),
        keras.layers.Dense(3, dtype="float64"),
    ]
    model = keras.Sequential([keras.Input((5,), dtype="int32"), *layers])
    one_hot = keras.Sequential(
        [
            keras.Input((5, 7), dtype="float64"),
            keras.layers.Dense(3, use_bias=False, dtype="float64"),
            *layers[1:],
        ]
    )
    one_hot.set_weights(model.get_weights())
    for influence in (
        ki.Influence("all", solver=ki.solvers.Exact(1.0)),
        ki.Unrolled(3),
    ):
        found, expected = (
            ki.influence_scores(
                n, (z, y), (z, y), loss=LOSS, influence=influence
            )
            for n, z in ((model, x), (one_hot, np.eye(7)[x]))
        )
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


IGNORING = keras.losses.SparseCategoricalCrossentropy(
    from_logits=True, ignore_class=-1
)


@pytest.mark.parametrize("parameters", ["last_layer", "all"])
@pytest.mark.parametrize("batch_size", [7, 256])
def test_ignored_examples_count_as_if_left_out(parameters, batch_size):
    """Keras' mean is over the others; a regulariser shows the difference."""
    (x, y), (judged, expected_y) = draw(40), draw(12, seed=1)
    y[::3], expected_y[1::2] = -1, -1
    l2 = keras.regularizers.L2(0.5)
    layers = [keras.Input((6,)), keras.layers.Dense(3, kernel_regularizer=l2)]
    model = keras.Sequential(layers)
    arguments = {
        "loss": IGNORING,
        "influence": ki.Influence(parameters=parameters),
        "batch_size": batch_size,
    }
    known, kept = y >= 0, expected_y >= 0
    scores, expected = (
        ki.influence_scores(model, train, validation, **arguments)
        for train, validation in (
            ((x, y), (judged, expected_y)),
            ((x[known], y[known]), (judged[kept], expected_y[kept])),
        )
    )
    np.testing.assert_allclose(scores[known], expected, rtol=1e-4, atol=1e-7)
    assert not scores[~known].any()
    own, expected_own = (
        ki.self_influence(model, train, **arguments)
        for train in ((x, y), (x[known], y[known]))
    )
    np.testing.assert_allclose(own[known], expected_own, rtol=1e-4, atol=1e-7)


def test_ignored_positions_do_not_count():
    """Keras' mean is over positions: beside damping this shows."""
    random = np.random.default_rng(0)
    x = random.normal(size=(9, 4, 3)).astype("float32")
    y = random.integers(0, 3, (9, 4))
    y[:, 2:][random.random((9, 2)) < 0.7] = -1
    model = keras.Sequential([keras.Input((4, 3)), keras.layers.Dense(3)])
    solver = ki.solvers.Exact(0.3)
    scores, single = (
        ki.influence_scores(
            *(model, train, train),
            loss=IGNORING,
            influence=ki.Influence("all", solver=solver),
        )
        for train in ((x, y),)
        for _ in range(2)
    )
    np.testing.assert_array_equal(scores, single)
    # Every position as an example of its own, and their scores added up.
    flat = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    flat.set_weights(model.get_weights())
    known = y >= 0
    each = ki.influence_scores(
        *(flat, (x[known], y[known]), (x[known], y[known])),
        loss=IGNORING,
        influence=ki.Influence(solver=solver),
    )
    expected = np.zeros(9)
    np.add.at(expected, np.nonzero(known)[0], each)
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-6)


def test_a_masked_output_is_refused():
    model = keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            keras.layers.Embedding(6, 2, mask_zero=True),
            keras.layers.Dense(3),
        ]
    )
    x, y = np.ones((4, 5), "int32"), np.zeros((4, 5), int)
    with pytest.raises(ValueError, match="output carries a mask"):
        ki.influence_scores(
            *(model, (x, y), (x, y)), loss=LOSS, influence=ki.Influence("all")
        )
    pooled = keras.Sequential(
        [
            *model.layers[:1],
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(3),
        ]
    )
    scores = ki.influence_scores(pooled, (x, y[:, 0]), (x, y[:, 0]), loss=LOSS)
    assert scores.shape == (4,)


@pytest.mark.parametrize("parameters", ["last_layer", "all"])
def test_a_layer_that_goes_on_from_the_last_batch_is_refused(parameters):
    model = keras.Sequential(
        [
            keras.Input(batch_shape=(4, 5, 2)),
            keras.layers.LSTM(3, stateful=True),
            keras.layers.Dense(3),
        ]
    )
    x, y = np.ones((4, 5, 2), "float32"), np.arange(4) % 3
    with pytest.raises(ValueError, match=r"`stateful=True`.*'lstm"):
        ki.influence_scores(
            *(model, (x, y), (x, y)),
            loss=LOSS,
            influence=ki.Influence(parameters),
        )


def test_what_an_influence_must_be():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    x, y = np.ones((4, 3), "float32"), np.arange(4) % 3
    with pytest.raises(ValueError, match=r"`influence` must.*'luketina'"):
        ki.influence_scores(
            model, (x, y), (x, y), loss=LOSS, influence="luketina"
        )


@pytest.mark.parametrize("parameters", ["last_layer", "all"])
@pytest.mark.parametrize(
    ("name", "wrong", "loss", "outer", "message"),
    [
        ("train", 3, LOSS, "loss", "from 0 to 2"),
        ("validation", 3, LOSS, "loss", "from 0 to 2"),
        ("train", [1, 1, 0], "multi", "loss", "probabilities of classes"),
        ("validation", [0.5, 0.7, -0.2], "multi", "loss", "probabilities"),
        ("validation", [1, 1, 0], "binary", "margin", "probabilities"),
    ],
)
def test_labels_that_the_loss_does_not_take(
    parameters, name, wrong, loss, outer, message
):
    x = draw(8)[0]
    loss = {
        "multi": keras.losses.CategoricalCrossentropy(from_logits=True),
        "binary": keras.losses.BinaryCrossentropy(from_logits=True),
    }.get(loss, LOSS)
    y = np.eye(3)[np.arange(8) % 3] if isinstance(wrong, list) else x[:, 0] * 0
    data = {"train": (x, y), "validation": (x, y)}
    bad = y.copy()
    bad[5] = wrong
    data[name] = x, bad
    with pytest.raises(ValueError, match=message) as error:
        ki.influence_scores(
            dense(),
            **data,
            loss=loss,
            influence=ki.Influence(parameters=parameters, outer=outer),
        )
    assert f"`{name}`" in str(error.value)


def test_the_margin_has_no_class_to_ignore():
    with pytest.raises(ValueError, match="no class to ignore"):
        ki.influence_scores(
            dense(),
            draw(8),
            draw(8),
            loss=IGNORING,
            influence=ki.Influence(outer="margin"),
        )


class Frames(keras.layers.Layer):
    """A recording layer called on frames of examples, not on examples."""

    def __init__(self):
        super().__init__()
        self.dense = ki.layers.Dense(2)

    def call(self, x):
        frames = self.dense(keras.ops.reshape(x, (-1, 3)))
        return keras.ops.reshape(frames, (-1, 4))


def test_a_network_that_merges_batch_and_time():
    model = dense(Frames())
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="one row for each example"
    ):
        ki.influence_scores(
            model,
            draw(8),
            draw(8),
            loss=LOSS,
            influence=ki.Influence(parameters=[model.layers[0].dense]),
        )
