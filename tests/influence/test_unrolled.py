"""Unrolled differentiation against doing it by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_influence as ki

RATE, CLASSES = 0.2, 3


class Collect(ki.optimizers.RowOptimizer):
    """Subtracts the gradients: what is subtracted is what they were."""

    def update_rows(self, values, gradients, learning_rate):
        return (values - gradients,)


def data(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)).astype("float32")
    return x, rng.integers(CLASSES, size=n).astype("int64")


def batches(count):
    """Steps whose unlabelled examples differ from one to the next."""
    labeled, unlabeled = data(4 * count, 0), data(5 * count, 1)
    for i in range(count):
        rows = slice(5 * i, 5 * i + 5)
        yield {
            "labeled": tuple(part[4 * i : 4 * i + 4] for part in labeled),
            "unlabeled": {
                "views": {"original": unlabeled[0][rows]},
                "index": np.arange(5 * i, 5 * i + 5),
                "label": unlabeled[1][rows],
            },
        }


def by_hand(kernel, bias, steps, kept, validation, count):
    """Differentiates the validation loss through the last steps of SGD."""
    lambdas = tf.ones(count)
    with tf.GradientTape() as tape:
        tape.watch(lambdas)
        for i, step in enumerate(steps):
            weights = lambdas if i >= len(steps) - kept else tf.ones(count)
            with tf.GradientTape() as inner:
                inner.watch([kernel, bias])
                x, y = step["labeled"]
                loss = tf.reduce_mean(losses(y, x @ kernel + bias))
                u = step["unlabeled"]
                z = u["views"]["original"] @ kernel + bias
                rows = tf.gather(weights, u["index"])
                loss += tf.reduce_mean(rows * losses(u["label"], z))
            gradients = inner.gradient(loss, [kernel, bias])
            kernel = kernel - RATE * gradients[0]
            bias = bias - RATE * gradients[1]
        x, y = validation
        value = tf.reduce_mean(losses(y, x @ kernel + bias))
    return tf.convert_to_tensor(tape.gradient(value, lambdas)).numpy()


def losses(labels, logits):
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


@pytest.mark.parametrize(
    ("parameters", "kept"),
    [
        ("last_layer", 1),
        ("all", 3),
        pytest.param("last_layer", 3, marks=pytest.mark.slow),
        pytest.param("all", 1, marks=pytest.mark.slow),
    ],
)
def test_unrolled_is_differentiation_through_stored_steps(parameters, kept):
    count, validation = 5, data(7, 2)
    steps = list(batches(count + 1))
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(CLASSES)])
    model = ki.InfluenceModel(
        network,
        num_unlabeled=5 * len(steps),
        initial_weight=1.0,
        max_weight=None,
        weight_network=None,
    )
    model.compile(
        optimizer=keras.optimizers.SGD(RATE),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        unlabeled_loss=ki.losses.GivenLabels(),
        weight_optimizer=Collect(1.0),
        influence=ki.Unrolled(kept, RATE, parameters),
        validation_set=validation,
        inner_steps=count + 1,
    )
    kernel, bias = (tf.constant(v.numpy()) for v in network.variables)
    dataset = tf.data.Dataset.from_generator(
        lambda: iter(steps),
        output_signature=keras.tree.map_structure(
            lambda t: tf.TensorSpec(t.shape, t.dtype), steps[0]
        ),
    )
    model.fit(dataset, steps_per_epoch=count + 1, verbose=0)
    # The mean over a batch of 5 is in the loss; scores are of l_u itself.
    found = (1.0 - model.example_weights) / 5
    expected = by_hand(
        kernel, bias, steps[:count], kept, validation, 5 * len(steps)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)
    assert np.count_nonzero(found) == 5 * kept


def small(steps):
    """A model that has trained for some steps of one stream."""
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(CLASSES)])
    model = ki.InfluenceModel(
        network, num_unlabeled=20, weight_network=None, initial_weight=1.0
    )
    model.compile(
        optimizer=keras.optimizers.SGD(RATE, momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        unlabeled_loss=ki.losses.GivenLabels(),
        weight_optimizer=ki.optimizers.MAdam(0.01),
        influence=ki.Unrolled(3, RATE, "last_layer"),
        validation_set=data(7, 2),
        inner_steps=2,
    )
    model.fit(stream(), steps_per_epoch=steps, verbose=0)
    return model


def stream(**arguments):
    return ki.data.semi_supervised(
        data(8, 0), data(20, 1), batch_size=4, unlabeled_ratio=2, **arguments
    )


def test_stored_steps_are_saved(tmp_path):
    keras.utils.set_random_seed(0)
    whole = small(6)
    keras.utils.set_random_seed(0)
    path = str(tmp_path / "model.keras")
    small(3).save(path)
    model = keras.models.load_model(path)
    model.validation_set = data(7, 2)
    model.fit(stream(start_step=3), steps_per_epoch=3, verbose=0)
    assert np.ptp(whole.example_weights) > 0
    np.testing.assert_array_equal(model.example_weights, whole.example_weights)


def test_a_step_that_diverges_is_skipped():
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(CLASSES)])
    model = ki.InfluenceModel(
        network, num_unlabeled=20, weight_network=None, initial_weight=1.0
    )
    model.compile(
        optimizer=keras.optimizers.SGD(RATE),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        unlabeled_loss=ki.losses.GivenLabels(),
        influence=ki.Unrolled(3, 100.0, "last_layer"),
        validation_set=data(7, 2),
        inner_steps=4,
    )
    history = model.fit(stream(), steps_per_epoch=8, verbose=0).history
    assert history["updates_skipped"] == [2.0]
    np.testing.assert_array_equal(model.example_weights, 1.0)


random = np.random.default_rng(0)
MATRICES = [np.diag([0.5, 1.0]), np.array([[2.0, 0.5], [0.5, 1.0]])]
G = np.array([1.0, -2.0])


class Examples:
    """An objective that is all that `Unrolled` asks of one."""

    def __init__(self, matrix, gradients):
        self.matrix, self.gradients = matrix, gradients

    def curvature(self, name):
        assert name == "gauss_newton"
        return ki.solvers.DenseOperator(tf.constant(self.matrix))

    def directional_derivatives(self, vector):
        return [tf.linalg.matvec(self.gradients, vector)]

    def gradient(self):
        return tf.constant(G)


def test_adjoints_go_back_through_the_steps():
    unrolled = ki.Unrolled(2, RATE, curvature="gauss_newton")
    inner = [Examples(m, random.normal(size=(3, 2))) for m in MATRICES]
    scores, solution = unrolled.step_scores(inner, inner[0])
    first = RATE * G
    second = first - RATE * MATRICES[0] @ first
    for found, one, adjoint in zip(scores, inner, (first, second), strict=True):
        np.testing.assert_allclose(found[0], -one.gradients @ adjoint)
    np.testing.assert_allclose(solution.vector, second)
    assert solution.valid
    assert (solution.residual, solution.products) == (0, 1)


def test_after_training_it_is_a_neumann_series():
    unrolled = ki.Unrolled(4, RATE, curvature="gauss_newton")
    one = Examples(MATRICES[1], random.normal(size=(3, 2)))
    (found,), solution = unrolled.scores(one, one)
    step = np.eye(2) - RATE * MATRICES[1]
    powers = [np.linalg.matrix_power(step, j) for j in range(4)]
    vector = RATE * sum(powers) @ G
    np.testing.assert_allclose(solution.vector, vector)
    np.testing.assert_allclose(found, -one.gradients @ vector)
    assert solution.products == 3


@pytest.mark.parametrize(
    ("eigenvalue", "bounded"), [(1.99, True), (2.01, False)]
)
def test_steps_diverge_above_two_over_the_learning_rate(eigenvalue, bounded):
    unrolled = ki.Unrolled(2, RATE)
    matrix = tf.constant(np.eye(2) * eigenvalue / RATE)
    operators = [ki.solvers.DenseOperator(matrix)] * 2
    assert bool(unrolled.adjoints(operators, G)[1]) is bounded


def test_why_unrolling_failed():
    unrolled = ki.Unrolled(2, RATE)
    for vector, bounded, reason in (
        (G, True, "OK"),
        (G, False, "DIVERGED"),
        (G * np.nan, True, "NOT_FINITE"),
        (G * np.nan, False, "NOT_FINITE"),
    ):
        solution = unrolled._solution(tf.constant(vector), bounded)
        assert int(solution.reason) == ki.solvers.Reason[reason]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"learning_rate": np.inf}, "learning_rate=inf"),
        ({"learning_rate": None}, "learning_rate=None"),
        ({"curvature": "ekfac"}, "curvature='ekfac'"),
        ({"parameters": "alll"}, "parameters='alll'"),
        ({"outer": "margn"}, "outer='margn'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ki.Unrolled(**arguments)


def test_configuration():
    unrolled = ki.Unrolled(3, 0.2, ["head"], "gauss_newton", "margin")
    copy = ki.Unrolled.from_config(unrolled.get_config())
    assert copy.get_config() == unrolled.get_config()
    assert copy.outer == "margin"


def test_layers_survive_serialisation():
    network = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2)]
    )
    unrolled = ki.Unrolled(parameters=[network.layers[1]])
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(unrolled)
    )
    assert copy.parameters == [network.layers[1].name]
    for each in (unrolled, copy):
        scope = each.scope(network, None)
        assert scope.variables == network.layers[1].trainable_variables


def test_a_frozen_last_layer():
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    network.layers[0].trainable = False
    x, y = data(6, 0)
    with pytest.raises(ValueError, match="none is trainable"):
        ki.influence_scores(
            *(network, (x, y), (x, y)),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            influence=ki.Unrolled(2, parameters="last_layer"),
        )
