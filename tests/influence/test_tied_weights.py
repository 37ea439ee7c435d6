"""Weights of recording layers that a network uses elsewhere, too."""

import keras
import numpy as np
import pytest

import keras_influence as ki

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Tied(keras.Model):
    """A model of language: what embeds tokens also gives their logits."""

    def __init__(self, kind, tied=True):
        super().__init__()
        self.embed = kind.Embedding(7, 4)
        self.dense = kind.Dense(4, "tanh")
        self.head = None if tied else kind.Dense(7)

    def call(self, tokens):
        hidden = self.dense(keras.ops.mean(self.embed(tokens), 1))
        # By its shape alone, which no gradient flows through.
        hidden = hidden + keras.ops.cast(
            keras.ops.shape(self.embed.embeddings)[0] * 0, hidden.dtype
        )
        if self.head is not None:
            return self.head(hidden)
        table = keras.ops.transpose(self.embed.embeddings)
        return keras.ops.matmul(hidden, table)


def scores(model, influence):
    random = np.random.default_rng(0)
    tokens, y = random.integers(0, 7, (8, 5)), random.integers(0, 7, 8)
    model(tokens)
    for variable in model.weights:
        variable.assign(random.normal(size=variable.shape))
    train = tokens, y
    return ki.influence_scores(
        model, train, train, loss=LOSS, influence=influence
    )


def test_tied_weights_are_refused():
    with pytest.raises(ValueError, match=r"alone.*embeddings' is used outside"):
        scores(Tied(ki.layers), ki.Influence("all", None))
    # The stock layers have no such limit.
    scores(Tied(keras.layers), ki.Influence("all", None))


@pytest.mark.parametrize("curvature", [None, "outer_product"])
def test_weights_that_are_not_tied(curvature):
    influence = ki.Influence("all", curvature)
    recorded, stock = (
        scores(Tied(kind, tied=False), influence)
        for kind in (ki.layers, keras.layers)
    )
    np.testing.assert_allclose(recorded, stock, rtol=1e-4, atol=1e-7)


def test_a_layer_that_is_called_twice_is_not_tied():
    def made(kind):
        inputs = keras.Input((5,), dtype="int32")
        x = kind.Embedding(7, 4)(inputs)
        twice = kind.Dense(4, "tanh")
        x = keras.layers.Flatten()(twice(twice(x)))
        return keras.Model(inputs, kind.Dense(7)(x))

    recorded, stock = (
        scores(made(kind), ki.Influence("all", None))
        for kind in (ki.layers, keras.layers)
    )
    np.testing.assert_allclose(recorded, stock, rtol=1e-4, atol=1e-7)
