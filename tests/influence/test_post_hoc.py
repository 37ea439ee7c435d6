import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_influence as ki
from keras_influence.influence import batches
from tests.cases.influence import (
    assert_close,
)
from tests.cases.post_hoc import (
    LOSS,
    TRAIN,
    VALIDATION,
    arguments_of,
    draw,
    explicit_scores,
    network,
    scores,
)


@pytest.mark.parametrize("curvature", ["hessian", "outer_product"])
@pytest.mark.parametrize("parameters", ["last_layer", "all"])
def test_equals_matrices_written_out(curvature, parameters):
    decay = keras.regularizers.L2(0.25)
    model = network(kernel_regularizer=decay, bias_regularizer=decay)
    assert_close(
        scores(model, parameters=parameters, curvature=curvature),
        explicit_scores(model, curvature, decay=0.25),
    )


def test_a_deep_network_with_all_parameters():
    model = network(hidden=True)
    solver = ki.solvers.Exact(1.0)
    assert_close(
        scores(model, parameters="all", solver=solver),
        explicit_scores(model, "hessian", damping=1.0),
    )


def test_arrays_and_datasets_are_the_same():
    model = network(hidden=True)
    datasets = [
        tf.data.Dataset.from_tensor_slices(data) for data in (TRAIN, VALIDATION)
    ]
    np.testing.assert_array_equal(scores(model), scores(model, *datasets))
    assert_close(
        scores(model, parameters="all", solver=ki.solvers.Exact(1.0)),
        scores(
            model, *datasets, parameters="all", solver=ki.solvers.Exact(1.0)
        ),
    )


@pytest.mark.parametrize("batch_size", [1, 4, 11, 100])
@pytest.mark.parametrize("parameters", ["last_layer", "all"])
def test_batch_sizes_do_not_matter(batch_size, parameters):
    decay = keras.regularizers.L2(0.25)
    model = network(kernel_regularizer=decay)
    expected = scores(model, parameters=parameters)
    ours = scores(model, parameters=parameters, batch_size=batch_size)
    assert_close(ours, expected)


@pytest.mark.parametrize("curvature", ["hessian", "outer_product", None])
@pytest.mark.parametrize("solver", ["exact", "cg"])
def test_chunks_do_not_matter(curvature, solver, monkeypatch):
    model = network(kernel_regularizer=keras.regularizers.L2(0.25))
    solver = {
        "exact": ki.solvers.Exact(0.05),
        "cg": ki.solvers.ConjugateGradient(
            200, tolerance=1e-12, damping=0.05, preconditioner="kronecker"
        ),
    }[solver if curvature else "exact"]
    solver = solver if curvature else ki.solvers.Identity()
    expected = scores(model, curvature=curvature, solver=solver)
    # Features and logits of three examples.
    monkeypatch.setattr(batches, "CHUNK", 3 * 7)
    assert_close(scores(model, curvature=curvature, solver=solver), expected)


def test_a_large_head_runs_without_a_matrix():
    model = network()
    solver = ki.solvers.Exact(0.05, max_dense=3)
    assert_close(scores(model, solver=solver), scores(model), rtol=1e-5)


def test_the_compiled_loss_is_the_default():
    model = network()
    model.compile(loss=LOSS)
    assert_close(scores(model, loss=None), scores(model))


def test_a_subclassed_model_with_dictionary_inputs():
    class Network(keras.Model):
        def __init__(self):
            super().__init__(dtype="float64")
            self.head = keras.layers.Dense(3, dtype="float64")

        def call(self, inputs):
            return self.head(inputs["a"])

    model, same = Network(), network()
    inputs = [({"a": x}, y) for x, y in (TRAIN, VALIDATION)]
    model(inputs[0][0])
    model.set_weights(same.get_weights())
    assert_close(scores(model, *inputs), scores(same))


@pytest.mark.parametrize("parameters", ["last_layer", "all"])
def test_batch_normalisation_and_dropout_do_nothing(parameters):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(3),
        ]
    )
    before = [v.numpy() for v in model.variables]
    arguments = {"parameters": parameters, "curvature": "gauss_newton"}
    first, second = (scores(model, **arguments) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    for value, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(value, variable)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("parameters", ["last_layer", "all"])
def test_mixed_precision(policy, parameters):
    def build(dtype):
        keras.utils.set_random_seed(0)
        layers = [keras.Input((4,)), keras.layers.Dense(6, "tanh", dtype=dtype)]
        return keras.Sequential([*layers, keras.layers.Dense(3, dtype=dtype)])

    solver = ki.solvers.Exact(1.0)
    ours, exact = (
        scores(build(dtype), parameters=parameters, solver=solver)
        for dtype in (policy, "float32")
    )
    assert ours.dtype == "float32"
    atol = {"mixed_float16": 0.01, "mixed_bfloat16": 0.06}[policy]
    np.testing.assert_allclose(ours, exact, atol=atol * np.abs(exact).max())


def test_a_curvature_that_is_not_positive_definite():
    model = network(kernel_regularizer=lambda k: -tf.reduce_sum(k**2))
    with pytest.raises(
        ValueError, match="not positive definite: raise the damping"
    ):
        scores(model, solver=ki.solvers.Exact(0.0))


def test_features_that_are_not_finite():
    x, y = draw(11)
    x[3, 1] = np.nan
    with pytest.raises(ValueError, match="`train`"):
        scores(network(), (x, y))


@pytest.mark.parametrize("name", ["train", "validation"])
@pytest.mark.parametrize("kind", ["arrays", "dataset"])
def test_empty_data(name, kind):
    data = np.zeros((0, 4)), np.zeros(0, int)
    if kind == "dataset":
        data = tf.data.Dataset.from_tensor_slices(data)
    with pytest.raises(ValueError, match=f"`{name}`"):
        scores(network(), **{name: data})


@pytest.mark.parametrize("name", ["train", "validation"])
def test_labels_outside_the_classes(name):
    data = np.zeros((2, 4)), np.array([0, 3])
    with pytest.raises(ValueError, match=f"`{name}` must have labels"):
        scores(network(), **{name: data})


def test_data_of_another_form():
    with pytest.raises(ValueError, match=r"`train` must be `\(x, y\)`"):
        scores(network(), train=TRAIN[0])


def test_a_loop_is_what_it_does():
    """Its second derivatives have no forward mode."""

    def step(_, z):
        return z * keras.ops.tanh(z)

    def model(written_out):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((4,))
        z = keras.layers.Dense(3)(inputs)
        if written_out:
            z = step(2, step(1, step(0, z)))
        else:
            z = keras.ops.fori_loop(0, 3, step, z)
        return keras.Model(inputs, keras.layers.Dense(3)(z))

    random = np.random.default_rng(0)
    x, y = random.normal(size=(6, 4)).astype("float32"), np.arange(6) % 3
    influence = ki.Influence("all", solver=ki.solvers.Exact(damping=10.0))
    found, expected = (
        ki.influence_scores(
            model(written_out), (x, y), (x, y), loss=LOSS, influence=influence
        )
        for written_out in (False, True)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_no_model():
    x, y = np.zeros((4, 3)), np.zeros(4, int)
    with pytest.raises(ValueError, match=r"`model` must be a `keras.Model`"):
        ki.influence_scores(None, (x, y), (x, y), loss=LOSS)


def test_sequences_in_a_dataset():
    """With a label at every place they are no batches."""
    random = np.random.default_rng(0)
    x = random.integers(0, 20, (12, 6))
    y = random.integers(0, 5, (12, 6))
    model = keras.Sequential(
        [
            keras.Input((6,), dtype="int64"),
            keras.layers.Embedding(20, 4),
            keras.layers.Dense(5),
        ]
    )
    slices = tf.data.Dataset.from_tensor_slices
    influence = ki.Influence("all", solver=ki.solvers.Identity())
    of_arrays, of_data_sets = (
        ki.influence_scores(
            *(model, of((x, y)), of((x[:5], y[:5]))),
            loss=LOSS,
            influence=influence,
        )
        for of in (lambda data: data, slices)
    )
    np.testing.assert_allclose(of_data_sets, of_arrays, rtol=1e-5)
    batches = slices((x, y[:, 0])).batch(4, drop_remainder=True)
    with pytest.raises(ValueError, match="unbatch"):
        ki.influence_scores(
            *(model, batches, (x, y)), loss=LOSS, influence=influence
        )


def test_no_loss():
    with pytest.raises(ValueError, match="not compiled"):
        scores(network(), loss=None)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_logits():
    """Features of 300,000 examples take 57 MB, logits 60 MB, H 24 MB."""
    code = """if True:
        import keras, numpy as np
        import keras_influence as ki
        from benchmarks.memory import peak_growth
        x = np.zeros((300_000, 48), "float32")
        x[:] = np.random.default_rng(0).normal(size=48)
        y = np.arange(len(x)) % 50
        model = keras.Sequential([keras.Input((48,)), keras.layers.Dense(50)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        def scores(n):
            small = x[:100], y[:100]
            ki.influence_scores(model, (x[:n], y[:n]), small, loss=loss)
        scores(100)
        print(peak_growth(lambda: scores(len(x))))
    """
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert float(run.stdout.split()[-1]) < 57 + 250


def test_a_progress_bar_for_long_data_only(capsys):
    data = draw(40)
    scores(network(), train=data, batch_size=1)
    assert not capsys.readouterr().out
    scores(network(), train=data, batch_size=1, verbose=1)
    assert "40/40" in capsys.readouterr().out
    scores(network(), train=draw(200), batch_size=1)
    assert "200/200" in capsys.readouterr().out


def test_verbosity_of_another_kind():
    with pytest.raises(ValueError, match="`verbose` must be 'auto', 0 or 1"):
        scores(network(), verbose="loud")


def test_labels_of_another_form():
    """As a loss would broadcast them."""
    x, y = TRAIN
    soft = x, np.eye(3, dtype="float32")[np.asarray(y).ravel()]
    with pytest.raises(ValueError, match="`validation` must have labels"):
        ki.influence_scores(network(), soft, VALIDATION, loss="mse")


@pytest.mark.parametrize(
    "last",
    [
        [keras.layers.Dense(3, "softmax")],
        [keras.layers.Dense(3), keras.layers.Softmax()],
        [keras.layers.Dense(3), keras.layers.Activation("sigmoid")],
    ],
)
def test_probabilities_in_place_of_logits(last):
    model = keras.Sequential([keras.Input((4,)), *last])
    with pytest.raises(ValueError, match="must map inputs to logits"):
        ki.influence_scores(
            *(model, TRAIN, VALIDATION),
            **arguments_of(parameters="all", curvature="gauss_newton"),
        )
