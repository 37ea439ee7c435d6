import hypothesis
import hypothesis.strategies as st
import keras
import numpy as np
import pytest

from keras_influence.layers import Embedding
from tests.cases.layers import check_primitives, few_examples, run_layer_test


@few_examples
@hypothesis.given(
    shape=st.lists(st.integers(1, 5), min_size=0, max_size=2),
    vocabulary=st.integers(1, 6),
    size=st.integers(1, 3),
)
def test_primitives(shape, vocabulary, size):
    check_primitives(
        Embedding(vocabulary, size, dtype="float64"),
        keras.layers.Embedding(vocabulary, size, dtype="float64"),
        np.random.randint(vocabulary, size=(3, *shape)),
    )


def test_is_an_embedding(tmp_path):
    arguments = {"input_dim": 6, "output_dim": 3}
    inputs = np.random.randint(6, size=(3, 4))
    kinds = Embedding, keras.layers.Embedding
    run_layer_test(*kinds, arguments, inputs, tmp_path)


def test_keeps_the_mask():
    layer = Embedding(6, 3, mask_zero=True)
    mask = layer(np.array([[1, 0]]))._keras_mask
    assert mask.numpy().tolist() == [[True, False]]


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int64", "float32"]
)
def test_tokens_of_any_dtype(dtype):
    tokens = np.array([[1, 0], [3, 2]], dtype)
    layer = Embedding(6, 3)
    expected = layer(tokens.astype("int32"))
    np.testing.assert_array_equal(layer(tokens), expected)
