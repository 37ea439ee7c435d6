import hypothesis
import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import keras_influence as ki
from keras_influence.optimizers import Evidence
from tests.cases.properties import property_test

ROWS = 5
gradient = st.sampled_from([0.0, -2.0, -0.1, 0.3, 1.0])


def transcription(start, gradients, learning_rate, lower, upper):
    """The docstring's formula, example by example."""
    kept = np.clip((start - lower) / (upper - lower), 1e-4, 1 - 1e-4)
    seen = [[] for _ in start]
    for g in gradients:
        for row in np.flatnonzero(g):
            seen[row].append(g[row])
    values = np.array(start)
    for row, g in enumerate(map(np.array, seen)):
        if len(g):
            t = g.sum() / np.sqrt(np.sum(g**2))
            z = scipy.stats.norm.ppf(kept[row]) - learning_rate * t
            values[row] = lower + (upper - lower) * scipy.stats.norm.cdf(z)
    return values


def sparse(g):
    """Every row that is touched occurs twice, far from itself."""
    rows = np.flatnonzero(g)
    values = np.concatenate([3 * g[rows], -2 * g[rows][::-1]])
    rows = np.concatenate([rows, rows[::-1]])
    return tf.IndexedSlices(tf.constant(values), tf.constant(rows), g.shape)


@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(
    start=npst.arrays("float64", ROWS, elements=st.floats(0.5, 3.0)),
    gradients=st.lists(
        npst.arrays("float64", ROWS, elements=gradient), max_size=4
    ),
    convert=st.sampled_from([tf.constant, sparse]),
    learning_rate=st.sampled_from([0.5, 1.0, 2.0]),
)
def test_equals_its_formula(start, gradients, convert, learning_rate):
    variable = keras.Variable(start, dtype="float64")
    optimizer = Evidence(learning_rate, bounds=(0.5, 3.0))
    for g in gradients:
        optimizer.apply([convert(g)], [variable])
    expected = transcription(start, gradients, learning_rate, 0.5, 3.0)
    np.testing.assert_allclose(variable.numpy(), expected, atol=1e-6)
    untouched = ~np.any([*gradients, np.zeros(ROWS)], axis=0)
    np.testing.assert_array_equal(variable.numpy()[untouched], start[untouched])


@property_test(data=st.data(), convert=st.sampled_from([tf.constant, sparse]))
def test_nothing_but_numbers_whatever_the_gradients(data, convert):
    """All stays finite, and rows without a gradient keep their bits."""
    any_float = st.sampled_from(
        [0, 1, -2, np.nan, np.inf, -np.inf, 1e30, -1e-30, 3e38, 1e-42]
    )
    batch = npst.arrays("float32", ROWS, elements=any_float)
    variable = keras.Variable(np.linspace(0.5, 3, ROWS), dtype="float32")
    optimizer = Evidence(bounds=(0.5, 3.0))
    optimizer.build([variable])
    state = [variable, *optimizer.variables[2:]]
    for g in data.draw(st.lists(batch, min_size=1, max_size=4)):
        old = [v.numpy() for v in state]
        with np.errstate(over="ignore", invalid="ignore"):
            optimizer.apply([convert(g)], [variable])
        for before, v in zip(old, state, strict=True):
            assert np.isfinite(v.numpy()).all()
            none = (g == 0) | ~np.isfinite(g)
            np.testing.assert_array_equal(v.numpy()[none], before[none])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("convert", [tf.constant, sparse])
def test_a_gradient_that_is_no_number_counts_as_none(bad, convert):
    results = []
    for third in (0.0, bad):
        variable = keras.Variable(np.ones(3), dtype="float64")
        optimizer = Evidence(bounds=(0.0, 2.0))
        for g in ([1e6, -1e6, third], [-1.0, 2.0, 0.5], [-1.0, 1.0, third]):
            optimizer.apply([convert(np.array(g))], [variable])
        results.append(variable.numpy())
    np.testing.assert_array_equal(*results)
    assert results[0][2] < 1


def test_the_scale_of_the_gradients_does_not_matter():
    results = []
    for scale in (1.0, 1e-6, 1e-30, 1e30):
        variable = keras.Variable([1.0, 1.0])
        optimizer = Evidence(bounds=(0.0, 2.0))
        for g in ([1.0, -3.0], [2.0, 1.0]):
            optimizer.apply([tf.constant(g) * scale], [variable])
        results.append(variable.numpy())
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=1e-5)


def test_a_weight_leaves_its_bound():
    variable = keras.Variable([0.0, 2.0])
    optimizer = Evidence(bounds=(0.0, 2.0))
    for _ in range(30):
        optimizer.apply([tf.constant([-1.0, 1.0])], [variable])
    low, high = variable.numpy()
    assert low > 1.9
    assert high < 0.1


def stepped(wrap):
    variable = keras.Variable(np.ones(3, "float32"))
    optimizer = Evidence(bounds=(0.0, 2.0))
    optimizer.build([variable])
    step = wrap(lambda g: optimizer.apply([g], [variable]))
    for g in ([1.0, 0.0, -2.0], [-0.5, 0.0, -1.0]):
        step(tf.constant(g))
    return variable.numpy()


@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_step_equals_the_eager_one(jit_compile):
    eager = stepped(lambda step: step)
    compiled = stepped(lambda f: tf.function(f, jit_compile=jit_compile))
    np.testing.assert_allclose(compiled, eager, rtol=1e-6)


@pytest.mark.parametrize("bounds", [None, (0.0, float("inf"))])
def test_needs_two_bounds(bounds):
    optimizer = Evidence(bounds=bounds)
    with pytest.raises(ValueError, match="needs weights with two bounds"):
        optimizer.apply([tf.constant([1.0])], [keras.Variable([1.0])])


def test_config_round_trip():
    optimizer = Evidence(0.5, bounds=(0.0, 3.0), name="mine")
    config = keras.saving.serialize_keras_object(optimizer)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == optimizer.get_config()
    assert ki.optimizers.Evidence is type(copy)
