import subprocess
import sys

import hypothesis
import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_influence.optimizers import Evidence, MAdam, RowOptimizer

MANY_ROWS = 1000


@keras.saving.register_keras_serializable(package="test_row_optimizer")
class RowMomentum(RowOptimizer):
    slot_names = ("velocity",)

    def update_rows(self, values, gradients, learning_rate, velocity):
        velocity = 0.5 * velocity + gradients
        return values - learning_rate * velocity, velocity


def sparse(gradients, rows, variable):
    return tf.IndexedSlices(
        tf.constant(gradients, variable.dtype),
        tf.constant(rows, "int64"),
        dense_shape=variable.shape,
    )


def state(optimizer, variable):
    slots = optimizer.variables[2:]
    return [keras.ops.convert_to_numpy(v) for v in (variable, *slots)]


def test_bounds_of_the_weights_are_not_in_the_configuration():
    optimizer = MAdam(0.05)
    optimizer.set_default_bounds((0.0, 2.0))
    assert optimizer.bounds == (0.0, 2.0)
    assert MAdam.from_config(optimizer.get_config()).bounds is None
    given = MAdam(0.05, bounds=(0.5, 1.0))
    given.set_default_bounds((0.0, 2.0))
    assert given.bounds == (0.5, 1.0)
    assert MAdam.from_config(given.get_config()).bounds == (0.5, 1.0)


@hypothesis.settings(max_examples=30, deadline=None)
@hypothesis.given(data=st.data(), columns=st.sampled_from([(), (1,), (3,)]))
def test_sparse_gradient_equals_its_dense_sum(data, columns):
    n = data.draw(st.integers(1, 6))
    rows = data.draw(npst.arrays("int64", n, elements=st.integers(0, 4)))
    values = data.draw(
        npst.arrays(
            "float64", (n, *columns), elements=st.integers(-3, 3).map(float)
        )
    )
    dense = np.zeros((5, *columns))
    np.add.at(dense, rows, values)
    results = []
    for gradient in (sparse, lambda *_: tf.constant(dense)):
        variable = keras.Variable(np.ones((5, *columns)), dtype="float64")
        optimizer = RowMomentum(0.25, bounds=(0.0, 2.0))
        for _ in range(2):
            optimizer.apply([gradient(values, rows, variable)], [variable])
        results.append(state(optimizer, variable))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


def three_steps(compile_step):
    variable = keras.Variable(np.ones(6, "float32"))
    optimizer = MAdam(0.1, bias_correction="per_example")
    optimizer.build([variable])

    @compile_step
    def step(rows, values):
        optimizer.apply([tf.IndexedSlices(values, rows, (6,))], [variable])

    for rows in ([5, 1, 5], [1, 1, 0], [3, 3, 3]):
        step(tf.constant(rows), tf.constant([1.0, -2.0, 3.0]))
    return state(optimizer, variable)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_step_equals_the_eager_one(jit_compile):
    eager = three_steps(lambda step: step)
    compiled = three_steps(tf.function(jit_compile=jit_compile))
    for one, other in zip(eager, compiled, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_only_touched_rows_are_read_and_written():
    """No operation of the graph has an output as long as the variable."""
    variable = keras.Variable(np.ones(MANY_ROWS, "float32"))
    optimizer = MAdam(0.1, bounds=(0.0, 2.0), bias_correction="per_example")
    optimizer.build([variable])

    @tf.function
    def step(rows, values):
        optimizer.apply([tf.IndexedSlices(values, rows)], [variable])

    graph = step.get_concrete_function(
        tf.TensorSpec(4, "int32"), tf.TensorSpec(4)
    ).graph
    operations = list(graph.get_operations())
    for f in graph._functions.values():
        operations += f.graph.get_operations()
    sizes = [t.shape.num_elements() for o in operations for t in o.outputs]
    assert max(s for s in sizes if s is not None) < MANY_ROWS
    kinds = {o.type for o in operations}
    assert {"ResourceGather", "ResourceScatterUpdate"} <= kinds


def test_no_index_at_all():
    variable = keras.Variable(np.ones(3, "float32"))
    optimizer = MAdam()
    optimizer.apply([sparse(np.zeros(0), np.zeros(0), variable)], [variable])
    np.testing.assert_array_equal(state(optimizer, variable)[0], 1.0)
    assert optimizer.iterations == 1


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_gradients_without_a_finite_result_are_masked(bad, is_sparse):
    variable = keras.Variable(np.ones((3, 2), "float32"))
    optimizer = MAdam(0.25, bounds=(0.0, 2.0))
    gradient = np.array([[1, bad], [bad, bad], [0, -1]], "float32")
    values = gradient
    if is_sparse:
        gradient = sparse(gradient, [0, 1, 2], variable)
    optimizer.apply([gradient], [variable])
    for array in state(optimizer, variable):
        assert np.all(np.isfinite(array))
    np.testing.assert_allclose(
        state(optimizer, variable)[0], [[0.75, 1], [1, 1], [1, 1.25]], rtol=1e-6
    )
    moved = state(optimizer, variable)[1] != 0
    np.testing.assert_array_equal(moved, np.abs(values) == 1)


def test_opposite_gradients_of_one_index_are_masked():
    variable = keras.Variable(np.ones(2, "float32"))
    optimizer = RowMomentum(0.5)
    optimizer.apply([sparse([1.0, -1.0], [1, 1], variable)], [variable])
    for array, expected in zip(state(optimizer, variable), (1, 0), strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_bounds_hold_for_touched_elements_only(is_sparse):
    variable = keras.Variable([-5.0, 0.5, 1.9, 7.0])
    optimizer = RowMomentum(1.0)
    optimizer.bounds = (0, 2)
    gradient = tf.constant([0.0, 9.0, -9.0, 0.0])
    if is_sparse:
        gradient = sparse([9.0, -9.0, 0.0], [1, 2, 3], variable)
    optimizer.apply([gradient], [variable])
    np.testing.assert_array_equal(
        state(optimizer, variable)[0], [-5.0, 0.0, 2.0, 7.0]
    )


def test_an_element_leaves_its_bound_again():
    variable = keras.Variable([0.5])
    optimizer = RowMomentum(1.0, bounds=(0.0, 2.0))
    for gradient, expected in ((1.0, 0.0), (-1.5, 1.0)):
        optimizer.apply([tf.constant([gradient])], [variable])
        np.testing.assert_array_equal(state(optimizer, variable)[0], [expected])


@pytest.mark.parametrize(
    "bounds",
    [
        (1.0, 0.0),
        (1.0, 1.0),
        (0.0,),
        (0, 1, 2),
        (0.0, np.nan),
        (0.0, None),
        ("0", "1"),
        2.0,
    ],
)
def test_bounds_must_increase(bounds):
    with pytest.raises(ValueError, match="`bounds` must be None or a pair"):
        RowMomentum(0.1, bounds=bounds)


@pytest.mark.parametrize("learning_rate", [-1, -0.5, np.nan, np.inf])
@pytest.mark.parametrize("optimizer", [MAdam, Evidence])
def test_a_learning_rate_is_finite_and_not_negative(optimizer, learning_rate):
    with pytest.raises(ValueError, match="`learning_rate` must be finite"):
        optimizer(learning_rate)


@pytest.mark.parametrize(
    "argument",
    ["weight_decay", "use_ema", "gradient_accumulation_steps", "clipnorm"],
)
def test_arguments_that_touch_every_row_are_rejected(argument):
    with pytest.raises(TypeError, match=argument):
        MAdam(0.1, **{argument: 2})


def test_learning_rate_schedule():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [0, 1], [1.0, 0.5, 0.25]
    )
    variable = keras.Variable([0.0])
    optimizer = RowMomentum(schedule)
    values = []
    for _ in range(3):
        optimizer.apply([tf.constant([1.0])], [variable])
        values.append(float(variable[0]))
    # The velocity is 1, then 1.5, then 1.75.
    assert values == [-1.0, -1.75, -2.1875]


def test_gradients_of_another_precision():
    variable = keras.Variable(np.ones(3), dtype="float64")
    optimizer = RowMomentum(0.5)
    optimizer.apply([tf.constant([1, 0, 2], "float16")], [variable])
    slices = tf.IndexedSlices(
        tf.constant([[1.0]], "bfloat16")[0], tf.constant([1])
    )
    optimizer.apply([slices], [variable])
    assert {v.dtype for v in optimizer.variables[2:]} == {"float64"}
    np.testing.assert_array_equal(
        state(optimizer, variable)[0], [0.5, 0.5, 0.0]
    )


def test_a_subclass_must_write_update_rows():
    variable = keras.Variable([0.0])
    with pytest.raises(NotImplementedError, match="update_rows"):
        RowOptimizer(0.1).apply([tf.constant([1.0])], [variable])


TWO_REPLICAS = """
import numpy as np, tensorflow as tf, keras
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2)
from keras_influence.optimizers import MAdam

def train(strategy, batches):
    with strategy.scope():
        variable = keras.Variable(np.ones(8, "float32"))
        optimizer = MAdam(0.1, bounds=(0.0, 2.0), bias_correction="per_example")
        optimizer.build([variable])

    @tf.function
    def step(rows, gradients, is_sparse):
        def replica(rows, gradients):
            slices = tf.IndexedSlices(
                gradients, rows, tf.constant([8]))
            if not is_sparse:
                slices = tf.convert_to_tensor(slices)
            optimizer.apply([slices], [variable])
        strategy.run(replica, (rows, gradients))

    n = strategy.num_replicas_in_sync
    for rows, gradients, is_sparse in batches:
        parts = np.split(rows, n), np.split(gradients, n)
        step(*[strategy.experimental_distribute_values_from_function(
            lambda c, x=x: tf.constant(x[c.replica_id_in_sync_group]))
            if n > 1 else tf.constant(x[0]) for x in parts], is_sparse)
    copies = []
    for v in (variable, *optimizer.variables[2:]):
        copies += [c.numpy() for c in strategy.experimental_local_results(
            v.value)]
    return copies

random = np.random.default_rng(0)
batches = [(random.integers(0, 8, 6), random.normal(size=6).astype("float32"),
            is_sparse) for is_sparse in (True, True, False, True)]
one = train(tf.distribute.get_strategy(), batches)
two = train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), batches)
assert (len(one), len(two)) == (4, 8), (len(one), len(two))
for i, copy in enumerate(two):
    np.testing.assert_allclose(copy, one[i // 2], rtol=1e-5, atol=1e-7)
assert not np.allclose(one[0], 1.0)

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    variable = keras.Variable(np.ones(1000, "float32"))
    optimizer = MAdam(bounds=(0.0, 2.0))
    optimizer.build([variable])

@tf.function
def step(rows):
    def replica():
        optimizer.apply([tf.IndexedSlices(tf.ones(4), rows)], [variable])
    strategy.run(replica)

graph = step.get_concrete_function(tf.TensorSpec(4, "int32")).graph
sizes = [t.shape.num_elements() or 0 if t.shape.rank else 0
         for o in graph.get_operations() for t in o.outputs]
assert max(sizes) < 1000, "a mirrored variable was read as a whole"
print("same")
"""


def test_two_replicas_equal_one():
    result = subprocess.run(
        [sys.executable, "-c", TWO_REPLICAS], capture_output=True, text=True
    )
    assert result.stdout.strip().endswith("same"), result.stderr
