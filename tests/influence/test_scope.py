import keras
import numpy as np
import pytest

import keras_influence as ki
from keras_influence.influence import scope
from keras_influence.influence.forward_pass import (
    NetworkState,
    TrainingPass,
    values,
)
from keras_influence.influence.head import Head
from keras_influence.influence.objective import Term


@pytest.fixture
def network():
    inner = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="deep")], name="inner"
    )
    return keras.Sequential(
        [keras.Input((4,)), inner, keras.layers.Dense(2, name="head")]
    )


def test_all_and_named_layers(network):
    deep = network.get_layer("inner").get_layer("deep")
    head = network.get_layer("head")
    assert scope.scope_variables(network, "all") == network.trainable_variables
    for names, layers in (
        (["head"], [head]),
        (["deep"], [deep]),
        (["inner", "deep"], [deep]),
    ):
        expected = [v for layer in layers for v in layer.trainable_variables]
        assert scope.scope_variables(network, names) == expected


def test_one_layer(network):
    layer = network.layers[-1]
    for of in (ki.Influence, ki.Unrolled):
        one, listed = of(parameters=layer), of(parameters=[layer])
        assert one.get_config() == listed.get_config()
        with pytest.raises(ValueError, match="`parameters` must be"):
            of(parameters=None)


def test_missing_names(network):
    with pytest.raises(ValueError, match=r"'body', but the layers are"):
        scope.scope_variables(network, ["head", "body"])


def test_nothing_trainable(network):
    network.get_layer("head").trainable = False
    with pytest.raises(ValueError, match="none is trainable"):
        scope.scope_variables(network, ["head"])


def test_penalty():
    layer = keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.5))
    layer.build((None, 3))
    variables = [layer.kernel, layer.bias]
    penalty = scope.penalty(variables)(values(variables))
    np.testing.assert_allclose(
        penalty, 0.5 * np.sum(layer.kernel.numpy() ** 2), rtol=1e-6
    )
    assert scope.penalty([layer.bias]) is None


X = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")


def squares(outputs):
    return keras.ops.sum(outputs[:, 0] ** 2, -1)


def test_the_penalty_counts_by_its_share():
    layer = keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.5))
    layer.build((None, 3))
    kernel = [layer.kernel]
    whole, half = (scope.penalty(kernel, s)(values(kernel)) for s in (1.0, 0.5))
    np.testing.assert_allclose(half, whole / 2, rtol=1e-6)
    assert scope.penalty(kernel, 0) is None


def training_pass(network):
    forward = TrainingPass(network, [network.layers[-1]], again=True)
    with forward:
        logits = forward(X)
        losses = [squares(logits[:, None])]
    return forward.differentiable(losses), logits


@pytest.fixture
def dropout():
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dropout(0.5, seed=1),
            keras.layers.Dense(2),
        ]
    )


def test_a_pass_of_training_is_used_again(dropout):
    variables = scope.VariablesScope(dropout, dropout.trainable_variables)
    terms = [Term(squares, np.ones(3))]
    run, logits = training_pass(dropout)
    found = variables.objective(X, terms, forward_pass=run)
    assert found.forward_pass is run
    (outputs,) = found.outputs(found.parameters)
    np.testing.assert_allclose(outputs[:, 0], logits, rtol=1e-5)
    # Of the past only the state is left: it runs again, in training mode.
    past = run._replace(tape=None, recording=None)
    found = variables.objective(X, terms, forward_pass=past)
    assert found.forward_pass is None
    (outputs,) = found.outputs(found.parameters)
    np.testing.assert_allclose(outputs[:, 0], logits, rtol=1e-5)
    found = variables.objective(X, terms)
    (outputs,) = found.outputs(found.parameters)
    expected = dropout(X, training=False)
    np.testing.assert_allclose(outputs[:, 0], expected, rtol=1e-5)
    assert np.any(expected != logits)


def test_the_last_layer_takes_the_features_of_training(dropout):
    head = Head(dropout.layers[-1])
    last = scope.LastLayerScope(head, lambda x: head.run(dropout, x))
    terms = [Term(squares, np.ones(3))]
    run, logits = training_pass(dropout)
    for forward_pass, expected in (
        (run, logits),
        (None, dropout(X, training=False)),
    ):
        found = last.objective(X, terms, forward_pass=forward_pass)
        value = found(found.parameters)
        np.testing.assert_allclose(value, np.sum(expected**2), rtol=1e-5)


def test_places_are_among_what_trains(network):
    head = network.get_layer("head")
    variables = scope.VariablesScope(network, [head.bias, head.kernel])
    assert variables.places == [3, 2]
    assert (variables.is_deep, scope.LastLayerScope.is_deep) == (True, False)
    state = NetworkState.of(network)
    for place, variable in zip(
        variables.places, variables.variables, strict=True
    ):
        np.testing.assert_array_equal(state.trainable[place], variable.numpy())


def test_names_that_several_layers_have(network):
    inner = network.get_layer("inner")
    twice = keras.Sequential(
        [keras.Input((4,)), inner, keras.layers.Dense(2, name="deep")]
    )
    with pytest.raises(ValueError, match="the name of 2 layers"):
        scope.scope_variables(twice, ["deep"])
    deep = twice.layers[-1]
    expected = deep.trainable_variables
    assert scope.scope_variables(twice, [deep]) == expected


def test_the_whole_penalty_counts_unless_told():
    layer = keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.5))
    network = keras.Sequential([keras.Input((4,)), layer])
    head = Head(layer)
    terms = [Term(squares, np.ones(3))]
    for own in (
        scope.LastLayerScope(head, lambda x: head.run(network, x)),
        scope.VariablesScope(network, network.trainable_variables),
    ):
        whole, half, none = (
            objective(objective.parameters)
            for objective in (
                own.objective(X, terms),
                own.objective(X, terms, penalty_share=0.5),
                own.objective(X, terms, penalty_share=0.0),
            )
        )
        penalty = 0.5 * np.sum(layer.kernel.numpy() ** 2)
        np.testing.assert_allclose(whole - none, penalty, rtol=1e-4)
        np.testing.assert_allclose(half - none, penalty / 2, rtol=1e-4)


def test_the_share_of_every_view_is_kept(dropout):
    """Of FixMatch the strong view alone has a second derivative."""
    last = scope.LastLayerScope(Head(dropout.layers[-1]), lambda x: x)

    def loss(outputs):
        weak, strong = outputs[:, 0], outputs[:, 1]
        targets = keras.ops.argmax(weak, -1)
        return keras.ops.sparse_categorical_crossentropy(
            targets, strong, from_logits=True
        )

    closed, by_differentiation = (
        last.objective(
            keras.ops.convert_to_tensor(X),
            [Term(loss, np.ones(3), softmax)],
            lambda rows: [keras.ops.stack([rows, rows[::-1]], 1)],
        )
        .curvature("hessian")
        .as_matrix()
        for softmax in ((0.0, 1.0), False)
    )
    np.testing.assert_allclose(closed, by_differentiation, atol=1e-5)


def test_a_layer_that_is_trainable_in_a_network_that_is_not(network):
    network.trainable = False
    network.layers[-1].trainable = True
    with pytest.raises(ValueError, match="none is trainable"):
        scope.scope_variables(network, ["head"])
