import keras
import numpy as np
import pytest

from keras_influence.callbacks import WeightHistory


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


@pytest.mark.parametrize("every", [0, -3])
def test_every_must_be_positive(every):
    with pytest.raises(ValueError, match=f"`every`.*every={every}"):
        WeightHistory(every=every)


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
