import tracemalloc
import types

import keras
import numpy as np
import pytest

from keras_influence.callbacks import WeightHistory, weight_history


def test_snapshots_at_start_every_few_steps_and_end(fit):
    history = WeightHistory(every=4)
    model = fit(history, steps=10)
    assert history.steps == [0, 4, 8, 10]
    for step, weights in zip(history.steps, history.weights, strict=True):
        np.testing.assert_array_equal(weights, step * np.arange(24))
    np.testing.assert_array_equal(history.weights[-1], model.example_weights)


def test_steps_count_over_epochs_and_resumed_training(fit):
    history = WeightHistory(every=4)
    model = fit(history, epochs=2)
    assert history.steps == [0, 4, 8, 10]
    fit(history, model=model)
    assert history.steps == [10, 12, 15]
    np.testing.assert_array_equal(history.weights[1], 12 * np.arange(24))


def test_several_steps_per_execution(fit):
    history = WeightHistory(every=4)
    fit(history, steps=12, steps_per_execution=3)
    assert history.steps == [0, 6, 9, 12]


def test_steps_are_batches_where_gradients_accumulate(fit):
    history = WeightHistory(every=4, examples=[1])
    optimizer = keras.optimizers.SGD(gradient_accumulation_steps=4)
    model = fit(history, steps=10, epochs=2, optimizer=optimizer)
    assert history.steps == [0, 4, 8, 12, 16, 20]
    assert int(optimizer.iterations) == 5
    fit(history, steps=3, model=model)
    assert history.steps == [20, 23]


def test_an_optimizer_that_is_not_of_keras():
    class Model:
        example_weights = np.ones(3)
        optimizer = types.SimpleNamespace(iterations=7)

    history = WeightHistory()
    history.set_model(Model())
    history.on_train_begin()
    history.on_train_end()
    assert history.steps == [7]


def test_quantiles_are_of_all_the_weights(fit):
    history = WeightHistory(every=10, examples=[1])
    model = fit(history, steps=3, num_examples=101)
    expected = np.percentile(model.example_weights, [0, 25, 50, 75, 100])
    np.testing.assert_allclose(history.quantiles[-1], expected)


def test_a_snapshot_does_not_grow_with_the_data(fit):
    history = WeightHistory(examples=7)
    fit(history, num_examples=10_000)
    assert len(set(history.ids)) == 7
    assert max(history.ids) > 1000
    assert history.weights[-1].shape == (7,)
    # Not a view that keeps all of the weights alive.
    assert history.weights[-1].base is None


def test_follows_the_examples_asked_for(fit):
    history = WeightHistory(examples=[3, 0])
    fit(history, steps=2)
    np.testing.assert_array_equal(history.weights[-1], [6, 0])


def test_learned_weights_of_an_influence_model(influence_fit):
    history = WeightHistory(every=2)
    model = influence_fit(history)
    assert history.steps == [0, 2, 4, 6]
    np.testing.assert_array_equal(history.weights[0], np.ones(24))
    np.testing.assert_array_equal(history.weights[-1], model.example_weights)
    assert np.ptp(history.weights[-1]) > 0


def test_ids_are_drawn_without_an_array_of_all():
    tracemalloc.start()
    ids = weight_history._sample(1000, 10**8, seed=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6
    assert len(set(ids)) == 1000
    assert np.all(np.diff(ids) > 0)
    assert ids.max() < 10**8
    np.testing.assert_allclose(ids.mean(), 5e7, rtol=0.1)
    np.testing.assert_array_equal(
        ids, weight_history._sample(1000, 10**8, seed=1)
    )
    other = weight_history._sample(1000, 10**8, seed=2)
    assert set(ids.tolist()) != set(other.tolist())


def test_all_ids_are_drawn_where_there_are_fewer():
    np.testing.assert_array_equal(
        weight_history._sample(9, 5, seed=0), np.arange(5)
    )


def test_a_snapshot_does_not_copy_all_of_many_weights():
    class Model:
        n = 10 * weight_history.SAMPLE
        values = keras.Variable(np.linspace(0, 2, n, dtype="float32"))
        optimizer = keras.optimizers.SGD()

    Model.weighting = Model
    history = WeightHistory(examples=[0, 7])
    history.set_model(Model)
    tracemalloc.start()
    history.on_train_begin()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * Model.n  # Bytes of the weights.
    np.testing.assert_allclose(
        history.quantiles[0], [0, 0.5, 1, 1.5, 2], atol=0.005
    )
    np.testing.assert_allclose(history.weights[0], [0, 14 / Model.n], rtol=1e-6)


@pytest.mark.parametrize("every", [0, -3, 1.5, float("nan")])
def test_every_must_be_positive(every):
    with pytest.raises(ValueError, match=f"`every`.*every={every}"):
        WeightHistory(every=every)


@pytest.mark.parametrize(
    "examples", [-5, "all", [0.5, 1.9], [[1, 2], [3, 4]], None]
)
def test_examples_that_are_none(examples):
    """Sooner than in `fit`."""
    with pytest.raises(ValueError, match="`examples` must be"):
        WeightHistory(examples=examples)


def test_numbers_of_numpy(fit):
    histories = [
        WeightHistory(every=kind(2), examples=kind(5))
        for kind in (int, np.int64)
    ]
    for history in histories:
        fit(history)
    np.testing.assert_array_equal(*(history.ids for history in histories))
    assert histories[0].steps == histories[1].steps


@pytest.mark.parametrize("examples", [[24], [-1], [0, 99]])
def test_ids_must_exist(fit, examples):
    with pytest.raises(ValueError, match="`examples` must be ids from 0 to 23"):
        fit(WeightHistory(examples=examples))


def test_a_model_without_weights():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((2, 3))
    with pytest.raises(ValueError, match="needs a model with example weights"):
        model.fit(x, x[:, :1], callbacks=[WeightHistory()], verbose=0)
