import hypothesis
import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_influence.optimizers import MAdam

ALPHA = 0.0625  # exact in float32, in which Keras keeps it
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


def algorithm_2(weights, gradients, per_example=False):
    """Yields Λ, m and v of every step, line by line."""
    m, v, t = np.zeros_like(weights), np.zeros_like(weights), 0
    for g in gradients:
        mask = (g != 0).astype(weights.dtype)
        t = t + (mask if per_example else 1)
        m = m + (BETA_1 - 1) * m * mask + (1 - BETA_1) * g
        v = v + (BETA_2 - 1) * v * mask + (1 - BETA_2) * g * g
        with np.errstate(divide="ignore", invalid="ignore"):
            m_hat = m / (1 - BETA_1**t)
            v_hat = v / (1 - BETA_2**t)
            step = ALPHA * m_hat * mask / (np.sqrt(v_hat) + EPSILON)
        weights = weights - np.where(mask, step, 0)
        yield weights, m, v


def numpy_state(optimizer, variable):
    return [
        keras.ops.convert_to_numpy(x)
        for x in (variable, *optimizer.variables[2:])
    ]


def to_slices(gradient):
    """The gradient in shuffled halves: every touched row occurs twice."""
    rows = np.flatnonzero(gradient)
    rows = np.concatenate([rows, rows[::-1]])
    return tf.IndexedSlices(gradient[rows] / 2, rows, gradient.shape)


gradient_sequences = npst.arrays(
    "float64",
    st.tuples(st.integers(1, 6), st.just(5)),
    elements=st.one_of(
        st.just(0.0), st.floats(1e-3, 1e3), st.floats(-1e3, -1e-3)
    ),
)


@pytest.mark.parametrize("bias_correction", ["global", "per_example"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("convert", [tf.constant, to_slices])
@hypothesis.settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.differing_executors,
    ],
)
@hypothesis.given(gradients=gradient_sequences)
def test_equals_algorithm_2(gradients, convert, dtype, bias_correction):
    variable = keras.Variable(np.ones(5), dtype=dtype)
    optimizer = MAdam(ALPHA, bias_correction=bias_correction)
    expected = algorithm_2(
        np.ones(5), gradients, bias_correction == "per_example"
    )
    tolerance = {"float64": 1e-12, "float32": 5e-6}[dtype]
    scale = np.abs(gradients).max(0) + (gradients == 0).all(0)
    scales = (1, scale, scale**2)
    for gradient, (weights, m, v) in zip(gradients, expected, strict=True):
        optimizer.apply([convert(gradient)], [variable])
        state = numpy_state(optimizer, variable)
        assert {x.dtype.name for x in state} == {dtype}
        for actual, right, unit in zip(
            state[:3], (weights, m, v), scales, strict=True
        ):
            np.testing.assert_allclose(
                actual / unit, right / unit, rtol=0, atol=tolerance
            )


def test_equals_adam_when_every_gradient_is_non_zero():
    """To 1e-12, once Keras' ε, added to √v, is the one added to √v̂.

    The betas are exact in float32, to which Keras' Adam rounds them.
    """
    random = np.random.default_rng(0)
    pair = [keras.Variable(np.ones(50), dtype="float64") for _ in range(2)]
    beta_1, beta_2 = 0.875, 0.96875
    ours = MAdam(ALPHA, beta_1, beta_2)
    adam = keras.optimizers.Adam(ALPHA, beta_1, beta_2)
    for t in range(1, 21):
        gradient = random.normal(size=50)
        ours.apply([tf.constant(gradient)], pair[:1])
        adam.epsilon = EPSILON * np.sqrt(1 - beta_2**t)
        adam.apply([tf.constant(gradient)], pair[1:])
    np.testing.assert_allclose(*pair, rtol=1e-12)


@pytest.mark.parametrize("bias_correction", ["global", "per_example"])
@pytest.mark.parametrize("convert", [tf.constant, to_slices])
def test_rows_outside_the_mask_keep_their_bits(convert, bias_correction):
    random = np.random.default_rng(0)
    variable = keras.Variable(random.normal(size=9), dtype="float32")
    optimizer = MAdam(0.1, bias_correction=bias_correction)
    gradient = random.normal(size=9).astype("float32")
    optimizer.apply([convert(gradient)], [variable])
    before = numpy_state(optimizer, variable)
    mask = np.arange(9) % 3 == 0
    optimizer.apply([convert(gradient * mask)], [variable])
    for old, new in zip(before, numpy_state(optimizer, variable), strict=True):
        bits = old.view("int32") == new.view("int32")
        np.testing.assert_array_equal(bits, ~mask)


@pytest.mark.parametrize(
    ("bias_correction", "steps"),
    [("global", 0.1 / np.sqrt(1e-3)), ("per_example", 1.0)],
)
def test_first_step_of_a_late_example(bias_correction, steps):
    variable = keras.Variable(np.zeros(2), dtype="float64")
    optimizer = MAdam(ALPHA, bias_correction=bias_correction)
    optimizer.build([variable])
    optimizer.iterations.assign(20_000)
    optimizer.apply([tf.constant([0.0, -3.0], "float64")], [variable])
    np.testing.assert_allclose(variable, [0.0, steps * ALPHA], rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"beta_1": 1.0}, r"`beta_1` must be in the range \[0, 1\)"),
        ({"beta_2": -0.1}, r"`beta_2` must be in the range \[0, 1\)"),
        ({"beta_1": "x"}, r"`beta_1` must be in the range \[0, 1\)"),
        ({"epsilon": None}, "`epsilon` must be positive"),
        ({"epsilon": 0.0}, "`epsilon` must be positive"),
        ({"epsilon": np.inf}, "`epsilon` must be positive and finite"),
        ({"bias_correction": "none"}, '"global" or "per_example"'),
    ],
)
def test_arguments_outside_their_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        MAdam(**arguments)


def test_beta_of_zero_is_a_signed_step():
    variable = keras.Variable([0.0, 0.0, 0.0])
    optimizer = MAdam(0.5, beta_1=0.0, beta_2=0.0)
    for _ in range(2):
        optimizer.apply([tf.constant([3.0, -0.1, 0.0])], [variable])
    np.testing.assert_allclose(variable, [-1.0, 1.0, 0.0], rtol=1e-6)


@pytest.mark.parametrize(
    "optimizer",
    [
        MAdam(),
        MAdam(
            keras.optimizers.schedules.CosineDecay(0.1, 10),
            beta_1=0.5,
            beta_2=0.25,
            epsilon=1e-3,
            bias_correction="per_example",
            bounds=(0.0, 2.0),
            name="weights",
        ),
    ],
)
def test_config_round_trip(optimizer):
    restored = keras.optimizers.deserialize(
        keras.optimizers.serialize(optimizer)
    )
    assert type(restored) is MAdam
    assert restored.get_config() == optimizer.get_config()
    assert restored.bounds == optimizer.bounds


@pytest.mark.parametrize("bias_correction", ["global", "per_example"])
def test_training_goes_on_after_save_and_load(tmp_path, bias_correction):
    """With an embedding, whose gradients are `tf.IndexedSlices`."""
    model = keras.Sequential(
        [
            keras.Input((3,), dtype="int32"),
            keras.layers.Embedding(7, 1),
            keras.layers.Flatten(),
        ]
    )
    optimizer = MAdam(0.1, bias_correction=bias_correction, bounds=(-0.2, 0.2))
    model.compile(optimizer, "mse")
    ids, targets = np.array([[1, 3, 3], [3, 1, 5]]), np.ones((2, 3), "float32")
    initial = model.get_weights()[0]
    model.fit(ids, targets, epochs=3, verbose=0)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    for m in (model, restored):
        m.fit(ids, targets, epochs=2, verbose=0)
    assert restored.optimizer.iterations == 5
    final = model.get_weights()[0]
    np.testing.assert_array_equal(final, restored.get_weights()[0])
    untouched = [0, 2, 4, 6]
    np.testing.assert_array_equal(final[untouched], initial[untouched])
    np.testing.assert_allclose(final[[1, 3, 5]], 0.2)
